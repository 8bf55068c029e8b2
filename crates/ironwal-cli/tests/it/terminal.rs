//! The program on a pseudo-terminal: it asks, and has colours.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::logs::{flip, orders, segment};
use crate::program::program;

/// Ctrl-C for a process.
pub(crate) fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// The program on a terminal of its own.
struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: File,
}

impl OnTerminal {
    fn new(args: &[&str], columns: u16, set: impl FnOnce(&mut Command)) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs: OwnedFd = File::options().read(true).write(true).open(name).unwrap().into();
        let mut command = program();
        command.args(args).env("TERM", "xterm");
        set(&mut command);
        command.stdin(theirs.try_clone().unwrap());
        command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let child = command.spawn().unwrap();
        // Else our copies would keep the terminal open.
        drop(command);
        let keyboard = ours.try_clone().unwrap().into();
        Self { child, keyboard, screen: ours.into() }
    }

    /// Types something and presses Enter.
    fn type_in(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// All that was shown, and how it ended.
    fn finish(mut self) -> (String, ExitStatus) {
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        // When the program has ended, reading is an error on Linux, and the end elsewhere.
        while let Ok(len @ 1..) = self.screen.read(&mut piece) {
            shown.extend(&piece[..len]);
        }
        (String::from_utf8(shown).unwrap(), self.child.wait().unwrap())
    }
}

fn on_terminal(args: &[&str]) -> OnTerminal {
    OnTerminal::new(args, 80, |_| {})
}

fn damaged(dir: &Path) -> [String; 2] {
    let log = dir.join("log");
    orders(&log);
    flip(&segment(&log, "orders", 0), 8192 + 24);
    [log, dir.join("repaired")].map(|path| path.to_str().unwrap().to_string())
}

#[test]
fn a_repair_is_done_if_the_answer_is_yes() {
    let dir = tempfile::tempdir().unwrap();
    let [log, repaired] = damaged(dir.path());
    for (answer, code) in [("", 1), ("n", 1), ("yessir", 1), ("y", 0)] {
        let mut program = on_terminal(&["repair", &log, "--to", &repaired]);
        program.type_in(answer);
        let (shown, status) = program.finish();
        assert!(shown.contains("make the repaired copy in"), "{shown}");
        assert!(shown.contains("? [y/N] "), "{shown}");
        assert_eq!(status.code(), Some(code), "{shown}");
        assert_eq!(
            shown.contains("nothing was changed, because the answer was not yes"),
            code == 1
        );
        assert_eq!(Path::new(&repaired).exists(), code == 0);
    }
}

#[test]
fn streams_are_deleted_and_cut_off_if_the_answer_is_yes() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let log = dir.path().to_str().unwrap();
    let entries =
        || ironwal::Wal::open_read_only(ironwal::WalOptions::new(log)).unwrap().stats().entries;
    for (args, question, left) in [
        (
            &["truncate", log, "orders", "--after", "0"][..],
            "cut off 2 entries (ids 1..3) of stream \"orders\", for good? [y/N] ",
            1,
        ),
        (
            &["delete", log, "orders"],
            "delete stream \"orders\": 1 entry (ids 0..1) in 1 segment, for good? [y/N] ",
            0,
        ),
    ] {
        let before = entries();
        let mut program = on_terminal(args);
        program.type_in("no");
        let (shown, status) = program.finish();
        assert!(shown.contains(question), "{shown}");
        assert_eq!((status.code(), entries()), (Some(1), before), "{shown}");
        let mut program = on_terminal(args);
        program.type_in("YES");
        let (shown, status) = program.finish();
        assert_eq!((status.code(), entries()), (Some(0), left), "{shown}");
    }
}

#[test]
fn what_a_shard_means_for_checkpoints_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let wal = crate::sharded::open(dir.path(), 1);
    wal.append(b"key", b"entry").unwrap();
    wal.close().unwrap();
    drop(wal);
    let mut program = on_terminal(&["delete", dir.path().to_str().unwrap(), "shard_00"]);
    program.type_in("n");
    let (shown, status) = program.finish();
    assert!(shown.contains("it is shard 0: what comes after a checkpoint"), "{shown}");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let dir = tempfile::tempdir().unwrap();
    let [log, _] = damaged(dir.path());
    let (shown, _) = on_terminal(&["verify", &log]).finish();
    assert!(shown.contains("\x1b[31mdamage: "), "{shown:?}");
    assert!(shown.contains("\x1b[31mnot whole\x1b[0m"), "{shown:?}");
    let (shown, _) = on_terminal(&["cat", &log, "unknown"]).finish();
    assert!(shown.contains("\x1b[31m\x1b[1mironwal:\x1b[0m "), "{shown:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let verify = OnTerminal::new(&["verify", &log], 80, |command| _ = command.env(name, value));
        let (shown, _) = verify.finish();
        assert!(shown.contains("damage: ") && !shown.contains("\x1b[31m"), "{name}: {shown:?}");
    }
    // JSON has none.
    let (shown, _) = on_terminal(&["verify", &log, "--json"]).finish();
    assert!(!shown.contains("\x1b[31m"), "{shown:?}");
}

#[test]
fn bars_are_as_wide_as_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let wal = crate::sharded::open(dir.path(), 1);
    wal.append(b"key", b"entry").unwrap();
    for columns in [40, 120] {
        let args = ["stat", dir.path().to_str().unwrap()];
        let (shown, _) = OnTerminal::new(&args, columns, |_| {}).finish();
        let bar = shown.lines().find(|line| line.starts_with("shard 00")).unwrap();
        assert_eq!(bar.trim_end().chars().count(), usize::from(columns), "{shown}");
    }
}

#[test]
fn long_work_has_a_bar() {
    let dir = tempfile::tempdir().unwrap();
    let [log, repaired] = damaged(dir.path());
    let (shown, _) = on_terminal(&["verify", &log]).finish();
    assert!(shown.contains(" verified"), "{shown:?}");
    let (shown, _) = on_terminal(&["repair", &log, "--to", &repaired, "--yes"]).finish();
    // The bar does not show every step of a log that is so small.
    assert!(shown.contains(" read\r"), "{shown:?}");
    let copy = format!("{repaired}-copy");
    let (shown, status) = on_terminal(&["backup", &repaired, &copy]).finish();
    assert!(status.success(), "{shown:?}");
    assert!(shown.contains(" copied\r") || shown.contains(" read\r"), "{shown:?}");
}
