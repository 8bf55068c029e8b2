//! What every [`Storage`] must do, as a suite that any implementer can run in a test.
//!
//! [`check`] is about what can be seen while nothing crashes. [`check_crashes`] is about the
//! table of [`storage`](crate::storage): it shows for a simulated disk that whatever *may* be lost
//! *is* lost for some seed, because a disk that is too kind finds no missing sync, and that
//! nothing is ever lost that the table promises.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{DirEntry, EntryKind, File, OpenMode, SharedWords, Storage, read_up_to, write_all_at};

pub use super::sim::check_crashes;

/// Checks a storage in `dir`, which must exist and be empty, and leaves files there.
///
/// # Panics
///
/// If the storage breaks the contract, with a message that says how.
///
/// # Examples
///
/// ```
/// use ironwal::storage::{SimDisk, conformance};
/// use std::{path::Path, sync::Arc};
///
/// conformance::check(Arc::new(SimDisk::new(1)), Path::new("/"));
/// ```
pub fn check(storage: Arc<dyn Storage>, dir: &Path) {
    type Check = fn(&dyn Storage, &Path);
    let checks: [(&str, Check); 18] = [
        ("positions", check_positions),
        ("ends", check_ends),
        ("lengths", check_lengths),
        ("reservations", check_reservations),
        ("sparse", check_sparse),
        ("limits", check_limits),
        ("modes", check_modes),
        ("listing", check_listing),
        ("directories", check_directories),
        ("renaming", check_renaming),
        ("moving", check_moving),
        ("removing", check_removing),
        ("locking", check_locking),
        ("syncing", check_syncing),
        ("mapping", check_mapping),
        ("storing", check_storing),
        ("sharing", check_sharing),
        ("publishing", check_publishing),
    ];
    for (name, check) in checks {
        let dir = dir.join(name);
        ok(storage.create_dir(&dir), "create_dir");
        check(&*storage, &dir);
    }
}

fn check_positions(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    write(&*file, b"0123456789", 0);
    write(&*file, b"xyz", 4);
    assert_eq!(read(&*file, 0, 100), b"0123xyz789", "an overwritten middle");
    assert_eq!(read(&*file, 5, 3), b"yz7", "a read from the middle");
    // Across sectors and pages, at odd positions.
    let pattern: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    write(&*file, &pattern, 4001);
    assert_eq!(read(&*file, 4001, 20_000), pattern, "a long write");
    assert_eq!(read(&*file, 0, 4), b"0123", "what lies before a long write");
    write(&*file, b"!", 4096);
    assert_eq!(read(&*file, 4095, 1), &pattern[94..95], "beside one byte");
    assert_eq!(read(&*file, 4096, 1), b"!", "one byte");
    assert_eq!(read(&*file, 4097, 1), &pattern[96..97], "beside one byte");

    let other = ok(storage.open(&dir.join("a"), OpenMode::ReadWrite), "open");
    write(&*other, b"shared", 0);
    assert_eq!(read(&*file, 0, 6), b"shared", "a write through another handle");
}

fn check_ends(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    assert!(ok(file.is_empty(), "is_empty"), "a new file is empty");
    let mut buf = [7; 8];
    assert_eq!(ok(file.read_at(&mut buf, 0), "read_at"), 0, "an empty file");
    write(&*file, b"abc", 0);
    assert!(!ok(file.is_empty(), "is_empty"), "a file with bytes");
    assert_eq!(read(&*file, 1, 100), b"bc", "a read beyond the end");
    for offset in [3, 4, 1 << 40] {
        let count = ok(file.read_at(&mut buf, offset), "read_at");
        assert_eq!(count, 0, "a read at {offset} of 3");
    }
    assert_eq!(buf, [7; 8], "a read of nothing leaves the buffer alone");
    assert_eq!(ok(file.read_at(&mut [], 0), "read_at"), 0, "an empty read");
    assert_eq!(ok(file.write_at(&[], 100), "write_at"), 0, "an empty write");
    assert_eq!(len(&*file), 3, "an empty write beyond the end");
}

