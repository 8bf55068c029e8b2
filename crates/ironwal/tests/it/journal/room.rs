//! Room in the journal that is set aside for whoever asked for it first.

use std::sync::{Arc, Mutex};

use ironwal::{Error, Journal, Pending, Stream, SyncMode, Wal};

use super::{LARGE, append_together, disk, entries, environment, live_frames, open, options};
use crate::hooked::Hooked;

/// Whoever leads has asked for the room of its frame. Before it writes that, other threads cut
/// streams, on a full disk: their voids take none of that room.
#[test]
fn voids_leave_the_room_that_was_promised_to_a_batch() {
    let disk = disk(1);
    let names: Vec<String> = (0..20).map(|nth| format!("s{nth}")).collect();
    // What is cut before the next sync, by another thread, and what came of it.
    let due: Arc<Mutex<Vec<Stream>>> = Arc::default();
    let staging: Arc<Mutex<Option<Stream>>> = Arc::default();
    let pending: Arc<Mutex<Vec<Pending>>> = Arc::default();
    let outcomes: Arc<Mutex<Vec<ironwal::Result<()>>>> = Arc::default();
    let storage = {
        let (due, outcomes, full) = (Arc::clone(&due), Arc::clone(&outcomes), disk.clone());
        let (staging, pending) = (Arc::clone(&staging), Arc::clone(&pending));
        Hooked::new(&disk).before_sync(move || {
            // What the batch syncs before it enters a round. More is staged then, and is too much
            // for the journal, so that whoever leads syncs it once room was asked for.
            if let Some(a) = staging.lock().unwrap().take() {
                pending.lock().unwrap().push(a.submit(&[4; 20_000]).unwrap());
                return;
            }
            let streams = std::mem::take(&mut *due.lock().unwrap());
            if streams.is_empty() {
                return;
            }
            // What a cut frees is not free for the next one.
            let cut = |stream: &Stream| {
                let used = full.used_bytes();
                full.configure(|config| config.capacity = Some(used));
                stream.truncate_after(Some(0))
            };
            let cut = || streams.iter().map(cut).collect();
            *outcomes.lock().unwrap() =
                std::thread::scope(|scope| scope.spawn(cut).join().unwrap());
        })
    };
    let on = environment(Arc::new(storage), Journal::On).with_journal_size(LARGE);
    let wal = Wal::open_with(options(SyncMode::BatchOnly), on).unwrap();
    // Room for more in every segment.
    for name in names.iter().map(String::as_str).chain(["a", "b"]) {
        wal.append(name, &[0; 70_000]).unwrap();
        wal.append(name, &[1; 20_000]).unwrap();
    }
    wal.sync_all().unwrap();
    append_together(&wal, &[("a", b"2"), ("b", b"2")]).unwrap();
    // Space for what a frame asks for, and not for more in advance.
    let leave = |free: u64| {
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used + free));
    };
    for name in &names {
        leave(40 * 1024);
        wal.append_batch(name, &[&b"in the journal"[..]]).unwrap();
    }
    // So that the batch has something to sync between asking for room and writing its frame.
    wal.append("a", b"3, not synced").unwrap();
    let frames = live_frames(&disk);
    assert!(frames > names.len(), "{frames} frames");
    leave(44 * 1024);
    *staging.lock().unwrap() = Some(wal.stream("a").unwrap());
    *due.lock().unwrap() = names.iter().map(|name| wal.stream(name).unwrap()).collect();
    append_together(&wal, &[("a", b"4"), ("b", b"3")]).unwrap();
    {
        let outcomes = outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), names.len());
        assert!(outcomes.iter().all(|it| matches!(it, Err(Error::StorageFull { .. }))));
        assert_eq!(live_frames(&disk), frames + 1);
    }
    disk.configure(|config| config.capacity = None);
    for pending in pending.lock().unwrap().drain(..) {
        pending.wait().unwrap();
    }
    append_together(&wal, &[("a", b"5"), ("b", b"4")]).unwrap();
    disk.crash();
    drop(wal);
    let wal = open(&disk, &options(SyncMode::BatchOnly));
    assert_eq!((entries(&wal, "a").len(), entries(&wal, "b").len()), (7, 5));
}
