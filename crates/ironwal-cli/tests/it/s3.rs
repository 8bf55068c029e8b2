//! `archive` with a real S3-compatible server, which the test starts: moto, from PyPI, on the loopback. Built with the
//! feature `cloud`; skipped where there is no Python or moto cannot be had.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::logs::{full_segments, orders};
use crate::program::{Ran, cat, program};

const MOTO: &str = "moto[server,s3]==5.*";

/// No word of a message may be one of these.
const SECRET: &str = "hush-hush-hush";

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    /// How many requests it has answered.
    requests: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of moto, which is installed below `target` unless it was.
fn moto() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let server = dir.join("bin/moto_server");
    let run = |program: &Path, args: &[&str]| {
        let command = Command::new(program).args(args).stdin(Stdio::null()).output();
        command.is_ok_and(|output| output.status.success())
    };
    let is_there = server.exists()
        || (run(Path::new("python3"), &["-m", "venv", dir.to_str()?])
            && run(&dir.join("bin/pip"), &["install", "-q", "--timeout", "20", MOTO]));
    is_there.then_some(server)
}

impl Server {
    /// A server with the bucket `ledger`.
    fn start() -> Option<Self> {
        let Some(moto) = moto() else {
            eprintln!(
                "skipped: moto (from PyPI, in a virtual environment of python3) cannot be had"
            );
            return None;
        };
        let mut process = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("Running on http://")?;
            Some(address.trim().to_string())
        });
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for _ in lines {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let server = Self { process, address: address.unwrap(), requests };
        server.make_bucket();
        Some(server)
    }

    fn make_bucket(&self) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "PUT /ledger HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command
            .args(args)
            .env("AWS_ENDPOINT", format!("http://{}", self.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "tester")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let ran = Ran { code: output.status.code().unwrap(), out: output.stdout, err };
        assert!(!format!("{ran:?}{}", ran.text()).contains(SECRET), "{ran:?}");
        ran
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran
    }

    /// Kills the program when the server has answered so many requests more, unless it ends before.
    fn kill_after(&self, args: &[&str], requests: usize) -> bool {
        let due = self.requests.load(Ordering::SeqCst) + requests;
        let mut child = self.command(args).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if self.requests.load(Ordering::SeqCst) >= due {
                child.kill().unwrap();
                return !child.wait().unwrap().success();
            }
            assert!(Instant::now() < deadline, "it neither went on nor ended");
            std::thread::yield_now();
        }
        false
    }
}

#[test]
fn a_log_goes_to_a_real_server_and_comes_back_however_often_it_is_killed() {
    let Some(server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("restored"));
    full_segments(&log, 120);
    let (log, copy) = (log.to_str().unwrap(), copy.to_str().unwrap());
    let url = "s3://ledger/an/archive";
    let mut kills = 0;
    // Every third point, so that it does not take long.
    for requests in (1..).step_by(3) {
        if !server.kill_after(&["archive", "push", url, log], requests) {
            break;
        }
        kills += 1;
        let verified = server.run(&["archive", "verify", url]);
        let is_begun = verified.err.contains("there is no archive");
        assert!(verified.code == 0 || is_begun, "after {kills} kills: {verified:?}");
    }
    assert!(kills > 3, "{kills}");
    server.succeeds(&["archive", "push", url, log]);
    let again = server.succeeds(&["archive", "push", url, log]);
    assert_eq!(again.text(), "pushed: there is nothing new\n");
    server.succeeds(&["archive", "prune", url, log, "--keep", "0"]);
    for requests in [3, 6, 9, 12] {
        server.kill_after(&["archive", "restore", url, copy], requests);
    }
    if !Path::new(copy).exists() {
        server.succeeds(&["archive", "restore", url, copy]);
    }
    let lines: String = (0..120).map(|id| format!("{id:050}\n")).collect();
    assert_eq!(cat(Path::new(copy), "s", &[]).text(), lines);
    assert!(cat(Path::new(log), "s", &[]).text().len() < lines.len());
    server.succeeds(&["archive", "verify", url]);
    // Messages of the store say nothing of the key either.
    let nowhere = server.run(&["archive", "push", "s3://no-such-bucket/x", copy]);
    nowhere.fails(1, &["ironwal: cannot push the log", "NoSuchBucket"]);
}

/// The server honours conditional puts: a second writer takes the archive, and the first one is told.
#[test]
fn of_two_writers_to_a_real_server_one_is_fenced() {
    let Some(server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    let args = ["archive", "watch", "s3://ledger/a", log.to_str().unwrap(), "--every", "0.05"];
    let watching = server.command(&args).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let holds = |entries: &str| {
        let listed = server.run(&["archive", "ls", "s3://ledger/a", "--json"]);
        listed.text().contains(&format!("\"next_id\":{entries},"))
    };
    while !holds("3") {
        assert!(Instant::now() < deadline);
    }
    crate::program::append(&log, "orders", &[], b"pie\n");
    // One of the two ships it; in the end the second one has the archive.
    let mut fenced = watching;
    while fenced.try_wait().unwrap().is_none() {
        crate::program::append(&log, "orders", &[], b"more\n");
        server.run(&["archive", "push", "s3://ledger/a", log.to_str().unwrap()]);
        assert!(Instant::now() < deadline);
    }
    let output = fenced.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another writer has the archive since manifest "), "{said}");
    server.succeeds(&["archive", "push", "s3://ledger/a", log.to_str().unwrap()]);
    server.succeeds(&["archive", "verify", "s3://ledger/a"]);
}