fn check_lengths(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    write(&*file, b"abc", 0);
    write(&*file, b"def", 10);
    let expected = b"abc\0\0\0\0\0\0\0def";
    assert_eq!(read(&*file, 0, 100), expected, "a write beyond the end");

    ok(file.set_len(2), "set_len");
    assert_eq!(read(&*file, 0, 100), b"ab", "a shortened file");
    ok(file.set_len(12), "set_len");
    assert_eq!(len(&*file), 12, "a lengthened file");
    let expected = b"ab\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(read(&*file, 0, 100), expected, "bytes that are gained");
    ok(file.set_len(12), "set_len to the same length");

    write(&*file, &[9; 10_000], 0);
    ok(file.set_len(5_000), "set_len");
    write(&*file, b"x", 9_999);
    let content = read(&*file, 0, 20_000);
    assert_eq!(content.len(), 10_000, "a write far beyond the end");
    assert!(content[..5_000].iter().all(|b| *b == 9), "what was kept");
    let gap = &content[5_000..9_999];
    assert!(gap.iter().all(|b| *b == 0), "removed bytes came back");
    ok(file.set_len(0), "set_len");
    assert_eq!(len(&*file), 0, "an emptied file");
}

fn check_reservations(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    write(&*file, b"abc", 0);
    ok(file.reserve(0, 100_000), "reserve");
    assert_eq!(len(&*file), 100_000, "reserve lengthens");
    assert_eq!(read(&*file, 0, 3), b"abc", "reserve keeps the content");
    let gained = read(&*file, 3, 100_000);
    assert_eq!(gained.len(), 99_997, "what reserve gained");
    assert!(gained.iter().all(|b| *b == 0), "reserve gains zeros");

    write(&*file, b"def", 50_000);
    ok(file.reserve(40_000, 20_000), "reserve inside the file");
    assert_eq!(len(&*file), 100_000, "reserve never shortens");
    assert_eq!(read(&*file, 50_000, 3), b"def", "reserve keeps the content");
    ok(file.reserve(200_000, 10), "reserve beyond the end");
    assert_eq!(len(&*file), 200_010, "reserve beyond the end");
    ok(file.reserve(500_000, 0), "reserve nothing");
    assert_eq!(len(&*file), 200_010, "reserving nothing");
}

fn check_sparse(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    let far = (1 << 33) + 4_095;
    write(&*file, b"far", far);
    assert_eq!(len(&*file), far + 3, "a write beyond 8 GiB");
    assert_eq!(read(&*file, far - 1, 10), b"\0far", "a read beyond 8 GiB");
    assert_eq!(read(&*file, 1 << 32, 2), b"\0\0", "a hole");
}

fn check_limits(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    write(&*file, b"abc", 0);
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
        assert!(file.write_at(b"xy", offset).is_err(), "a write at {offset}");
        assert!(file.reserve(offset, 2).is_err(), "reserve at {offset}");
        assert!(file.set_len(offset).is_err(), "set_len to {offset}");
    }
    assert_eq!(read(&*file, 0, 10), b"abc", "after impossible calls");
}

fn check_modes(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("a");
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        let result = storage.open(&path, mode);
        fails(result, ErrorKind::NotFound, "opening a missing file");
        let result = storage.open(&dir.join("no/a"), mode);
        fails(result, ErrorKind::NotFound, "opening in a missing directory");
    }
    let result = storage.open(&dir.join("no/a"), OpenMode::Create);
    fails(result, ErrorKind::NotFound, "creating in a missing directory");

    let file = create(storage, &path);
    write(&*file, b"abc", 0);
    let result = storage.open(&path, OpenMode::Create);
    fails(result, ErrorKind::AlreadyExists, "creating an existing file");
    let result = storage.open(dir, OpenMode::Create);
    fails(result, ErrorKind::AlreadyExists, "creating over a directory");
    let result = storage.open(dir, OpenMode::ReadWrite);
    assert!(result.is_err(), "opening a directory for writing");
    assert_eq!(read(&*file, 0, 10), b"abc", "after a failed creation");

    let reader = ok(storage.open(&path, OpenMode::Read), "open");
    assert_eq!(read(&*reader, 0, 10), b"abc", "reading only");
    assert!(reader.write_at(b"x", 0).is_err(), "writing while reading only");
    assert!(reader.set_len(1).is_err(), "set_len while reading only");
    assert_eq!(read(&*file, 0, 10), b"abc", "after a refused write");
}

