//! `archive` ships a log to a store, also when it is killed again and again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ironwal::{Wal, WalOptions};

use crate::logs::{full_segments, of, orders, sharded};
use crate::program::{Ran, cat, content, run};
use crate::verify::verify;

/// An archive in a directory, a log, and where it is restored to.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn copy(&self) -> PathBuf {
        self.dir.path().join("restored")
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn url(&self) -> String {
        format!("file://{}", self.store().display())
    }

    fn args<'a>(&'a self, command: &'a str, url: &'a str, rest: &[&'a str]) -> Vec<String> {
        let mut args = vec!["archive".to_string(), command.to_string(), url.to_string()];
        match command {
            "push" | "watch" | "prune" => args.push(self.log().to_str().unwrap().into()),
            "restore" => args.push(self.copy().to_str().unwrap().into()),
            _ => {}
        }
        args.extend(rest.iter().map(ToString::to_string));
        args
    }

    /// `ironwal archive COMMAND URL DIR OPTIONS…`
    fn archive(&self, command: &str, rest: &[&str]) -> Ran {
        let url = self.url();
        let args = self.args(command, &url, rest);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, command: &str, rest: &[&str]) -> Child {
        let url = self.url();
        Command::new(env!("CARGO_BIN_EXE_ironwal"))
            .args(self.args(command, &url, rest))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn printed(&self, ran: &Ran) -> String {
        of(self.dir.path(), ran)
    }
}

#[test]
fn a_log_is_pushed_listed_verified_and_restored() {
    let place = Place::new();
    orders(&place.log());
    let before = content(&place.log());
    let pushed = place.archive("push", &[]);
    assert_eq!((pushed.code, &*pushed.err), (0, ""), "{pushed:?}");
    assert_eq!(
        place.printed(&pushed),
        "pushed: manifest 2; 1 segment read, 16,480 bytes in 2 objects written\n"
    );
    assert!(content(&place.log()) == before);
    assert_eq!(place.archive("push", &[]).text(), "pushed: there is nothing new\n");

    let listed = place.archive("ls", &[]);
    let lines: Vec<&str> = listed.text().lines().collect();
    assert!(lines[0].starts_with("log 0000000000005eed, manifest 2 of 20"), "{listed:?}");
    assert!(lines[0].ends_with("one instant, 8,288 bytes"), "{listed:?}");
    assert!(lines.iter().any(|line| line.starts_with("orders")), "{listed:?}");

    assert_eq!(
        place.archive("verify", &[]).text(),
        "whole: 3 entries of 1 stream, in 1 segment of 8,288 bytes, by manifest 2\n"
    );
    let restored = place.archive("restore", &[]);
    assert_eq!(
        place.printed(&restored),
        "restored: DIR/restored is whole: 3 entries of 1 stream, by manifest 2; 8,288 bytes fetched\n"
    );
    assert_eq!(verify(&place.copy(), &[]).code, 0);
    assert_eq!(cat(&place.copy(), "orders", &["--ids"]).quiet(), b"0\ttea\n1\tcoffee\n2\tcake\n");
    crate::program::append(&place.copy(), "orders", &[], b"pie\n");
    // Nothing else is left beside it.
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 3);
}

#[test]
fn json_is_the_result_of_each() {
    let place = Place::new();
    orders(&place.log());
    assert_eq!(
        place.archive("push", &["--json"]).text(),
        "{\"type\":\"pushed\",\"manifest\":2,\"segments\":1,\"objects\":2,\"bytes\":16480,\"gaps\":[]}\n"
    );
    let listed = place.archive("ls", &["--json"]);
    let mut lines = listed.text().lines();
    let archive = lines.next().unwrap();
    assert!(
        archive.starts_with("{\"type\":\"archive\",\"log\":\"0000000000005eed\",\"manifest\":2,")
    );
    let stream = lines.next().unwrap();
    assert!(stream.starts_with("{\"type\":\"stream\",\"name\":\"orders\",\"number\":"), "{stream}");
    assert!(
        stream.ends_with(
            "\"deleted\":false,\"first_id\":0,\"next_id\":3,\"segments\":1,\"bytes\":8288}"
        ),
        "{stream}"
    );
    assert_eq!(
        place.archive("verify", &["--json"]).text(),
        "{\"type\":\"summary\",\"whole\":true,\"manifest\":2,\"streams\":1,\"segments\":1,\"entries\":3,\
         \"bytes\":8288,\"findings\":0}\n"
    );
    assert_eq!(
        place.archive("restore", &["--json"]).text(),
        "{\"type\":\"restored\",\"manifest\":2,\"bytes\":8288,\"streams\":[{\"stream\":\"orders\",\
         \"first_id\":0,\"next_id\":3}],\"gaps\":[],\"damaged\":[]}\n"
    );
}

