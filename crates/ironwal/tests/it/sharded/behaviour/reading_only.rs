//! A sharded log that is read beside its writer.

use super::*;

fn open_reader(disk: &SimDisk, shard_count: u16) -> Result<ShardedWal> {
    let options = options(SyncMode::Strict);
    ShardedWal::over(Wal::open_read_only_with(options, environment(disk))?, shard_count)
}

#[test]
fn it_sees_what_the_writer_does_to_checkpoints() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let writer = open_small(&disk, mode, 3);
        let reader = open_reader(&disk, 3).unwrap();
        let check = |expected: &[&str]| {
            assert_eq!(names(&reader), expected, "{mode:?}");
            for id in expected {
                let id = id.as_bytes();
                assert_eq!(
                    reader.load_checkpoint(id).unwrap(),
                    writer.load_checkpoint(id).unwrap()
                );
            }
            let (read, written) =
                (reader.load_latest_checkpoint(), writer.load_latest_checkpoint());
            match expected.last() {
                Some(_) => assert_eq!(read.unwrap(), written.unwrap()),
                None => assert!(matches!(read, Err(Error::NoCheckpoints)), "{read:?}"),
            }
            assert_eq!(reader.list_checkpoints(), writer.list_checkpoints());
            assert_eq!(names(&open_reader(&disk, 3).unwrap()), expected, "{mode:?}");
        };
        check(&[]);
        for round in 0..2 {
            for id in ["a", "b", "c", "b"] {
                fill(&writer, round, 3);
                writer.create_checkpoint(id.as_bytes()).unwrap();
            }
            check(&["a", "c", "b"]);
            writer.compact_checkpoints(2).unwrap();
            check(&["c", "b"]);
            assert!(is_not_found(&reader, "a"));
            writer.compact_checkpoints(0).unwrap();
            check(&[]);
            assert!(is_not_found(&reader, "b"));
            writer.create_checkpoint(b"d").unwrap();
            check(&["d"]);
            writer.compact_checkpoints(1).unwrap();
            writer.create_checkpoint(b"e").unwrap();
            writer.compact_checkpoints(1).unwrap();
            check(&["e"]);
            writer.compact_checkpoints(0).unwrap();
        }
        writer.create_checkpoint(b"last").unwrap();
        fill(&writer, 2, 6);
        let last = reader.load_checkpoint(b"last").unwrap();
        assert_eq!(last.offsets, [12, 12, 0]);
        assert_eq!(reader.replay(&last).unwrap().map(Result::unwrap).count(), 6);
        assert_eq!(ids(&reader, 0, 0), (0..12).collect::<Vec<_>>());
        writer.prune_before_checkpoint(b"last").unwrap();
        assert_eq!(ids(&reader, 0, 0), (8..12).collect::<Vec<_>>());
        writer.close().unwrap();
        assert_eq!(names(&reader), ["last"]);
        assert_eq!(names(&open_reader(&disk, 3).unwrap()), ["last"]);
    }
}

#[test]
fn it_changes_nothing() {
    let disk = SimDisk::new(1);
    let writer = open_small(&disk, SyncMode::Strict, 3);
    fill(&writer, 0, 9);
    writer.create_checkpoint(b"one").unwrap();
    let reader = open_reader(&disk, 3).unwrap();
    let before = contents(&disk);
    let refusals = [
        reader.append(b"key", b"entry").err(),
        reader.append_batch(&[(vec![1], vec![2])]).err(),
        reader.append_batch_for_key(b"key", &[b"entry"]).err(),
        reader.create_checkpoint(b"two").err(),
        reader.import_checkpoint(b"two", &CheckpointData::beginning(3)).err(),
        reader.prune_before_checkpoint(b"one").err(),
        reader.compact_checkpoints(0).err(),
        reader.compact_checkpoints(1).err(),
        reader.compact_checkpoints(2).err(),
        reader.flush_shard(0).err(),
        reader.flush_all().err(),
    ];
    for (nth, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Some(Error::ReadOnly(_))), "{nth}: {refusal:?}");
    }
    assert!(contents(&disk) == before);
    assert_eq!(names(&reader), ["one"]);
}

#[test]
fn it_must_be_a_sharded_log_of_that_many() {
    let disk = SimDisk::new(1);
    let wal = Wal::open_with(options(SyncMode::Strict), environment(&disk)).unwrap();
    let error = open_reader(&disk, 3).unwrap_err();
    let Error::Config(why) = error else { panic!("{error}") };
    assert!(why.contains("not sharded") && why.contains("reading only"), "{why}");
    let writer = ShardedWal::over(wal, 3).unwrap();
    writer.append(b"key", b"entry").unwrap();
    let error = open_reader(&disk, 4).unwrap_err();
    assert!(matches!(error, Error::ShardCountMismatch { expected: 4, found: 3 }), "{error}");
    assert_eq!(open_reader(&disk, 3).unwrap().inner().shard_count(), Some(3));
}