fn check_listing(storage: &dyn Storage, dir: &Path) {
    assert_eq!(ok(storage.list(dir), "list"), [], "an empty directory");
    let names = ["b", "a", "c.d", "B", ".hidden", "00000000000000000010.wal"];
    for name in names {
        create(storage, &dir.join(name));
    }
    ok(storage.create_dir(&dir.join("aa")), "create_dir");
    create(storage, &dir.join("aa/inner"));
    let expected = [
        (".hidden", EntryKind::File),
        ("00000000000000000010.wal", EntryKind::File),
        ("B", EntryKind::File),
        ("a", EntryKind::File),
        ("aa", EntryKind::Dir),
        ("b", EntryKind::File),
        ("c.d", EntryKind::File),
    ]
    .map(|(name, kind)| DirEntry { name: name.into(), kind });
    assert_eq!(ok(storage.list(dir), "list"), expected, "sorted by name");
    let result = storage.list(&dir.join("no"));
    fails(result, ErrorKind::NotFound, "listing a missing directory");
    assert!(storage.list(&dir.join("a")).is_err(), "listing a file");
}

fn check_directories(storage: &dyn Storage, dir: &Path) {
    let inner = dir.join("inner");
    ok(storage.create_dir(&inner), "create_dir");
    let result = storage.create_dir(&inner);
    fails(result, ErrorKind::AlreadyExists, "creating it again");
    let result = storage.create_dir(&dir.join("no/inner"));
    fails(result, ErrorKind::NotFound, "creating in a missing one");
    create(storage, &inner.join("a"));
    let result = storage.create_dir(&inner.join("a"));
    fails(result, ErrorKind::AlreadyExists, "creating over a file");

    let result = storage.remove_dir(&inner);
    fails(result, ErrorKind::DirectoryNotEmpty, "removing a full one");
    assert!(storage.remove_file(&inner).is_err(), "remove_file on one");
    let result = storage.remove_dir(&inner.join("a"));
    assert!(result.is_err(), "remove_dir on a file");
    ok(storage.remove_file(&inner.join("a")), "remove_file");
    ok(storage.remove_dir(&inner), "remove_dir");
    let result = storage.remove_dir(&inner);
    fails(result, ErrorKind::NotFound, "removing a missing one");
    assert_eq!(names(storage, dir), "", "after remove_dir");
}

fn check_renaming(storage: &dyn Storage, dir: &Path) {
    let [a, b] = ["a", "b"].map(|name| dir.join(name));
    let file = create(storage, &a);
    write(&*file, b"from a", 0);
    ok(storage.rename(&a, &b), "rename");
    assert_eq!(names(storage, dir), "b", "after rename");
    assert_eq!(read(&*file, 0, 10), b"from a", "an open handle, renamed");
    write(&*file, b"still a", 0);
    assert_eq!(contents(storage, &b), b"still a", "written after rename");
    let result = storage.rename(&a, &b);
    fails(result, ErrorKind::NotFound, "renaming a missing file");
    let result = storage.rename(&b, &dir.join("no/b"));
    fails(result, ErrorKind::NotFound, "renaming to a missing directory");
    assert_eq!(names(storage, dir), "b", "after failed renames");

    let newer = create(storage, &a);
    write(&*newer, b"newer", 0);
    ok(storage.rename(&a, &b), "rename over a file");
    assert_eq!(names(storage, dir), "b", "after replacing");
    assert_eq!(contents(storage, &b), b"newer", "the replacement");
    assert_eq!(read(&*file, 0, 10), b"still a", "a handle of the replaced");
    ok(storage.rename(&b, &b), "rename to itself");
    assert_eq!(contents(storage, &b), b"newer", "renamed to itself");
}

fn check_moving(storage: &dyn Storage, dir: &Path) {
    let [from, to] = ["from", "to"].map(|name| dir.join(name));
    ok(storage.create_dir(&from), "create_dir");
    ok(storage.create_dir(&to), "create_dir");
    write(&*create(storage, &from.join("a")), b"content", 0);
    ok(storage.rename(&from.join("a"), &to.join("b")), "rename");
    assert_eq!(names(storage, &from), "", "moved out");
    assert_eq!(names(storage, &to), "b", "moved in");

    ok(storage.rename(&to, &from.join("to")), "rename a directory");
    assert_eq!(names(storage, dir), "from", "a moved directory");
    let content = contents(storage, &from.join("to/b"));
    assert_eq!(content, b"content", "in a moved directory");
    let result = storage.rename(&from, &from.join("to/from"));
    assert!(result.is_err(), "a directory into itself");
    create(storage, &dir.join("file"));
    let result = storage.rename(&dir.join("file"), &from);
    assert!(result.is_err(), "a file over a directory");
}

