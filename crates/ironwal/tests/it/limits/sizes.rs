//! Entries, batches and names at the limits. What is too large is refused by its length alone; what is
//! just not too large needs room, of which there is none, so nothing of it is ever copied.

use ironwal::storage::SimDisk;
use ironwal::{Error, MAX_FRAME_LEN, SyncMode, Wal, WalOptions};

use super::{MODES, entries, environment, options};

/// What a frame has beside the data, and beside the entries of a batch: a header; and its table.
const HEADER_LEN: u64 = 24;

fn full(mode: SyncMode) -> (SimDisk, Wal) {
    let disk = SimDisk::new(1);
    let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
    wal.append("s", b"small").unwrap();
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used + (1 << 20)));
    (disk, wal)
}

#[test]
fn the_largest_entry_is_a_matter_of_room_and_one_byte_more_is_too_large() {
    // Memory that is never touched.
    let memory = vec![0; MAX_FRAME_LEN as usize];
    let largest = &memory[..(MAX_FRAME_LEN - HEADER_LEN) as usize];
    let too_large = &memory[..largest.len() + 1];
    for mode in MODES {
        let (disk, wal) = full(mode);
        let stream = wal.stream("s").unwrap();
        let before = disk.used_bytes();
        for (len, refused) in [
            (largest.len(), wal.append("s", largest).map(drop)),
            (largest.len(), wal.append("new", largest).map(drop)),
            (largest.len(), stream.append_at(1, largest).map(drop)),
            (too_large.len(), wal.append("s", too_large).map(drop)),
            (too_large.len(), wal.append("new", too_large).map(drop)),
            (too_large.len(), stream.append_at(1, too_large).map(drop)),
            (too_large.len(), stream.submit(too_large).map(drop)),
        ] {
            match refused {
                Err(Error::StorageFull { .. }) => assert_eq!(len, largest.len(), "{mode:?}"),
                Err(Error::TooLarge { len: found, limit: MAX_FRAME_LEN }) => {
                    assert_eq!((len, found), (too_large.len(), MAX_FRAME_LEN + 8), "{mode:?}");
                }
                other => panic!("{mode:?}, {len}: {other:?}"),
            }
        }
        assert!(disk.used_bytes() < before + (1 << 19), "{mode:?}");
        assert_eq!(wal.append("s", b"").unwrap(), 1, "the smallest");
        wal.close().unwrap();
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        assert_eq!(entries(&wal, "s"), [(0, b"small".into()), (1, Vec::new())]);
    }
}

/// How large a batch is depends on the table of its entries and pieces; there is one length from which on it is
/// too large.
#[test]
fn the_largest_batch_is_a_matter_of_room_and_one_byte_more_is_too_large() {
    let memory = vec![0; MAX_FRAME_LEN as usize];
    for mode in MODES {
        let (disk, wal) = full(mode);
        let too_large = |len: usize| {
            let (first, second) = memory[..len].split_at(len / 2);
            match wal.append_batch("s", &[first, second]) {
                Err(Error::StorageFull { .. }) => None,
                Err(Error::TooLarge { len, limit: MAX_FRAME_LEN }) => Some(len),
                other => panic!("{mode:?}, {len}: {other:?}"),
            }
        };
        let (mut fits, mut least) = (memory.len() - (8 << 20), memory.len());
        assert_eq!(too_large(fits), None, "{mode:?}");
        while least - fits > 1 {
            let middle = fits + (least - fits) / 2;
            match too_large(middle) {
                Some(_) => least = middle,
                None => fits = middle,
            }
        }
        let len = too_large(least).expect("it is too large");
        assert!((MAX_FRAME_LEN + 1..=MAX_FRAME_LEN + 16).contains(&len), "{mode:?}: {len}");
        assert_eq!(wal.append("s", b"after").unwrap(), 1);
        drop(wal);
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        assert_eq!(entries(&wal, "s"), [(0, b"small".into()), (1, b"after".into())]);
    }
}

#[test]
fn a_batch_may_have_any_number_of_entries() {
    let many = vec![&b""[..]; 100_000];
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        assert_eq!(wal.append_batch("s", &many).unwrap(), 0..100_000);
        let mut batch = wal.batch();
        batch.append_all("s", &many).append_all("t", &many);
        assert_eq!(batch.commit().unwrap()["t"], 0..100_000);
        wal.close().unwrap();
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        let empty = wal.iter("s", 0).unwrap().filter(|it| it.as_ref().unwrap().is_empty());
        assert_eq!(empty.count(), 200_000, "{mode:?}");
        assert_eq!(wal.stream("t").unwrap().next_id(), 100_000);
    }
}

