//! Several faults at once, of any kind, from a seed: what holds after one holds after many.
//!
//! `IRONWAL_SEEDS=n` tries n of them, `IRONWAL_SEED=n` one.

use super::*;

/// Bytes are changed, ranges zeroed or copied from elsewhere, files cut, removed, or replaced by others.
fn damage(disk: &SimDisk, rng: &mut fastrand::Rng) -> String {
    let paths = disk.files();
    if paths.is_empty() {
        return "nothing is left".to_string();
    }
    let path = paths[rng.usize(..paths.len())].clone();
    let content = disk.contents(&path).unwrap();
    let last = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = rng.usize(..last.min(content.len()).max(1));
    let len = rng.usize(1..5000).min(content.len() - at.min(content.len()));
    let what = match rng.u8(..12) {
        0..6 if !content.is_empty() => {
            disk.overwrite(&path, at as u64, &[content[at] ^ (1 << rng.u8(..8))]).unwrap();
            format!("a bit at {at}")
        }
        6 | 7 => {
            disk.overwrite(&path, at as u64, &vec![0; len]).unwrap();
            format!("{len} zeros at {at}")
        }
        8 => {
            let from = disk.contents(&paths[rng.usize(..paths.len())]).unwrap();
            let start = rng.usize(..=from.len() / 512) * 512;
            let bytes = &from[start.min(from.len())..from.len().min(start + 512)];
            disk.overwrite(&path, (at / 512 * 512) as u64, bytes).unwrap();
            format!("another sector at {at}")
        }
        9 => {
            disk.replace(&path, &content[..at.min(content.len())]).unwrap();
            format!("cut to {at}")
        }
        10 => {
            disk.overwrite(&path, 0, &[0xEE; 8192][..content.len().min(8192)]).unwrap();
            "no header".to_string()
        }
        _ => {
            disk.remove(&path).unwrap();
            "gone".to_string()
        }
    };
    format!("{}: {what}", path.display())
}

#[test]
fn several_faults_are_told_and_repaired() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("IRONWAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("IRONWAL_SEEDS").unwrap_or(300),
    };
    let kinds: Vec<(SimDisk, Seen)> = KINDS
        .iter()
        .map(|kind| golden_disk(kind))
        .chain([journaled()])
        .map(|disk| (disk.snapshot(), lenient(&disk)))
        .collect();
    let (mut told, mut repaired) = (agreement::Tally::default(), repairing::Tally::default());
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nth = rng.usize(..kinds.len());
        let (disk, clean) = &kinds[nth];
        let disk = disk.snapshot();
        let faults: Vec<String> = (0..rng.u8(2..7)).map(|_| damage(&disk, &mut rng)).collect();
        let has_segments = |path: &PathBuf| path.extension().is_some_and(|it| it == "wal");
        if !disk.files().iter().any(has_segments) {
            // There may be no log at all, then.
            continue;
        }
        // Of what is in pieces, a read by id finds more.
        let kind = KINDS.get(nth).unwrap_or(&"journaled");
        let what = format!("{kind}: seed {seed}: {}", faults.join(", "));
        agreement::judge(&disk, &what, &mut told);
        repairing::judge(clean, &disk, &what, &mut repaired);
    }
    let all = [told.harmless, told.refused, told.gaps, repaired.whole, repaired.lost];
    assert!(count < 300 || all.iter().all(|count| *count > 0), "{told:?} {repaired:?}");
}
