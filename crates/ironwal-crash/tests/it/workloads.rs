//! Small workloads on the log, each crashed in every way.

use std::time::Duration;

use ironwal::{CompressionType, Journal, SyncMode};
use ironwal_crash::{CrashTest, Run};

use crate::judge::Op;
use crate::session::{Setup, crash, finish};

fn strict() -> Setup {
    Setup::new(SyncMode::Strict)
}

/// An entry of this length that says which it is.
fn entry(number: usize, len: usize) -> Vec<u8> {
    format!("{number:05}.").bytes().cycle().take(len).collect()
}

#[test]
fn single_appends() {
    crash("single appends", &strict(), |log| {
        (0..4).try_for_each(|number| log.append("a", &entry(number, 100)))
    });
}

#[test]
fn long_appends() {
    crash("long appends", &strict(), |log| {
        (0..3).try_for_each(|number| log.append("a", &entry(number, 1_500)))
    });
}

#[test]
fn rotation() {
    let setup = strict().with(|options| options.max_entries_per_segment = 2);
    crash("rotation", &setup, |log| {
        (0..7).try_for_each(|number| log.append("a", &entry(number, 40)))
    });
}

#[test]
fn rotation_by_size() {
    let setup = strict().with(|options| options.max_segment_size = 2_000);
    crash("rotation by size", &setup, |log| {
        (0..4).try_for_each(|number| log.append("a", &entry(number, 900)))
    });
}

#[test]
fn batches() {
    crash("batches", &strict(), |log| {
        for number in 0..3 {
            let entries = [0, 1, 2].map(|nth| entry(number * 3 + nth, 300));
            log.append_batch("a", &entries.each_ref().map(Vec::as_slice))?;
        }
        Ok(())
    });
}

#[test]
fn streams_in_the_journal() {
    crash("streams in the journal", &strict().journal(Journal::On), |log| {
        (0..6).try_for_each(|number| log.append(["a", "b", "c"][number % 3], &entry(number, 60)))
    });
}

#[test]
fn batches_over_streams() {
    crash("batches over streams", &strict(), |log| {
        for number in 0..3 {
            let entry = entry(number, 200);
            log.batch(&[("a", &entry), ("b", &entry), ("c", &entry)])?;
        }
        log.append("b", b"alone")
    });
}

#[test]
fn journal_switch() {
    crash("journal switch", &strict().journal(Journal::On), |log| {
        (0..16).try_for_each(|number| log.append(["a", "b"][number % 2], &entry(number, 9_000)))
    });
}

#[test]
fn pruning() {
    let setup = strict().with(|options| options.max_entries_per_segment = 2);
    crash("pruning", &setup, |log| {
        (0..6).try_for_each(|number| log.append("a", &entry(number, 40)))?;
        log.prune("a", 2)?;
        log.append("a", b"between")?;
        log.prune("a", 5)
    });
}

#[test]
fn cutting() {
    let setup = strict().with(|options| options.max_entries_per_segment = 3);
    crash("cutting", &setup, |log| {
        (0..5).try_for_each(|number| log.append("a", &entry(number, 40)))?;
        log.cut("a", Some(1))?;
        log.append("a", b"instead")?;
        log.cut("a", None)?;
        log.append("a", b"anew")
    });
}

#[test]
fn cutting_what_is_in_the_journal() {
    crash("cutting what is in the journal", &strict().journal(Journal::On), |log| {
        (0..4).try_for_each(|number| log.append(["a", "b"][number % 2], &entry(number, 60)))?;
        log.cut("a", Some(0))?;
        log.append("a", b"instead")?;
        log.cut("b", None)?;
        log.append("b", b"anew")
    });
}

#[test]
fn deletion() {
    crash("deletion", &strict().journal(Journal::On), |log| {
        (0..4).try_for_each(|number| log.append(["a", "b"][number % 2], &entry(number, 60)))?;
        log.delete("b")?;
        log.append("b", b"another life")?;
        log.append("a", b"beside it")
    });
}

#[test]
fn archive() {
    let setup = strict().with(|options| {
        options.max_entries_per_segment = 2;
        options.archive_path = Some("/archive".into());
    });
    crash("archive", &setup, |log| {
        (0..5).try_for_each(|number| log.append("a", &entry(number, 40)))?;
        log.prune("a", 4)?;
        log.append("a", b"between")?;
        log.restore("a")?;
        log.append("a", b"behind")
    });
}