fn check_removing(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("a");
    let file = create(storage, &path);
    write(&*file, b"old", 0);
    ok(storage.remove_file(&path), "remove_file");
    assert_eq!(names(storage, dir), "", "after remove_file");
    let result = storage.remove_file(&path);
    fails(result, ErrorKind::NotFound, "removing it again");
    let newer = create(storage, &path);
    write(&*newer, b"newer", 0);
    assert_eq!(read(&*file, 0, 10), b"old", "an open handle, removed");
    write(&*file, b"on", 3);
    assert_eq!(read(&*file, 0, 10), b"oldon", "written after removal");
    ok(file.sync(), "sync after removal");
    assert_eq!(contents(storage, &path), b"newer", "its successor");
}

fn check_locking(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("lock");
    assert!(!ok(storage.is_locked(&path), "is_locked"), "a missing file");
    assert!(!ok(storage.is_locked(&dir.join("no/lock")), "is_locked"), "a missing directory");
    assert_eq!(names(storage, dir), "", "is_locked creates nothing");
    let lock = ok(storage.lock(&path), "lock");
    assert_eq!(names(storage, dir), "lock", "lock creates the file");
    assert!(ok(storage.is_locked(&path), "is_locked"), "a lock that is held");
    let result = storage.lock(&path);
    fails(result, ErrorKind::WouldBlock, "a second lock");
    assert!(ok(storage.is_locked(&path), "is_locked"), "a lock that is held on");
    let other = ok(storage.lock(&dir.join("other")), "another lock");
    drop(lock);
    assert!(!ok(storage.is_locked(&path), "is_locked"), "a lock that was released");
    let lock = ok(storage.lock(&path), "lock after release");
    drop((lock, other));

    let file = ok(storage.open(&path, OpenMode::ReadWrite), "open");
    write(&*file, b"kept", 0);
    let lock = ok(storage.lock(&path), "lock an existing file");
    assert_eq!(len(&*file), 4, "lock keeps the content");
    drop(lock);
    let result = storage.lock(&dir.join("no/lock"));
    fails(result, ErrorKind::NotFound, "lock in a missing directory");
}

fn check_syncing(storage: &dyn Storage, dir: &Path) {
    let file = create(storage, &dir.join("a"));
    ok(file.sync(), "sync of an empty file");
    write(&*file, b"abc", 0);
    ok(file.sync(), "sync");
    ok(file.sync(), "sync of nothing new");
    assert_eq!(read(&*file, 0, 10), b"abc", "after sync");
    let reader = ok(storage.open(&dir.join("a"), OpenMode::Read), "open");
    assert_eq!(read(&*reader, 0, 10), b"abc", "another handle after sync");
    ok(storage.sync_dir(dir), "sync_dir");
    let result = storage.sync_dir(&dir.join("no"));
    // Where directories cannot be synced, nobody looks for them either.
    assert!(result.is_err() || cfg!(windows), "sync_dir of a missing one");
}

fn check_mapping(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("a");
    let file = create(storage, &path);
    let Some(empty) = ok(file.map(u64::MAX), "map") else {
        return;
    };
    assert_eq!(empty, &b""[..], "an empty file");
    let pattern: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0] ^ 0xa5).collect();
    write(&*file, &pattern, 0);
    let reader = ok(storage.open(&path, OpenMode::Read), "open");
    let maps = [ok(file.map(u64::MAX), "map"), ok(reader.map(u64::MAX), "map while reading only")];
    assert!(maps.iter().all(|map| map.as_deref() == Some(&pattern)), "what was written");
    ok(file.sync(), "sync");
    ok(storage.rename(&path, &dir.join("b")), "rename");
    drop((file, reader));
    ok(storage.remove_file(&dir.join("b")), "remove_file");
    write(&*create(storage, &path), &[9; 10_000], 0);
    assert!(maps.iter().all(|map| map.as_deref() == Some(&pattern)), "a file that is gone");

    let file = create(storage, &dir.join("reserved"));
    write(&*file, b"abc", 0);
    ok(file.reserve(0, 5_000), "reserve");
    for (len, expected) in [(u64::MAX, 5_000), (5_000, 5_000), (4, 4), (0, 0)] {
        let map = ok(file.map(len), "map").unwrap_or_default();
        assert_eq!(map.len(), expected, "a part of a reserved file");
        assert!(map.iter().zip(b"abc\0").all(|(found, due)| found == due), "a reserved file");
    }
}

