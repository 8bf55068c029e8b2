use super::super::header::JournalHeader;
use super::super::scan::tests::{HEADER, Journal, share};
use super::*;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    /// A bit of the payload flips.
    Payload,
    /// One of a directory.
    Directory,
    /// One of the header.
    Header,
}

const FATES: [Fate; 4] = [Fate::Whole, Fate::Payload, Fate::Directory, Fate::Header];

impl Fate {
    fn strike(self, journal: &mut Journal, frame: usize) {
        let at = match self {
            Fate::Whole => return,
            Fate::Payload => 64 + 32 * (1 + 1),
            Fate::Directory => 70,
            Fate::Header => 17,
        };
        journal.bytes[journal.offsets[frame] + at] ^= 4;
    }
}

fn file(generation: u64, journal: &Journal) -> JournalFile {
    JournalFile { generation, frames: journal.scan() }
}

/// A process's frames: each has one share, of the stream with the number of its sequence.
fn frames(mut journal: Journal, from: u64, count: u64) -> Journal {
    for sequence in from..from + count {
        journal = journal.frame(&[share(sequence, 0, 64)]);
    }
    journal
}

/// What is expected, by stream number, which is the sequence.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    whole: Vec<u64>,
    damaged: Vec<u64>,
    lost: Vec<u64>,
    unknown: u64,
}

fn seen(resolved: &Resolved) -> Expected {
    let shares = |status: Status| {
        let shares = resolved.shares.iter().filter(move |share| share.status == status);
        shares.map(|share| share.record.stream_number).collect()
    };
    for share in &resolved.shares {
        assert_eq!(share.sequence, share.record.stream_number);
        let frame = resolved.frames.iter().find(|frame| frame.sequence == share.sequence).unwrap();
        assert_eq!((frame.file, frame.status), (share.file, share.status));
        assert!(frame.offset < share.offset && share.offset < frame.offset + frame.len);
    }
    assert!(resolved.frames.is_sorted_by_key(|frame| frame.sequence));
    Expected {
        whole: shares(Status::Whole),
        damaged: shares(Status::Damaged),
        lost: resolved.lost.iter().map(|lost| lost.record.stream_number).collect(),
        unknown: resolved.unknown,
    }
}

/// The rules once more, from what was written and what became of it: (sequence, fate) by file.
fn model(older: &[(u64, Fate)], newer: &[(u64, Fate)]) -> Expected {
    let has_header = |frames: &[(u64, Fate)]| frames.iter().any(|(_, fate)| *fate != Fate::Header);
    let all: Vec<(u64, Fate)> = [older, newer].concat();
    let mut expected = Expected::default();
    let Some(&(last, _)) = all.iter().rev().find(|(_, fate)| *fate != Fate::Header) else {
        return expected;
    };
    let older_is_unreadable = has_header(newer) && !has_header(older);
    for (nth, (sequence, fate)) in all.iter().enumerate() {
        if *sequence > last {
            break;
        }
        let next = all.get(nth + 1).filter(|(next, _)| *next <= last);
        match fate {
            Fate::Whole => expected.whole.push(*sequence),
            _ if *sequence == last => {}
            Fate::Payload => expected.damaged.push(*sequence),
            _ if matches!(next, Some((_, Fate::Whole | Fate::Payload))) => {
                expected.lost.push(*sequence);
            }
            // How many frames stood in a file without one header nobody knows: one, or more than one.
            _ if older_is_unreadable && nth < older.len() => {}
            _ => expected.unknown += 1,
        }
    }
    if older_is_unreadable && newer.first().is_some_and(|(first, _)| *first > 1) {
        // A file that a process has left holds a frame, whether the test wrote one or not.
        let first = newer[0].0;
        let is_repeated = matches!(newer[0].1, Fate::Whole | Fate::Payload);
        if is_repeated && older.is_empty() {
            expected.lost.insert(0, first - 1);
        }
        expected.unknown += u64::from(!is_repeated) + u64::from(first > 2);
    }
    expected
}