#[test]
fn batch_only() {
    crash("batch only", &Setup::new(SyncMode::BatchOnly), |log| {
        log.append("a", b"single")?;
        log.append_batch("a", &[b"one", b"two"])?;
        log.append("a", &entry(1, 700))?;
        log.append("b", b"elsewhere")?;
        log.sync_all()?;
        log.append("a", b"unsynced")
    });
}

#[test]
fn asynchronous() {
    let mut setup = Setup::new(SyncMode::Async);
    setup.options.max_entries_per_segment = 3;
    crash("asynchronous", &setup, |log| {
        (0..5).try_for_each(|number| log.append("a", &entry(number, 200)))?;
        log.sync_all()?;
        (5..8).try_for_each(|number| log.append("a", &entry(number, 200)))
    });
}

#[test]
fn interval() {
    crash("interval", &Setup::new(SyncMode::Interval(Duration::from_secs(1))), |log| {
        log.append("a", &entry(0, 300))?;
        log.append("b", &entry(1, 300))?;
        log.wal.maintain();
        log.sync_all()?;
        log.append("a", &entry(2, 300))?;
        log.append("a", &entry(3, 300))
    });
}

#[test]
fn conditional_appends() {
    crash("conditional appends", &strict(), |log| {
        for number in 0..3 {
            let entries = vec![entry(number, 50)];
            log.begin(Op::Append { stream: "a".into(), entries: entries.clone(), safe: true });
            let stream = log.wal.stream("a")?;
            stream.append_at(number as u64, &entries[0])?;
            log.done();
            let refused = stream.append_at(number as u64, b"too late");
            assert!(matches!(refused, Err(ironwal::Error::Conflict { .. })));
        }
        Ok(())
    });
}

#[test]
fn reopening() {
    crash("reopening", &strict().journal(Journal::On), |log| {
        log.append("a", &entry(0, 80))?;
        log.append("b", &entry(1, 80))?;
        log.reopen()?;
        log.append("a", &entry(2, 80))?;
        log.reopen()?;
        log.append("a", &entry(3, 80))
    });
}

#[test]
fn compressed() {
    let setup = strict().with(|options| {
        options.compression = CompressionType::Lz4;
        options.min_compression_size = 64;
    });
    crash("compressed", &setup, |log| {
        log.append("a", &entry(0, 2_000))?;
        log.append_batch("a", &[&entry(1, 1_000), b"short"])?;
        log.batch(&[("a", &entry(2, 3_000)), ("b", &entry(3, 500))])
    });
}

#[test]
fn submitting() {
    crash("submitting", &strict(), |log| {
        let stream = log.wal.stream("a")?;
        for round in 0..2 {
            let mut pending = Vec::new();
            for number in 0..3 {
                let entry = entry(round * 3 + number, 120);
                let entries = vec![entry.clone()];
                log.begin(Op::Append { stream: "a".into(), entries, safe: true });
                pending.push(stream.submit(&entry)?);
            }
            pending.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
            log.done();
        }
        Ok(())
    });
}

/// A journal file gets another generation by writing its slot at 0 first, then the one at 4096, with a
/// sync between, so that power loss tears one of them at most. Power loss during the second write leaves
/// one torn slot. Recovery then goes by the other one, and began another generation by writing that one
/// first: power loss during this write left two torn slots, and the log did not open any more. Here an
/// entry is acknowledged and the log is closed; the first crash is in the close.
#[test]
fn two_torn_slots_of_the_journal() {
    let setup = strict().journal(Journal::On);
    let workload = |run: &Run<u64>| {
        let wal = setup.open(run)?;
        wal.append("a", b"acknowledged")?;
        run.mark(1);
        wal.close()?;
        Ok(())
    };
    let check = |run: &Run<u64>| {
        let wal = setup.open(run)?;
        let found = wal.stream("a")?.next_id();
        let acknowledged = run.marks().last().copied().unwrap_or(0);
        if found < acknowledged { Err("lost".into()) } else { Ok(()) }
    };
    let test = CrashTest::new("two torn slots").states(20_000);
    finish(&test, "two torn slots", test.run(workload, check));
}