fn check_storing(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("a");
    let file = create(storage, &path);
    write(&*file, b"header", 0);
    ok(file.reserve(0, 20_000), "reserve");
    let Some(mut map) = ok(file.map_writable(1 << 20), "map_writable") else {
        return;
    };
    let refused = |result: std::io::Result<()>, what| fails(result, ErrorKind::InvalidInput, what);
    refused(map.store(b"x", 10), "a store into what is not prepared");
    ok(map.prepare(6, 10_000), "prepare");
    ok(map.store(b"one", 6), "store");
    ok(map.store(b"two", 9_997), "store at the end of what is prepared");
    refused(map.store(b"xy", 9_999), "a store over the end of it");
    refused(map.store(b"x", 5), "a store before it");
    refused(map.store(b"x", u64::MAX), "a store far behind it");
    ok(map.prepare(10_000, 20_000), "prepare more");
    ok(map.store(b"three", 9_998), "a store over two pieces that were prepared");
    write(&*file, b"four", 15_000);
    let reader = ok(storage.open(&path, OpenMode::Read), "open");
    for (offset, expected) in [(0, &b"headerone"[..]), (9_996, b"\0tthree\0"), (15_000, b"four")] {
        assert_eq!(read(&*reader, offset, expected.len()), expected, "what was stored at {offset}");
    }
    assert_eq!(len(&*reader), 20_000, "the length of a mapped file");
    ok(file.sync(), "sync");
    ok(storage.rename(&path, &dir.join("b")), "rename");
    drop(file);
    ok(map.store(b"five", 100), "a store into a file that was closed and renamed");
    assert_eq!(read(&*reader, 100, 4), b"five", "what was stored then");
    ok(map.store(b"", 50), "a store of nothing");
    let mapped = ok(reader.map_writable(1 << 20), "map_writable while reading only");
    assert!(mapped.is_none(), "a file that is open for reading only is not written to");
}

/// `None` if the storage shares no memory, or not here.
fn share(storage: &dyn Storage, path: &Path, count: usize) -> Option<Arc<dyn SharedWords>> {
    match storage.share(path, count) {
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        words => Some(ok(words, "share")),
    }
}

fn check_sharing(storage: &dyn Storage, dir: &Path) {
    let path = dir.join("a");
    let Some(words) = share(storage, &path, 4) else {
        return;
    };
    assert_eq!(names(storage, dir), "a", "share creates the file");
    let loaded = |words: &dyn SharedWords| (0..words.count()).map(|n| words.load(n)).collect();
    let loaded: &dyn Fn(&dyn SharedWords) -> Vec<u64> = &loaded;
    assert_eq!(loaded(&*words), [0; 4], "new words");
    words.store(1, u64::MAX);
    words.store(3, 7);
    words.store(4, 9);
    words.store(usize::MAX, 9);
    assert_eq!((words.load(4), words.load(usize::MAX)), (0, 0), "words that there are not");
    let reader = ok(storage.shared(&path), "shared");
    assert_eq!(loaded(&*reader), [0, u64::MAX, 0, 7], "words through shared");
    reader.store(0, 9);
    assert_eq!(words.load(0), 0, "a store through shared");
    words.store(0, 5);
    assert_eq!(reader.load(0), 5, "a store after shared");

    let longer = ok(storage.share(&path, 5_000), "share");
    assert_eq!(longer.count(), 5_000, "lengthened words");
    assert_eq!(loaded(&*longer)[..4], [5, u64::MAX, 0, 7], "lengthening keeps the content");
    assert!(loaded(&*longer)[4..].iter().all(|word| *word == 0), "lengthening gains zeros");
    longer.store(2, 6);
    longer.store(4_999, 8);
    assert_eq!((words.load(2), reader.load(2)), (6, 6), "a store through the lengthened");
    assert_eq!((words.count(), reader.count()), (4, 4), "those who opened before");
    words.store(0, 4);
    assert_eq!(longer.load(0), 4, "a store by one who opened before");
    let again = ok(storage.share(&path, 1), "share");
    assert_eq!((again.count(), again.load(4_999)), (5_000, 8), "share never shortens");
    let newer = ok(storage.shared(&path), "shared");
    assert_eq!((newer.count(), newer.load(4_999)), (5_000, 8), "shared again");

    drop((words, again));
    ok(storage.remove_file(&path), "remove_file");
    longer.store(3, 3);
    assert_eq!(newer.load(3), 3, "words of a removed file");
    fails(storage.shared(&path), ErrorKind::NotFound, "shared of a missing file");
    let successor = ok(storage.share(&path, 4), "share");
    assert_eq!(loaded(&*successor), [0; 4], "the successor of a removed file");
    fails(storage.share(&dir.join("no/a"), 1), ErrorKind::NotFound, "in a missing directory");
    fails(storage.shared(&dir.join("no/a")), ErrorKind::NotFound, "in a missing directory");
    assert!(storage.share(dir, 1).is_err(), "sharing a directory");
    assert!(storage.share(&path, usize::MAX).is_err(), "more words than there can be");

    let none = ok(storage.share(&dir.join("none"), 0), "share");
    none.store(0, 9);
    assert_eq!((none.count(), none.load(0)), (0, 0), "no words");
    assert_eq!(ok(storage.shared(&dir.join("none")), "shared").count(), 0, "no words");
    write(&*create(storage, &dir.join("odd")), &[1; 12], 0);
    let odd = ok(storage.shared(&dir.join("odd")), "shared");
    assert_eq!(odd.count(), 1, "the whole words of 12 bytes");
    let odd = ok(storage.share(&dir.join("odd"), 2), "share");
    assert_eq!(odd.count(), 2, "12 bytes lengthened to two words");
    assert_eq!(odd.load(0), u64::from_ne_bytes([1; 8]), "what was there stays");
}

