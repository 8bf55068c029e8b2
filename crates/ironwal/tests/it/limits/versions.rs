//! A directory of which a newer version of this library wrote a part. It is not damage, whatever the policy,
//! and nothing of it is changed.

use std::path::{Path, PathBuf};

use ironwal::storage::SimDisk;
use ironwal::{CorruptionPolicy, Error, Journal, Result, SyncMode, Wal, WalOptions};

use super::{environment, options};

/// A structure with a version in its bytes 8 to 11, and a checksum in its last 4.
struct Structure {
    what: &'static str,
    file: &'static str,
    /// From the start of the file, or from its end.
    places: &'static [Place],
    len: usize,
}

enum Place {
    At(usize),
    BeforeEnd(usize),
}

/// As a sharded log calls the stream of its only shard.
const STREAM: &str = "shard_00";

use Place::{At, BeforeEnd};

const STRUCTURES: [Structure; 5] = [
    Structure { what: "root", file: "/log/.ironwal", places: &[At(0), At(4096)], len: 64 },
    Structure {
        what: "newest segment",
        file: "/log/shard_00/00000000000000000002.wal",
        places: &[At(0), At(4096)],
        len: 128,
    },
    Structure {
        what: "full segment",
        file: "/log/shard_00/00000000000000000000.wal",
        places: &[At(0), At(4096)],
        len: 128,
    },
    Structure {
        what: "seal",
        file: "/log/shard_00/00000000000000000000.wal",
        places: &[BeforeEnd(128)],
        len: 128,
    },
    Structure { what: "journal", file: "/log/.journal.0", places: &[At(0), At(4096)], len: 64 },
];

impl Structure {
    /// Gives it another version, under checksums that match.
    fn set_version(&self, disk: &SimDisk, version: u32) {
        let path = Path::new(self.file);
        let mut bytes = disk.contents(path).unwrap();
        for place in self.places {
            let at = match place {
                At(at) => *at,
                BeforeEnd(len) => bytes.len() - len,
            };
            let structure = &mut bytes[at..at + self.len];
            assert_eq!(&structure[..4], b"IRON", "{}", self.what);
            structure[8..12].copy_from_slice(&version.to_le_bytes());
            let (fields, checksum) = structure.split_at_mut(self.len - 4);
            checksum.copy_from_slice(&crc32c::crc32c(fields).to_le_bytes());
        }
        disk.replace(path, &bytes).unwrap();
    }
}

fn log() -> SimDisk {
    let disk = SimDisk::new(1);
    let wal = open(&disk, CorruptionPolicy::Truncate).unwrap();
    #[cfg(feature = "sharded")]
    let _ = ironwal::sharded::ShardedWal::over(wal.clone(), 1).unwrap();
    wal.append(STREAM, b"0").unwrap();
    wal.append(STREAM, b"1").unwrap();
    wal.stream(STREAM).unwrap().rotate().unwrap();
    wal.append(STREAM, b"2").unwrap();
    wal.close().unwrap();
    disk
}

fn with_policy(on_corruption: CorruptionPolicy) -> WalOptions {
    WalOptions { on_corruption, ..options(SyncMode::Strict) }
}

fn open(disk: &SimDisk, policy: CorruptionPolicy) -> Result<Wal> {
    Wal::open_with(with_policy(policy), environment(disk).with_journal(Journal::On))
}

/// Whoever only reads comes upon a segment when its stream is looked at.
fn read_only(disk: &SimDisk) -> Result<Wal> {
    let wal = Wal::open_read_only_with(with_policy(CorruptionPolicy::Truncate), environment(disk))?;
    wal.stream(STREAM)?;
    Ok(wal)
}

#[cfg(feature = "sharded")]
fn sharded(disk: &SimDisk) -> Result<Wal> {
    let wal = open(disk, CorruptionPolicy::Truncate)?;
    ironwal::sharded::ShardedWal::over(wal.clone(), 1).map(|_| wal)
}

type Way = fn(&SimDisk) -> Result<Wal>;

const WAYS: &[(&str, Way)] = &[
    ("truncate", |disk| open(disk, CorruptionPolicy::Truncate)),
    ("error", |disk| open(disk, CorruptionPolicy::Error)),
    ("read only", read_only),
    #[cfg(feature = "sharded")]
    ("sharded", sharded),
];

fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files().into_iter();
    // What says who has the lock is no part of the log.
    let files = files.filter(|path| !path.ends_with(".ironwal.lock"));
    let files = files.filter(|path| !path.ends_with(".ironwal.watermark"));
    files.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

#[test]
fn a_newer_version_of_anything_is_said_to_be_one_and_is_left_alone() {
    for structure in &STRUCTURES {
        for (way, open_so) in WAYS {
            let what = format!("{}, {way}", structure.what);
            for version in [2, 3, u32::MAX] {
                let disk = log();
                structure.set_version(&disk, version);
                let before = contents(&disk);
                let error = open_so(&disk).expect_err(&what);
                match &error {
                    Error::UnsupportedVersion { path, found, supported: 1 } => {
                        assert_eq!(
                            (&**path, *found),
                            (Path::new(structure.file), version),
                            "{what}"
                        );
                    }
                    _ => panic!("{what}: {error}"),
                }
                assert!(error.to_string().contains("use a newer ironwal"), "{error}");
                assert!(contents(&disk) == before, "{what}: something was changed");
                structure.set_version(&disk, 1);
                let wal = open_so(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                let entries: Vec<_> = wal.iter(STREAM, 0).unwrap().map(Result::unwrap).collect();
                assert_eq!(entries, [b"0", b"1", b"2"], "{what}");
            }
        }
    }
}