fn all_fates(count: u32) -> impl Iterator<Item = Vec<Fate>> {
    (0..4_usize.pow(count)).map(move |mut code| {
        let mut fates = Vec::new();
        for _ in 0..count {
            fates.push(FATES[code % 4]);
            code /= 4;
        }
        fates
    })
}

/// Two files of one process with up to three frames each, and everything that can become of them.
#[test]
fn every_combination_is_what_the_rules_say() {
    let mut checked = 0;
    for freed in [0, 5] {
        let mut before = frames(Journal::new(HEADER), 1, freed);
        if freed > 0 {
            before = before.after(6);
        }
        for older_count in 0..=3_u32 {
            let older = frames(before.clone(), freed + 1, older_count.into());
            let newer_first = freed + u64::from(older_count) + 1;
            for newer_count in 0..=3_u32 {
                let newer = frames(older.after(7), newer_first, newer_count.into());
                for fates in all_fates(older_count + newer_count) {
                    let (mut older, mut newer) = (older.clone(), newer.clone());
                    let (old, new) = fates.split_at(older_count as usize);
                    for (nth, fate) in old.iter().enumerate() {
                        fate_of_first(&mut older, nth, *fate, freed == 0);
                    }
                    for (nth, fate) in new.iter().enumerate() {
                        fate_of_first(&mut newer, nth, *fate, newer_first == 1);
                    }
                    let numbered = |from: u64, fates: &[Fate]| -> Vec<(u64, Fate)> {
                        (from..).zip(fates.iter().copied()).collect()
                    };
                    let (old, new) = (numbered(freed + 1, old), numbered(newer_first, new));
                    let files = [file(if freed == 0 { 5 } else { 6 }, &older), file(7, &newer)];
                    let resolved = resolve(&files);
                    assert_eq!(seen(&resolved), model(&old, &new), "{old:?} {new:?}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 2 * 85 * 85);
}

/// The very first frame of a process repeats nothing, so its payload begins 32 bytes earlier.
fn fate_of_first(journal: &mut Journal, nth: usize, fate: Fate, is_first_file: bool) {
    if fate == Fate::Payload && nth == 0 && is_first_file {
        journal.bytes[journal.offsets[0] + 64 + 32] ^= 4;
    } else {
        fate.strike(journal, nth);
    }
}

#[test]
fn what_an_earlier_process_left_does_not_count() {
    let earlier = frames(Journal::new(HEADER), 1, 3);
    let header = JournalHeader { generation: 6, ..HEADER };
    let nothing = Journal::new(header);
    let resolved = resolve(&[file(5, &earlier), file(6, &nothing)]);
    assert_eq!(seen(&resolved).whole, [1, 2, 3], "nobody has written anything since");

    let later = frames(Journal::new(header), 1, 2);
    let mut both = [file(5, &earlier), file(6, &later)];
    let resolved = resolve(&both);
    assert_eq!(seen(&resolved), Expected { whole: vec![1, 2], ..Expected::default() });
    assert!(resolved.frames.iter().all(|frame| frame.file == 1));
    // Not even if the first frame is lost: the others say that there was one.
    both[1].frames.remove(0);
    let lost = Expected { whole: vec![2], lost: vec![1], ..Expected::default() };
    assert_eq!(seen(&resolve(&both)), lost);
    // Nor if the later one is torn.
    both[1].frames[0].found = Found::Header;
    assert_eq!(seen(&resolve(&both)), Expected { unknown: 1, ..Expected::default() });
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(resolve(&[]), Resolved::default());
    let empty = |generation| JournalFile { generation, frames: Vec::new() };
    assert_eq!(resolve(&[empty(1)]), Resolved::default());
    assert_eq!(resolve(&[empty(1), empty(2)]), Resolved::default());
}

#[test]
fn a_gap_between_the_files_is_damage() {
    let older = frames(Journal::new(HEADER), 1, 4);
    let newer = frames(older.after(6), 5, 2);
    let mut files = [file(5, &older), file(6, &newer)];
    files[0].frames.truncate(1);
    let expected =
        Expected { whole: vec![1, 5, 6], lost: vec![4], unknown: 2, ..Expected::default() };
    assert_eq!(seen(&resolve(&files)), expected);
    // The newer file alone: nothing says that the older one still counted.
    let alone = resolve(&files[1..]);
    assert_eq!(seen(&alone), Expected { whole: vec![5, 6], ..Expected::default() });
}

#[test]
fn voids_take_away_what_is_before_them_wherever_they_stand() {
    let a = |index| share(1, index, 64);
    let b = |index| share(2, index, 64);
    let journal = Journal::new(HEADER)
        .frame(&[a(0), b(0)])
        .frame(&[a(1), b(1)])
        .frame(&[a(2), Record::void(1), a(7), Record::void(3)])
        .frame(&[b(2)]);
    let indexes = |resolved: &Resolved| -> Vec<(u64, u32)> {
        let shares = resolved.shares.iter();
        shares.map(|share| (share.record.stream_number, share.record.index)).collect()
    };
    let whole = resolve(&[file(5, &journal)]);
    assert_eq!(indexes(&whole), [(2, 0), (2, 1), (1, 7), (2, 2)]);
    assert_eq!(whole.voided, [1, 3]);
    assert_eq!(whole.shares[2].offset, journal.offsets[2] as u64 + 64 + 32 * 6 + 64);
    assert!(whole.lost.is_empty());

    // The void is in a frame with a damaged payload.
    let mut damaged = journal.clone();
    damaged.bytes[journal.offsets[2] + 64 + 32 * 6] ^= 1;
    let resolved = resolve(&[file(5, &damaged)]);
    assert_eq!((indexes(&resolved), &resolved.voided), (indexes(&whole), &whole.voided));
    assert_eq!(resolved.shares[2].status, Status::Damaged);

    // In one that is lost, behind another that is lost.
    for frame in [1, 2] {
        damaged.bytes[journal.offsets[frame] + 20] ^= 1;
    }
    let resolved = resolve(&[file(5, &damaged)]);
    assert_eq!(indexes(&resolved), [(2, 0), (2, 2)]);
    assert_eq!((&resolved.voided[..], resolved.unknown), (&[1, 3][..], 1));
    assert_eq!(resolved.lost, [Lost { record: a(7), sequence: 3 }]);

    // In one that is torn.
    let mut torn = journal.clone();
    torn.bytes.truncate(journal.offsets[3] - 4096 + 100);
    let resolved = resolve(&[file(5, &torn)]);
    assert_eq!(indexes(&resolved), [(1, 0), (2, 0), (1, 1), (2, 1)]);
    assert!(resolved.voided.is_empty() && resolved.lost.is_empty() && resolved.unknown == 0);
}

#[test]
fn what_cannot_be_is_an_unknown_loss() {
    let journal = frames(Journal::new(HEADER), 1, 3);
    let copy = file(5, &journal);
    let resolved = resolve(&[copy.clone(), copy.clone()]);
    assert_eq!(resolved.unknown, 3, "two files of one generation");

    let mut swapped = copy.clone();
    swapped.frames.swap(1, 2);
    assert!(resolve(&[swapped]).unknown > 0);

    let mut far = copy.clone();
    far.frames[2].sequence = u64::MAX;
    let resolved = resolve(&[far]);
    assert_eq!(seen_len(&resolved), (3, u64::MAX - 4));

    let mut other = copy;
    other.frames[1].first = 2;
    assert_eq!(resolve(&[other]).unknown, 1);
}

fn seen_len(resolved: &Resolved) -> (usize, u64) {
    (resolved.frames.len(), resolved.unknown)
}
