//! Streams whose ids are about to end. No API gets there, so an empty segment is forged under checksums
//! that match.

use std::path::Path;

use ironwal::storage::SimDisk;
use ironwal::{Error, Journal, SyncMode, Wal, WalOptions};

use super::{MODES, entries, environment, options};

/// Ids that can still be given out. The last one of all, `u64::MAX`, never is: what follows it has no id.
const LEFT: u64 = 6;
const FIRST: u64 = u64::MAX - LEFT;

const JOURNALS: [Journal; 3] = [Journal::Auto, Journal::On, Journal::Off];

fn forged_options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { archive_path: Some("/archive".into()), ..options(sync_mode) }
}

/// Makes the only segment of a stream one that is empty and begins with `first_id`, as if all before had
/// been pruned. See `format/header.rs`.
fn forge(disk: &SimDisk, dir: &str, first_id: u64) {
    let is_segment = |path: &&std::path::PathBuf| {
        path.parent() == Some(Path::new(dir)) && path.extension() == Some("wal".as_ref())
    };
    let files = disk.files();
    let segments: Vec<_> = files.iter().filter(is_segment).collect();
    let [path] = segments[..] else { panic!("{segments:?}") };
    let mut header = disk.contents(path).unwrap()[..8192].to_vec();
    for slot in header.chunks_mut(4096) {
        slot[32..40].copy_from_slice(&first_id.to_le_bytes());
        slot[48..64].fill(0);
        slot[64..72].copy_from_slice(&8192_u64.to_le_bytes());
        slot[72..80].copy_from_slice(&first_id.to_le_bytes());
        slot[80..88].copy_from_slice(&first_id.to_le_bytes());
        let checksum = crc32c::crc32c(&slot[..124]);
        slot[124..128].copy_from_slice(&checksum.to_le_bytes());
    }
    disk.remove(path).unwrap();
    disk.replace(&Path::new(dir).join(format!("{first_id:020}.wal")), &header).unwrap();
}

/// A log with the streams `s` and `t`, of which `s` has few ids left.
fn nearly_full(mode: SyncMode, first_id: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let wal = open(&disk, mode, Journal::Auto);
    wal.append("s", b"x").unwrap();
    wal.append("t", b"t").unwrap();
    wal.close().unwrap();
    forge(&disk, "/log/s", first_id);
    disk
}

fn open(disk: &SimDisk, mode: SyncMode, journal: Journal) -> Wal {
    Wal::open_with(forged_options(mode), environment(disk).with_journal(journal)).unwrap()
}

