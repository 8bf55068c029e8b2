//! What the journal does with its files, below the rounds.

use std::path::{Path, PathBuf};

use super::{Journal, Settings};
use crate::commit::parts::{LEN_MIN, Need};
use crate::format::journal::{Record, frame};
use crate::storage::sim::{CallKind, SimConfig};
use crate::storage::{SimDisk, Storage};
use crate::sync::{Arc, lock};

const LEN_MAX: u64 = 4 * LEN_MIN;

fn journal(disk: &SimDisk) -> Journal {
    let storage: Arc<dyn Storage> = Arc::new(disk.process());
    let root = PathBuf::from("/");
    let root_syncs = Arc::default();
    let settings =
        Settings { storage, root, salt: 9, root_syncs, len_max: LEN_MAX, threads_max: 1 };
    Journal::new(settings, Arc::default())
}

fn share(stream_number: u64) -> Record {
    Record { stream_number, segment: 0, index: 0, count: 1, offset: 8192, len: 24 }
}

/// The generation in the header of a file.
fn generation(disk: &SimDisk, nth: usize) -> u64 {
    let bytes = disk.contents(&Path::new("/").join(format!(".journal.{nth}"))).unwrap();
    u64::from_le_bytes(bytes[24..32].try_into().unwrap())
}

/// Both files hold something, the second one something older. Were the newer one emptied first, a void
/// in it would be gone while the records that it speaks of are not.
#[test]
fn the_older_file_is_emptied_first() {
    let mut between = 0;
    for call in 1..100 {
        let disk = SimDisk::new(call);
        let journal = journal(&disk);
        {
            let mut state = lock(&journal.state);
            for (nth, generation) in [(0, 2), (1, 1)] {
                state.parts[nth] = Some(journal.create(nth, generation).unwrap());
            }
            state.generation = 2;
        }
        disk.cut_power_at(call);
        let closed = journal.close(true);
        let is_over = !disk.power_is_off();
        disk.crash();
        let [newer, older] = [0, 1].map(|nth| generation(&disk, nth));
        assert!(newer == 2 || older > 2, "call {call}: {newer} is begun anew, {older} is not");
        between += u32::from(newer == 2 && older > 2);
        if is_over {
            closed.unwrap();
            assert!(newer > older && between > 0, "{between} of {call}");
            return;
        }
    }
    panic!("closing does not come to its end");
}

/// Room was made for a round, and before it is written, many records are copied to the file, which the
/// frame of the round repeats. There is exactly as much space as that takes.
#[test]
fn room_that_was_promised_is_left_for_the_round() {
    let copied: Vec<Record> = (0..600).map(share).collect();
    let copies: Vec<&[u8]> = copied.iter().map(|_| &[7; 24][..]).collect();
    let payload_len = 20_000;
    let len = frame::frame_len(0, 600, payload_len) + frame::frame_len(600, 0, 600 * 24);
    let disk = SimDisk::with_config(SimConfig { seed: 1, ..SimConfig::default() });
    let journal = journal(&disk);
    journal.make_room(payload_len).unwrap();
    assert!(matches!(lock(&journal.state).needs(payload_len, LEN_MAX), Need::Nothing));
    let used = disk.used_bytes();
    for missing in [4096, 0] {
        let room = 8192 + len - LEN_MIN - missing;
        disk.configure(|config| config.capacity = Some(used + room));
        let mut state = lock(&journal.state);
        let written = state.write_more(&journal.settings, &copied, &copies);
        assert_eq!(written.is_err(), missing > 0, "{written:?}");
    }
    let round = Record { len: payload_len - 32, ..share(1) };
    let payload = vec![7; (payload_len - 32) as usize];
    journal.write(&[round], &[&payload], std::iter::empty()).unwrap();
}

/// A full file was freed in the background, and the sync of what was copied forward failed. The log was told
/// when the files had been let go of; who wrote in between wrote over the copies, behind a failed sync, or
/// was told "a frame of the journal is too long", and that became the cause for everybody.
/// (`scripts/strace-eio`, with a failed `fdatasync` in either thread.)
#[test]
fn nobody_writes_behind_a_failed_write_of_somebody_else() {
    for frames_before in [0, 1] {
        let disk = SimDisk::new(1);
        let journal = journal(&disk);
        journal.make_room(100).unwrap();
        for _ in 0..frames_before {
            journal.write(&[share(1)], &[&[7; 24]], std::iter::empty()).unwrap();
        }
        disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        let copied = lock(&journal.state).write_more(&journal.settings, &[share(2)], &[&[7; 24]]);
        let cause = copied.unwrap_err().to_string();
        // The log has not been told by whoever copied.
        let syncs = disk.calls(CallKind::Sync);
        let error = journal.write(&[share(3)], &[&[7; 24]], std::iter::empty()).unwrap_err();
        assert!(cause.contains(&error.to_string()), "{error}, because of: {cause}");
        assert_eq!(disk.calls(CallKind::Sync), syncs, "it was written to");
        journal.make_room(100).unwrap_err();
    }
}
