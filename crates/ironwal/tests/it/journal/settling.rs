//! A segment that is full, and that nobody has synced yet, when the journal is freed.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use ironwal::{Journal, Maintenance, SyncMode, Wal};

use super::{append_together, disk, entries, environment, generations, open, options};
use crate::hooked::Hooked;

/// It holds entries of the journal, too: they are durable in it before the file of the journal that has
/// them is used for something else.
#[test]
fn what_is_in_a_full_segment_outlives_the_journal() {
    let disk = disk(1);
    // The maintenance thread stands still at its first sync, until it is let go.
    let (stands, is_standing) = mpsc::channel();
    let (let_go, may_go) = mpsc::channel::<()>();
    let gate = Mutex::new(Some((stands, may_go)));
    let storage = Hooked::new(&disk).before_sync(move || {
        if std::thread::current().name() == Some("ironwal-maintenance")
            && let Some((stands, may_go)) = gate.lock().unwrap().take()
        {
            stands.send(()).unwrap();
            // An error: the other end is gone, so the test is over.
            let _ = may_go.recv();
        }
    });
    let on = environment(Arc::new(storage), Journal::On).with_maintenance(Maintenance::Thread);
    let wal = Wal::open_with(options(SyncMode::Async), on).unwrap();
    let fill = |name: &str| {
        wal.stream(name).unwrap().rotate().unwrap();
        wal.append(name, b"in another segment").unwrap();
    };
    append_together(&wal, &[("a", b"acknowledged"), ("b", b"acknowledged")]).unwrap();
    wal.append("busy", b"0").unwrap();
    fill("busy");
    is_standing.recv().unwrap();

    fill("a");
    let before = generations(&disk).into_iter().flatten().max();
    for _ in 0..10 {
        append_together(&wal, &[("c", &[1; 15_000]), ("d", &[1; 15_000])]).unwrap();
    }
    assert!(generations(&disk).into_iter().flatten().min() > before, "{:?}", generations(&disk));
    disk.crash();
    drop(let_go);
    drop(wal);
    let wal = open(&disk, &options(SyncMode::Async));
    for name in ["a", "b"] {
        assert_eq!(entries(&wal, name)[0], b"acknowledged", "{name}");
    }
}
