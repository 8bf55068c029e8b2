//! Segments that somebody else shortens while they are written to. That cannot be prevented; but nothing
//! that was stored behind the end is called durable.

use std::path::{Path, PathBuf};

use ironwal::{Environment, Error, Maintenance, Stream, SyncMode, Wal, WalOptions, WriteStrategy};

/// Where frames begin.
const HEADER_LEN: u64 = 8192;

/// A log with ten entries that are not synced.
fn log(dir: &Path, write_strategy: WriteStrategy) -> (Wal, Stream) {
    let environment = Environment::default()
        .with_maintenance(Maintenance::Inline)
        .with_write_strategy(write_strategy);
    let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(dir) };
    let wal = Wal::open_with(options, environment).unwrap();
    let stream = wal.stream("s").unwrap();
    for n in 0..10_u8 {
        stream.append(&[n; 100]).unwrap();
    }
    (wal, stream)
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("s/00000000000000000000.wal")
}

fn shorten(dir: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(segment(dir)).unwrap().set_len(len).unwrap();
}

/// Whether the segment is mapped to be written to, as it is not on every file system.
fn is_mapped(dir: &Path) -> bool {
    let name = segment(dir).display().to_string();
    std::fs::read_to_string("/proc/self/maps")
        .is_ok_and(|maps| maps.lines().any(|line| line.contains("rw-s") && line.ends_with(&name)))
}

/// A store behind the end of the file, in its last page, seems to work. Nothing of it reached the file, and
/// the sync that followed said that it had.
#[test]
fn what_was_stored_behind_the_end_is_not_called_durable() {
    type Step = fn(&Wal, &Stream) -> Result<(), Error>;
    let steps: [(&str, Step); 4] = [
        ("sync", |_, stream| stream.sync()),
        ("sync_all", |wal, _| wal.sync_all()),
        ("rotate", |_, stream| stream.rotate()),
        ("close", |wal, _| wal.clone().close()),
    ];
    for (name, step) in steps {
        let dir = tempfile::tempdir().unwrap();
        let (wal, stream) = log(dir.path(), WriteStrategy::Auto);
        if !is_mapped(dir.path()) {
            return;
        }
        shorten(dir.path(), HEADER_LEN + 600);
        assert_eq!(stream.append(b"behind the end").unwrap(), 10);
        let error = step(&wal, &stream).unwrap_err();
        assert!(error.to_string().contains("was shortened by somebody else"), "{name}: {error}");
        assert_eq!(stream.durable_end(), 0, "{name}");
        stream.append(b"and another").unwrap_err();
        // What was cut off is not taken for the end of the stream, but for an error.
        stream.get(9).unwrap_err();
    }
}

/// A write behind the end makes the file longer again, and what was cut off is damage.
#[test]
fn a_hole_that_a_write_leaves_behind_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, stream) = log(dir.path(), WriteStrategy::StandardIo);
    shorten(dir.path(), HEADER_LEN + 600);
    assert_eq!(stream.append(b"behind the end").unwrap(), 10);
    stream.sync().unwrap();
    stream.get(9).unwrap_err();
    drop((wal, stream));
    let wal = Wal::open_with(WalOptions::new(dir.path()), Environment::default()).unwrap();
    wal.stream("s").unwrap().get(9).unwrap_err();
    assert_eq!(wal.get("s", 10).unwrap().as_deref(), Some(&b"behind the end"[..]));
}

/// A store behind the last page cannot be anything but a signal. Who must not get one does without maps.
#[test]
#[cfg(target_os = "linux")]
fn a_store_behind_the_last_page_is_a_signal_if_it_is_mapped() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "shortened::a_store_behind_the_last_page_is_a_signal_if_it_is_mapped";
    const CHILD: &str = "IRONWAL_SHORTENED";
    const SIGBUS: i32 = 7;
    let strategy = |name: &str| match name {
        "mapped" => WriteStrategy::Auto,
        _ => WriteStrategy::StandardIo,
    };
    if let Some((name, dir)) = std::env::var(CHILD).ok().as_deref().and_then(|v| v.split_once(' '))
    {
        let dir = Path::new(dir);
        let (_wal, stream) = log(dir, strategy(name));
        assert!(is_mapped(dir) || name != "mapped");
        shorten(dir, 100);
        stream.append(b"behind the last page").unwrap();
        return;
    }
    for name in ["mapped", "written"] {
        let dir = tempfile::tempdir().unwrap();
        let (_wal, _stream) = log(dir.path(), strategy(name));
        let can_map = is_mapped(dir.path());
        let child_dir = tempfile::tempdir().unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--test-threads=1", "--quiet"])
            .env(CHILD, format!("{name} {}", child_dir.path().display()))
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), can_map.then_some(SIGBUS), "{name}: {status}");
    }
}