#[test]
fn nothing_is_a_batch_too() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        let mut batch = wal.batch();
        batch.append_all("s", [b""; 0]).expect_next("t", 7);
        assert!(batch.is_empty());
        assert_eq!(batch.commit().unwrap().len(), 0, "an expectation alone appends nothing");
        assert_eq!(wal.streams(), [""; 0]);
        let mut batch = wal.batch();
        batch.append("s", b"").append_all("t", [b"", b""]);
        assert_eq!(batch.commit().unwrap()["t"], 0..2);
        drop(wal);
        let wal = Wal::open_with(options(mode), environment(&disk)).unwrap();
        assert_eq!((entries(&wal, "s").len(), entries(&wal, "t").len()), (1, 2), "{mode:?}");
    }
}

/// An iterator that promises more than there can be.
struct Liar(u8);

impl Iterator for Liar {
    type Item = [u8; 1];

    fn next(&mut self) -> Option<[u8; 1]> {
        self.0 = self.0.checked_sub(1)?;
        Some([self.0])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

#[test]
fn a_batch_believes_no_promise_of_how_many_entries_come() {
    let disk = SimDisk::new(1);
    let wal = Wal::open_with(options(SyncMode::Strict), environment(&disk)).unwrap();
    let mut batch = wal.batch();
    batch.append_all("s", Liar(3)).append_all("t", Liar(2));
    batch.commit().unwrap();
    assert_eq!(entries(&wal, "s"), [(0, vec![2]), (1, vec![1]), (2, vec![0])]);
}

#[test]
fn a_batch_over_many_streams_may_have_any_number_of_them() {
    for (mode, count) in [(SyncMode::Strict, 3_000), (SyncMode::Async, 1)] {
        let disk = SimDisk::new(1);
        let few_files = WalOptions { max_open_segments: 1, ..options(mode) };
        let wal = Wal::open_with(few_files.clone(), environment(&disk)).unwrap();
        let mut batch = wal.batch();
        for nth in 0..count {
            batch.append(&format!("stream {nth}"), u32::to_le_bytes(nth));
        }
        assert_eq!(batch.commit().unwrap().len(), count as usize);
        disk.crash();
        let wal = Wal::open_with(few_files, environment(&disk)).unwrap();
        for nth in 0..count {
            let found = wal.get(&format!("stream {nth}"), 0).unwrap();
            assert_eq!(found.as_deref(), Some(&u32::to_le_bytes(nth)[..]), "{nth}");
        }
    }
}

/// Names whose directories have exactly 255 bytes, of every kind of bytes: each lives through all that a
/// stream can; one byte more is refused by everything that takes a name.
#[test]
fn the_longest_names_live_a_whole_life() {
    let longest = [
        "x".repeat(255),
        "/".repeat(85),
        "\0".repeat(85),
        format!("{}xxx", "ü".repeat(42)),
        format!("{}xxx", "日".repeat(28)),
        format!(".{}", "x".repeat(252)),
        format!("{}.", "x".repeat(254)),
        format!("../{}", "x".repeat(248)),
    ];
    let disk = SimDisk::new(1);
    let options = WalOptions {
        archive_path: Some("/archive".into()),
        max_entries_per_segment: 2,
        ..options(SyncMode::Strict)
    };
    let open = || Wal::open_with(options.clone(), environment(&disk)).unwrap();
    let wal = open();
    for name in &longest {
        let mut batch = wal.batch();
        batch.append_all(name, ["0", "1", "2"]).append("beside", name);
        batch.commit().unwrap();
        wal.stream(name).unwrap().rotate().unwrap();
        assert_eq!(wal.append(name, b"3").unwrap(), 3, "{name:?}");
        assert_eq!(wal.truncate(name, 3).unwrap(), 1);
        assert_eq!(wal.stream(name).unwrap().follow(3).try_next().unwrap().unwrap().0, 3);
    }
    disk.crash();
    let wal = open();
    for name in &longest {
        assert_eq!(wal.restore_archived(name).unwrap(), 1, "{name:?}");
        assert_eq!(entries(&wal, name).len(), 4);
        wal.truncate(name, 3).unwrap();
        wal.delete_stream(name).unwrap();
        assert_eq!(wal.restore_archived(name).unwrap(), 1, "{name:?}");
    }
    let mut expected = longest.to_vec();
    expected.push("beside".into());
    expected.sort();
    assert_eq!(wal.streams(), expected);
    let reader = Wal::open_read_only_with(options.clone(), environment(&disk)).unwrap();
    assert_eq!(reader.streams(), expected);
    for name in &longest {
        assert_eq!(reader.get(name, 2).unwrap().as_deref(), Some(&b"2"[..]));
    }
    for name in &longest {
        let too_long = format!("{name}x");
        let mut batch = wal.batch();
        batch.append("beside", b"x").append(&too_long, b"x");
        for refused in [
            batch.commit().map(drop),
            reader.get(&too_long, 0).map(drop),
            reader.stream(&too_long).map(drop),
        ] {
            let Err(Error::Config(text)) = refused else { panic!("{refused:?}") };
            assert!(text.contains("256 bytes"), "{text}");
        }
    }
    assert_eq!(
        wal.stream("beside").unwrap().next_id(),
        longest.len() as u64,
        "nothing was appended"
    );
}