fn assert_no_ids_left<T: std::fmt::Debug>(refused: Result<T, Error>) {
    match refused {
        Err(Error::Config(text)) => assert!(text.contains("\"s\" has no ids left"), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// Whatever needs one id more than there are.
fn assert_full(wal: &Wal) {
    let stream = wal.stream("s").unwrap();
    let end = stream.next_id();
    let left = u64::MAX - end;
    let entries = vec![&b"too many"[..]; left as usize + 1];
    assert_no_ids_left(stream.append_batch(&entries));
    assert_no_ids_left(stream.append_batch_at(end, &entries));
    assert_no_ids_left(wal.append_batch("s", &entries));
    let mut batch = wal.batch();
    batch.append_all("s", &entries).append("t", b"neither");
    assert_no_ids_left(batch.commit());
    if left == 0 {
        assert_no_ids_left(wal.append("s", b"one"));
        assert_no_ids_left(stream.append_at(u64::MAX, b"one"));
        assert_no_ids_left(stream.submit(b"one").and_then(ironwal::Pending::wait));
    }
    assert_eq!(stream.next_id(), end);
    assert_eq!(wal.stream("t").unwrap().next_id(), 1);
}

#[test]
fn appends_at_the_end_of_the_ids_are_refused_and_lose_nothing() {
    for (mode, journal) in MODES.into_iter().flat_map(|mode| JOURNALS.map(|it| (mode, it))) {
        let disk = nearly_full(mode, FIRST);
        let wal = open(&disk, mode, journal);
        let stream = wal.stream("s").unwrap();
        assert_eq!((stream.first_id(), stream.next_id()), (FIRST, FIRST), "{mode:?}");
        assert_full(&wal);
        assert!(matches!(stream.append_at(u64::MAX, b"x"), Err(Error::Conflict { .. })));
        assert_eq!(stream.append(b"0").unwrap(), FIRST);
        assert_eq!(stream.append_batch(&[b"1", b"2"]).unwrap(), FIRST + 1..FIRST + 3);
        assert_eq!(stream.submit(b"3").unwrap().wait().unwrap(), FIRST + 3);
        assert_full(&wal);
        let mut batch = wal.batch();
        batch.append("s", b"4").append("t", b"with it");
        assert_eq!(batch.commit().unwrap()["s"], FIRST + 4..FIRST + 5);
        wal.stream("t").unwrap().truncate_after(Some(0)).unwrap();
        assert_eq!(stream.append_at(FIRST + 5, b"5").unwrap(), u64::MAX - 1);
        let expected: Vec<_> = (0..6).map(|nth| (FIRST + nth, vec![b'0' + nth as u8])).collect();
        let check = |wal: &Wal, how: &str| {
            assert_full(wal);
            assert_eq!(entries(wal, "s"), expected, "{mode:?}, {journal:?}: {how}");
            read_at_the_end(wal);
        };
        check(&wal, "at first");
        wal.sync_all().unwrap();
        disk.kill();
        let wal = open(&disk, mode, journal);
        check(&wal, "after a kill");
        wal.close().unwrap();
        disk.crash();
        check(&open(&disk, mode, journal), "after a close and power loss");
        let reader = Wal::open_read_only_with(forged_options(mode), environment(&disk)).unwrap();
        assert_eq!(entries(&reader, "s"), expected, "{mode:?}, {journal:?}: read only");
        read_at_the_end(&reader);
    }
}

/// A stream that has used up its ids, read around its end.
fn read_at_the_end(wal: &Wal) {
    let stream = wal.stream("s").unwrap();
    let last = u64::MAX - 1;
    assert_eq!(stream.get(last).unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(stream.get(u64::MAX).unwrap(), None);
    assert_eq!(wal.get_batch("s", &[u64::MAX, last, 0]).unwrap(), [None, Some(b"5".into()), None]);
    assert_eq!(stream.range(..=u64::MAX).count(), 6);
    assert_eq!(stream.range(0..u64::MAX).rev().count(), 6);
    assert_eq!(stream.range(last..).count(), 1);
    assert_eq!(stream.range(u64::MAX..).count(), 0);
    use std::ops::Bound::{Excluded, Unbounded};
    assert_eq!(stream.range((Excluded(last), Unbounded)).count(), 0);
    assert_eq!(stream.range((Excluded(u64::MAX), Unbounded)).rev().count(), 0);
    assert_eq!(wal.iter("s", last).unwrap().count(), 1);
    assert_eq!(wal.iter("s", u64::MAX).unwrap().count(), 0);
    let mut follower = stream.follow(last);
    assert_eq!(follower.try_next().unwrap().unwrap().0, last);
    assert_eq!(follower.try_next().unwrap(), None);
    assert_eq!(follower.position(), u64::MAX);
    assert_eq!(stream.follow(u64::MAX).try_next().unwrap(), None);
}

#[test]
fn a_stream_at_the_end_of_its_ids_is_reshaped_as_any_other() {
    for mode in MODES {
        let disk = nearly_full(mode, FIRST);
        let wal = open(&disk, mode, Journal::Auto);
        let stream = wal.stream("s").unwrap();
        for nth in 0..LEFT {
            assert_eq!(stream.append(&[nth as u8]).unwrap(), FIRST + nth);
            stream.rotate().unwrap();
        }
        assert_full(&wal);
        stream.truncate_after(Some(u64::MAX)).unwrap();
        stream.truncate_after(Some(u64::MAX - 1)).unwrap();
        assert_eq!(stream.next_id(), u64::MAX);
        stream.truncate_after(Some(u64::MAX - 3)).unwrap();
        assert_eq!(stream.append_batch(&[b"a", b"b"]).unwrap().end, u64::MAX);
        assert_full(&wal);
        assert_eq!(wal.truncate("s", FIRST + 2).unwrap(), 2);
        assert_eq!(wal.restore_archived("s").unwrap(), 2);
        assert_eq!(entries(&wal, "s").len() as u64, LEFT);
        stream.truncate_before(u64::MAX).unwrap();
        wal.truncate("s", u64::MAX).unwrap();
        let check = |wal: &Wal, how: &str| {
            let stream = wal.stream("s").unwrap();
            assert_eq!((stream.first_id(), stream.next_id()), (u64::MAX, u64::MAX), "{how}");
            assert_full(wal);
            assert_eq!(entries(wal, "s"), [], "{mode:?}: {how}");
            assert_eq!(wal.cut(&["s", "t"]).unwrap(), [u64::MAX, 1]);
        };
        check(&wal, "all of it pruned");
        wal.close().unwrap();
        disk.crash();
        let wal = open(&disk, mode, Journal::Auto);
        check(&wal, "after reopening");
        wal.restore_archived("s").unwrap();
        assert_eq!(entries(&wal, "s").len() as u64, LEFT, "{mode:?}");
        wal.delete_stream("s").unwrap();
        assert_eq!(wal.append("s", b"a new life").unwrap(), 0);
    }
}

/// A file says that its first id is the last of all, or nearly.
#[test]
fn any_first_id_can_be_opened() {
    for first_id in [u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 32, u64::from(u32::MAX), 1] {
        for mode in MODES {
            let disk = nearly_full(mode, first_id);
            let wal = open(&disk, mode, Journal::On);
            let stream = wal.stream("s").unwrap();
            assert_eq!(stream.next_id(), first_id);
            let count = (u64::MAX - first_id).min(3);
            for nth in 0..count {
                assert_eq!(stream.append(b"x").unwrap(), first_id + nth, "{mode:?}");
            }
            if count < 3 {
                assert_full(&wal);
            }
            wal.close().unwrap();
            disk.crash();
            let wal = open(&disk, mode, Journal::On);
            assert_eq!(entries(&wal, "s").len() as u64, count, "{first_id}, {mode:?}");
        }
    }
}

/// Ids that are not there.
#[test]
fn ids_beyond_the_end_are_nothing() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, mode, Journal::Auto);
        let stream = wal.stream("s").unwrap();
        let check = |end: u64| {
            for id in [end, end + 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
                assert_eq!(stream.get(id).unwrap(), None);
                assert_eq!(wal.get_batch("s", &[id, id]).unwrap(), [None, None]);
                assert_eq!(wal.iter("s", id).unwrap().count(), 0);
                assert_eq!(stream.range(id..).rev().count(), 0);
                assert_eq!(stream.range(..=id).count() as u64, end);
                assert_eq!(stream.follow(id).try_next().unwrap(), None);
                if id != end {
                    let refused = stream.append_at(id, b"x");
                    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
                }
            }
            stream.truncate_after(Some(u64::MAX)).unwrap();
            assert_eq!(stream.next_id(), end, "{mode:?}");
        };
        check(0);
        stream.append_batch(&[b"0", b"1", b"2"]).unwrap();
        check(3);
        assert_eq!(wal.truncate("s", u64::MAX).unwrap(), 0, "the newest segment is kept");
        assert_eq!(entries(&wal, "s").len(), 3);
        stream.truncate_before(u64::MAX).unwrap();
        assert_eq!((stream.first_id(), stream.next_id()), (3, 3), "{mode:?}");
        drop((wal, stream));
        assert_eq!(open(&disk, mode, Journal::Auto).append("s", b"3").unwrap(), 3);
    }
}

/// A shard that has used up its ids can be in a checkpoint, and the others go on.
#[cfg(feature = "sharded")]
#[test]
fn a_shard_at_the_end_of_its_ids_is_in_checkpoints_as_any_other() {
    use ironwal::sharded::ShardedWal;

    for mode in MODES {
        let disk = SimDisk::new(1);
        let open = || {
            let wal = Wal::open_with(forged_options(mode), environment(&disk)).unwrap();
            ShardedWal::over(wal, 2).unwrap()
        };
        let wal = open();
        wal.inner().append("shard_00", b"x").unwrap();
        wal.inner().append("shard_01", b"x").unwrap();
        wal.inner().clone().close().unwrap();
        drop(wal);
        forge(&disk, "/log/shard_00", u64::MAX - 1);
        let wal = open();
        wal.create_checkpoint(b"before").unwrap();
        assert_eq!(wal.inner().append("shard_00", b"the last").unwrap(), u64::MAX - 1);
        wal.create_checkpoint(b"after").unwrap();
        wal.inner().append("shard_01", b"behind it").unwrap();
        let check = |wal: &ShardedWal| {
            assert_eq!(wal.load_checkpoint(b"before").unwrap().offsets, [u64::MAX - 1, 1]);
            assert_eq!(wal.load_checkpoint(b"after").unwrap().offsets, [u64::MAX, 1]);
            let replayed = |id: &[u8]| {
                let entries = wal
                    .replay(&wal.load_checkpoint(id).unwrap())
                    .unwrap()
                    .map(|item| item.unwrap().2);
                entries.map(|entry| entry.to_vec()).collect::<Vec<_>>()
            };
            assert_eq!(replayed(b"before"), [&b"the last"[..], b"behind it"], "{mode:?}");
            assert_eq!(replayed(b"after"), [&b"behind it"[..]], "{mode:?}");
        };
        check(&wal);
        wal.prune_before_checkpoint(b"after").unwrap();
        wal.inner().sync_all().unwrap();
        drop(wal);
        disk.crash();
        check(&open());
    }
}
