//! What a log holds, segment by segment, and a log out of such segments.

use std::path::Path;
use std::sync::Arc;

use ironwal::inspect::{Held, keep_from_oldest};
use ironwal::storage::sim::SimConfig;
use ironwal::storage::{OpenMode, SimDisk, Storage};
use ironwal::{Environment, Maintenance, Wal, WalOptions};

fn open(disk: &SimDisk, path: &str) -> Wal {
    let environment = Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_maintenance(Maintenance::Inline);
    let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new(path) };
    Wal::open_with(options, environment).unwrap()
}

fn write(disk: &SimDisk, path: &Path, content: &[u8]) {
    let file = disk.process().open(path, OpenMode::Create).unwrap();
    let mut written = 0;
    while written < content.len() {
        written += file.write_at(&content[written..], written as u64).unwrap();
    }
    file.sync().unwrap();
}

/// Puts the log together again in `/copy`, from the segment that begins with `from` on.
fn copy(disk: &SimDisk, held: &Held, from: u64) {
    let storage = disk.process();
    let root = Path::new("/copy");
    storage.create_dir(root).unwrap();
    write(disk, &root.join(".ironwal"), &held.root_file());
    for (nth, stream) in held.streams().iter().enumerate() {
        let dir = root.join(&stream.dir);
        storage.create_dir(&dir).unwrap();
        for (segment, it) in stream.segments.iter().enumerate() {
            if it.first_id >= from {
                let mut content = Vec::new();
                let mut take = |bytes: &[u8]| {
                    content.extend_from_slice(bytes);
                    Ok(())
                };
                assert!(held.read(nth, segment, &mut take).unwrap().damaged.is_empty());
                write(disk, &dir.join(format!("{:020}.wal", it.first_id)), &content);
            }
        }
        storage.sync_dir(&dir).unwrap();
    }
    storage.sync_dir(root).unwrap();
    storage.sync_dir(Path::new("/")).unwrap();
}

/// Of what comes after the instant, nothing is in it; and the segments that it names are there whatever was pruned
/// before, once they are joined, also after a power cut.
#[test]
fn segments_of_an_instant_make_a_log_that_goes_on() {
    for seed in 0..10 {
        let config = SimConfig { seed, write_back: 0.0, ..SimConfig::default() };
        let disk = SimDisk::with_config(config);
        let wal = open(&disk, "/log");
        for id in 0..18_u8 {
            wal.append("orders", &[id]).unwrap();
        }
        wal.stream("orders").unwrap().truncate_before(5).unwrap();
        wal.maintain();
        let storage: Arc<dyn Storage> = Arc::new(disk.process());
        let held = Held::of(&storage, Path::new("/log")).unwrap();
        wal.append("orders", b"later").unwrap();
        let [stream] = held.streams() else { panic!("{held:?}") };
        assert_eq!((&*stream.name, stream.ids.clone()), ("orders", 5..18));
        let ids: Vec<_> = stream.segments.iter().map(|it| (it.first_id, it.next_id)).collect();
        assert_eq!(ids, [(4, 8), (8, 12), (12, 16), (16, 18)]);
        let full: Vec<bool> = stream.segments.iter().map(|it| it.is_full).collect();
        assert_eq!(full, [true, true, true, false]);
        assert!(held.is_still().unwrap());
        copy(&disk, &held, 8);
        keep_from_oldest(&*storage, Path::new("/copy")).unwrap();
        disk.crash();
        let copied = open(&disk, "/copy");
        let orders = copied.stream("orders").unwrap();
        let entries: Vec<_> = orders.range(..).map(|entry| entry.unwrap()).collect();
        assert_eq!(entries.len(), 10, "seed {seed}");
        assert!(entries.iter().all(|(id, entry)| entry[..] == [*id as u8]), "seed {seed}");
        assert_eq!(orders.first_id(), 8, "seed {seed}");
        assert_eq!(orders.append(b"goes on").unwrap(), 18);
    }
}

/// Full segments as files, of which some were made when an entry of the oldest had been pruned: that entry is
/// there again.
#[test]
fn what_headers_say_of_pruning_does_not_count_once_segments_are_joined() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, "/log");
    for id in 0..6_u8 {
        wal.append("orders", &[id]).unwrap();
    }
    wal.stream("orders").unwrap().truncate_before(5).unwrap();
    for id in 6..18_u8 {
        wal.append("orders", &[id]).unwrap();
    }
    wal.close().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(disk.process());
    let held = Held::of(&storage, Path::new("/log")).unwrap();
    copy(&disk, &held, u64::MAX);
    for first_id in [4, 8, 12] {
        let name = format!("orders/{first_id:020}.wal");
        let content = disk.contents(&Path::new("/log").join(&name)).unwrap();
        write(&disk, &Path::new("/copy").join(&name), &content);
    }
    keep_from_oldest(&*storage, Path::new("/copy")).unwrap();
    let copied = open(&disk, "/copy");
    assert_eq!(copied.stream("orders").unwrap().first_id(), 4);
    assert_eq!(copied.get("orders", 4).unwrap().as_deref(), Some(&[4][..]));
}

/// The same entries are the same bytes, whatever has become of the header since.
#[test]
fn a_segment_is_the_same_bytes_whenever_it_is_read() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, "/log");
    let storage: Arc<dyn Storage> = Arc::new(disk.process());
    let read = |first_id: u64| {
        let held = Held::of(&storage, Path::new("/log")).unwrap();
        let nth = held.streams()[0].segments.iter().position(|it| it.first_id == first_id);
        let mut content = Vec::new();
        let mut take = |bytes: &[u8]| {
            content.extend_from_slice(bytes);
            Ok(())
        };
        held.read(0, nth.unwrap(), &mut take).unwrap();
        content
    };
    for id in 0..6_u8 {
        wal.append("orders", &[id]).unwrap();
    }
    let newest = read(4);
    wal.stream("orders").unwrap().truncate_before(5).unwrap();
    assert!(read(4) == newest);
    for id in 6..9_u8 {
        wal.append("orders", &[id]).unwrap();
    }
    let full = read(4);
    wal.close().unwrap();
    assert!(read(4) == full);
}

#[test]
fn a_cut_after_the_instant_is_noticed() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, "/log");
    wal.append_batch("orders", &[b"tea", b"coffee"]).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(disk.process());
    let held = Held::of(&storage, Path::new("/log")).unwrap();
    wal.append("orders", b"cake").unwrap();
    assert!(held.is_still().unwrap());
    wal.stream("orders").unwrap().truncate_after(Some(0)).unwrap();
    assert!(!held.is_still().unwrap());
}