#[test]
fn a_restoration_ends_at_an_entry_or_a_checkpoint() {
    let place = Place::new();
    drop(sharded(&place.log()));
    orders(&place.log());
    assert_eq!(place.archive("push", &[]).code, 0);
    let again = |place: &Place| std::fs::remove_dir_all(place.copy()).unwrap();

    assert_eq!(place.archive("restore", &["--checkpoint", "<a>"]).code, 0);
    let checkpoints = run(&["checkpoint", "ls", place.copy().to_str().unwrap(), "--json"]);
    assert_eq!(checkpoints.text().lines().count(), 1, "{checkpoints:?}");
    assert_eq!(cat(&place.copy(), "shard_00", &[]).text(), "");
    again(&place);
    assert_eq!(place.archive("restore", &["--until", "orders=1"]).code, 0);
    assert_eq!(cat(&place.copy(), "orders", &[]).text(), "tea\ncoffee\n");
    again(&place);
    assert_eq!(place.archive("restore", &["--stream", "orders"]).code, 0);
    assert_eq!(cat(&place.copy(), "orders", &[]).text(), "tea\ncoffee\ncake\n");
    assert!(!place.copy().join("shard_00").exists());
    again(&place);
    place.archive("restore", &["--checkpoint", "c"]).fails(1, &["there is no checkpoint \"c\""]);
    place.archive("restore", &["--until", "orders=9"]).fails(1, &["entries 0..3", "and not 9"]);
    place.archive("restore", &["--until", "orders"]).fails(2, &["it has no `=`"]);
    place.archive("restore", &["--stream", "none"]).fails(1, &["there is no stream \"none\""]);
}

#[test]
fn what_cannot_be_done_says_why() {
    let place = Place::new();
    place.archive("push", &[]).fails(1, &["ironwal: there is no log in"]);
    place.archive("ls", &[]).fails(1, &["there is no archive at this address"]);
    place.archive("verify", &[]).fails(1, &["there is no archive at this address"]);
    place.archive("restore", &[]).fails(1, &["there is no archive at this address"]);
    // Looking makes nothing.
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    orders(&place.log());
    let log = place.log();
    let log = log.to_str().unwrap();
    run(&["archive", "push", "nowhere", log]).fails(2, &["cannot be read", "use file:///path"]);
    run(&["archive", "push", "ftp://x/y", log]).fails(2, &["ftp:// is no store that is known"]);
    let ran = run(&["archive", "push", "s3://id:hush@bucket/y", log]);
    ran.fails(2, &["credentials come from the environment"]);
    assert!(!ran.err.contains("hush"), "{ran:?}");
    assert_eq!(place.archive("push", &[]).code, 0);
    assert_eq!(place.archive("restore", &[]).code, 0);
    place.archive("restore", &[]).fails(2, &["is not empty"]);

    let data = content(&place.store());
    let (path, bytes) =
        data.iter().find(|(path, _)| path.to_string_lossy().contains("/tails/")).unwrap();
    let mut rotten = bytes.clone();
    rotten[8192 + 24] ^= 1;
    std::fs::write(path, rotten).unwrap();
    let ran = place.archive("verify", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.text().starts_with("damage: stream orders, entries 0..3: tails/"), "{ran:?}");
    assert!(ran.text().contains("\nnot whole: 0 entries of 1 stream"), "{ran:?}");
}

