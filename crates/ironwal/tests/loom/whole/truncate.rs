//! Cutting off a stream's newest entries beside an append.

use super::{JOURNALED, Model, entries, get};

/// The entries that are cut off are in the journal. Whatever comes after the cut stays, and what it took
/// away does not come back.
#[test]
fn beside_an_append() {
    Model {
        prepare: |log| {
            for entry in [&b"kept"[..], b"gone", b"gone"] {
                log.wal.append("s", entry).unwrap();
            }
        },
        threads: &[
            |log| {
                log.wal.stream("s").unwrap().truncate_after(Some(0)).unwrap();
                log.promise(|wal| {
                    let left = entries(wal, "s");
                    assert_eq!(left[0], b"kept");
                    assert!(!left.contains(&b"gone".to_vec()), "what was cut off is back");
                });
            },
            |log| {
                let id = log.wal.append("s", b"new").unwrap();
                // Behind what is to be cut off, or in its place.
                if id == 1 {
                    log.promise(|wal| assert_eq!(entries(wal, "s"), [&b"kept"[..], b"new"]));
                } else {
                    assert_eq!(id, 3);
                    // The cut is under way by now, or over, or has not begun.
                    log.promise(|wal| {
                        let left = entries(wal, "s");
                        let [uncut, cut] =
                            [&[&b"kept"[..], b"gone", b"gone", b"new"][..], &[b"kept"]];
                        assert!(left == uncut || left == cut, "neither cut nor whole: {left:?}");
                    });
                }
            },
        ],
        judge: |log| {
            let is_kept = get(&log.wal, "s", 1).is_some();
            log.promise(move |wal| assert_eq!(get(wal, "s", 1).is_some(), is_kept));
        },
        ..JOURNALED
    }
    .check();
}