/// Whoever sees a word sees what was written to files before it was stored.
fn check_publishing(storage: &dyn Storage, dir: &Path) {
    const ENTRIES: u64 = 200;
    let Some(words) = share(storage, &dir.join("words"), 1) else {
        return;
    };
    let file = create(storage, &dir.join("a"));
    let entry = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let reader = ok(storage.shared(&dir.join("words")), "shared");
    let reader_file = ok(storage.open(&dir.join("a"), OpenMode::Read), "open");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=ENTRIES {
                let written = write_all_at(&*file, &entry(number), number * 8);
                // The last word ends the reader, also after an error.
                words.store(0, if written.is_ok() { number } else { ENTRIES + 1 });
                ok(written, "write_at");
            }
        });
        let mut seen = 0;
        while seen < ENTRIES {
            let now = reader.load(0);
            assert!(now >= seen && now <= ENTRIES, "{now} after {seen}");
            for number in seen + 1..=now {
                let bytes = read(&*reader_file, number * 8, 8);
                assert_eq!(bytes, entry(number), "entry {number} of {now} that were published");
            }
            seen = now;
            std::thread::yield_now();
        }
    });
}

#[track_caller]
fn ok<T>(result: std::io::Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed: {error}"),
    }
}

#[track_caller]
fn fails<T>(result: std::io::Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Ok(_) => panic!("{what} should fail with {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{what}: {error}"),
    }
}

#[track_caller]
fn create(storage: &dyn Storage, path: &Path) -> Arc<dyn File> {
    ok(storage.open(path, OpenMode::Create), "create")
}

#[track_caller]
fn write(file: &dyn File, bytes: &[u8], offset: u64) {
    ok(write_all_at(file, bytes, offset), "write_at");
}

#[track_caller]
fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let count = ok(read_up_to(file, &mut bytes, offset), "read_at");
    bytes.truncate(count);
    bytes
}

#[track_caller]
fn len(file: &dyn File) -> u64 {
    ok(file.len(), "len")
}

#[track_caller]
fn contents(storage: &dyn Storage, path: &Path) -> Vec<u8> {
    let file = ok(storage.open(path, OpenMode::Read), "open");
    read(&*file, 0, 1 << 16)
}

#[track_caller]
fn names(storage: &dyn Storage, dir: &Path) -> String {
    let entries = ok(storage.list(dir), "list");
    let names: Vec<_> = entries.iter().map(|e| e.name.to_string_lossy()).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::sim::SimConfig;
    use crate::storage::{RealDisk, SimDisk};

    #[test]
    fn the_real_disk_conforms() {
        let dir = tempfile::tempdir().unwrap();
        check(Arc::new(RealDisk), dir.path());
    }

    #[test]
    fn the_simulated_disk_conforms() {
        for seed in 0..50 {
            check(Arc::new(SimDisk::new(seed)), Path::new("/"));
            let nasty = SimDisk::with_config(SimConfig {
                seed,
                write_back: 0.5,
                short_writes: 0.5,
                short_reads: 0.5,
                ..SimConfig::default()
            });
            ok(nasty.create_dir(Path::new("relative")), "create_dir");
            check(Arc::new(nasty), Path::new("relative"));
        }
    }

    #[test]
    fn the_simulated_disk_loses_what_it_may_and_nothing_else() {
        check_crashes(SimDisk::new);
    }

    #[test]
    #[should_panic(expected = "never happened")]
    fn a_disk_that_is_too_kind_is_found_out() {
        check_crashes(|_| SimDisk::new(0));
    }
}