#[test]
fn only_what_the_archive_holds_is_freed() {
    let place = Place::new();
    full_segments(&place.log(), 100);
    place.archive("prune", &["--keep", "0"]).fails(1, &["there is no archive"]);
    assert_eq!(place.archive("push", &["--full-only"]).code, 0);
    let pruned = place.archive("prune", &["--keep", "0"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    assert!(pruned.err.starts_with("freed "), "{pruned:?}");
    let first = cat(&place.log(), "s", &[]).text().lines().next().unwrap().to_string();
    assert!(first > format!("{:050}", 50), "{first}");
    assert_eq!(place.archive("push", &[]).code, 0);
    assert_eq!(place.archive("restore", &[]).code, 0);
    assert_eq!(cat(&place.copy(), "s", &[]).text().lines().count(), 100);
}

/// How many files are below a directory; some may come and go meanwhile.
fn files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { 1 };
    entries.flatten().map(|entry| of(entry.path())).sum()
}

/// Kills a process when `reached` says so, and returns whether it was still there.
fn kill_when(child: &mut Child, mut reached: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if reached() {
            // It may end by itself before the signal comes.
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
        assert!(Instant::now() < deadline, "it neither went on nor ended");
        std::thread::yield_now();
    }
}

#[test]
fn killed_at_many_points_of_a_push_and_of_a_restoration_a_second_run_finishes() {
    let place = Place::new();
    full_segments(&place.log(), 250);
    let mut kills = 0;
    loop {
        let before = files(&place.store());
        let mut push = place.start("push", &[]);
        if !kill_when(&mut push, || files(&place.store()) > before + 2) {
            break;
        }
        kills += 1;
        let verified = place.archive("verify", &[]);
        let is_begun = verified.err.contains("there is no archive");
        assert!(verified.code == 0 || is_begun, "after {kills} kills: {verified:?}");
    }
    assert!(kills >= 5, "{kills}");
    assert_eq!(place.archive("push", &[]).code, 0);
    assert_eq!(place.archive("verify", &[]).code, 0);

    let unfinished = place.dir.path().join(".restored.ironwal-archive-restore");
    let mut kills = 0;
    loop {
        let before = files(&unfinished);
        let mut restoring = place.start("restore", &[]);
        if !kill_when(&mut restoring, || files(&unfinished) > before + 1) {
            break;
        }
        kills += 1;
        if place.copy().exists() {
            break;
        }
    }
    assert!(kills >= 2, "{kills}");
    if !place.copy().exists() {
        assert_eq!(place.archive("restore", &[]).code, 0);
    }
    assert_eq!(verify(&place.copy(), &[]).code, 0);
    assert_eq!(cat(&place.copy(), "s", &[]).text(), cat(&place.log(), "s", &[]).text());
}

/// As soon as a file is gone, or a little later each time.
#[test]
fn killed_at_many_points_of_a_retention_nothing_is_lost() {
    let place = Place::new();
    full_segments(&place.log(), 500);
    let all = cat(&place.log(), "s", &[]).text().to_string();
    assert_eq!(place.archive("push", &[]).code, 0);
    let archive = ironwal_archive::Archive::open(&place.url()).unwrap();
    let disk: std::sync::Arc<dyn ironwal::storage::Storage> =
        std::sync::Arc::new(ironwal::storage::RealDisk);
    let mut kills = 0;
    for nth in 0..20_u64 {
        let (keep, before, mut looks_left) =
            ((36_000 - nth * 1_800).to_string(), files(&place.log()), nth * 10);
        let mut pruning = place.start("prune", &["--keep", &keep]);
        kills += u64::from(kill_when(&mut pruning, || {
            let is_begun = files(&place.log()) < before;
            looks_left = looks_left.saturating_sub(u64::from(is_begun));
            is_begun && looks_left == 0
        }));
        let entries = archive.entries_with(&disk, &place.log(), "s", 0).unwrap();
        let read: Vec<_> = entries.map(|it| it.unwrap().1).collect();
        let is_all = all.lines().map(str::as_bytes).eq(read.iter().map(|it| &it[..]));
        assert!(is_all, "{} entries are left after {kills} kills", read.len());
    }
    assert!(kills >= 3, "{kills}");
    assert_eq!(place.archive("prune", &["--keep", "0"]).code, 0);
    assert_eq!(place.archive("verify", &[]).code, 0);
    assert_eq!(verify(&place.log(), &[]).code, 0);
    // The newest segment stays.
    let left = cat(&place.log(), "s", &[]);
    assert!(left.text().lines().count() < 20 && all.ends_with(left.text()), "{left:?}");
}

/// A process ships beside the test, which appends and frees what is in the archive; it is killed again and again.
#[test]
fn killed_again_and_again_while_it_watches_it_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let options = WalOptions { max_segment_size: 1000, ..WalOptions::new(place.log()) };
    let wal = Wal::new(options).unwrap();
    let archive = ironwal_archive::Archive::open(&place.url()).unwrap();
    let disk = std::sync::Arc::new(ironwal::storage::RealDisk);
    let archiver = ironwal_archive::Archiver::new(archive.clone(), disk.clone(), place.log());
    let mut next_id = 0;
    wal.append("s", &entry(next_id)).unwrap();
    for _ in 0..6 {
        let before = files(&place.store());
        let mut watching = place.start("watch", &["--every", "0.001"]);
        let was_killed = kill_when(&mut watching, || {
            next_id = wal.append("s", &entry(next_id + 1)).unwrap();
            files(&place.store()) > before + 8
        });
        assert!(was_killed, "it watches until it is stopped");
        archiver.prune(&wal, 0).unwrap();
    }
    assert!(wal.stream("s").unwrap().first_id() > 0);
    // What was acknowledged is in the log, or in the archive.
    let entries = archive.entries_with(&(disk as _), &place.log(), "s", 0).unwrap();
    let read: Vec<_> = entries.map(|it| it.unwrap()).map(|(id, it)| (id, it.to_vec())).collect();
    let due: Vec<_> = (0..=next_id).map(|id| (id, entry(id))).collect();
    assert!(read == due, "{} of {}", read.len(), due.len());
    assert_eq!(place.archive("push", &[]).code, 0);
    assert_eq!(place.archive("verify", &[]).code, 0);
    assert_eq!(place.archive("restore", &[]).code, 0);
    assert_eq!(cat(&place.copy(), "s", &[]).text().lines().count() as u64, next_id + 1);
}

fn entry(id: u64) -> Vec<u8> {
    format!("{id:050}").into_bytes()
}

/// A request to end is answered by a last push.
#[test]
#[cfg(unix)]
fn a_request_to_end_ships_what_is_there() {
    let place = Place::new();
    orders(&place.log());
    let mut watching = place.start("watch", &["--every", "3600"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while place.archive("ls", &["--json"]).text().lines().count() < 2 {
        assert!(Instant::now() < deadline);
    }
    crate::program::append(&place.log(), "orders", &[], b"pie\n");
    let pid = rustix::process::Pid::from_child(&watching);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(watching.wait().unwrap().success());
    assert!(place.archive("ls", &["--json"]).text().contains("\"next_id\":4"));
}
