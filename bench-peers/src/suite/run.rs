//! Starts the child processes, each in a directory of its own, and cleans up after them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::durability;
use super::job::{Dataset, Job, Order, Outcome, Pace};
use crate::peers::Peer;

/// No job takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Where everything happens. What is left there is removed when it is dropped, after `Ctrl-C` too.
pub struct Runner {
    root: PathBuf,
    pace: Pace,
    interrupted: Arc<AtomicBool>,
}

impl Runner {
    /// Makes a directory in `dir`, which is removed again.
    pub fn new(dir: &Path, pace: Pace) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let by_handler = Arc::clone(&interrupted);
        // The children are in the same group and end by the same signal.
        ctrlc::set_handler(move || by_handler.store(true, Ordering::Release))
            .map_err(io::Error::other)?;
        let root = dir.canonicalize()?.join(format!("bench-peers-{}", std::process::id()));
        fs::create_dir(&root)?;
        Ok(Self { root, pace, interrupted })
    }

    /// Does a job, and what it needs before, and removes all that.
    pub fn once(&self, peer: &dyn Peer, job: &Job) -> io::Result<Outcome> {
        let data = self.prepare(peer, job)?;
        let outcome = self.measure(peer, job, data.as_ref());
        if let Some(data) = data {
            data.remove()?;
        }
        outcome
    }

    /// Writes the log that a job reads, if it reads one.
    pub fn prepare(&self, peer: &dyn Peer, job: &Job) -> io::Result<Option<Data>> {
        let Some(needed) = job.needs() else { return Ok(None) };
        let data = Data { dir: self.fresh("data")? };
        if let Err(error) = self.child(peer, &needed, &data.dir) {
            data.remove()?;
            return Err(error);
        }
        Ok(Some(data))
    }

    /// Does a job once.
    pub fn measure(&self, peer: &dyn Peer, job: &Job, data: Option<&Data>) -> io::Result<Outcome> {
        let dir = match data {
            Some(data) if job.spoils() => self.copied(data)?,
            Some(data) => data.dir.clone(),
            None => self.fresh("log")?,
        };
        self.settle()?;
        let outcome = self.child(peer, job, &dir);
        if data.is_none_or(|data| data.dir != dir) {
            fs::remove_dir_all(dir)?;
        }
        outcome
    }

    /// Does a job in a new directory under `strace`, and returns what it wrote.
    pub fn traced(&self, peer: &dyn Peer, job: &Job, calls: &str) -> io::Result<String> {
        let (dir, trace) = (self.fresh("log")?, self.root.join("trace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
        command.arg(std::env::current_exe()?);
        let done = self.run(command, peer, job, &dir);
        fs::remove_dir_all(dir)?;
        let text = done.and_then(|_| durability::read_trace(&trace));
        match fs::remove_file(trace) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => text,
        }
    }

    /// Whether somebody has had enough.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Lets the file system write what the jobs before have left it to write.
    fn settle(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        for nth in 0.. {
            let dir = self.root.join(format!("{name}-{nth}"));
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| dir),
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn copied(&self, data: &Data) -> io::Result<PathBuf> {
        let to = self.fresh("copy")?;
        let status = Command::new("cp").arg("-a").arg(data.dir.join(".")).arg(&to).status()?;
        if status.success() { Ok(to) } else { Err(io::Error::other("cp failed")) }
    }

    fn child(&self, peer: &dyn Peer, job: &Job, dir: &Path) -> io::Result<Outcome> {
        self.run(Command::new(std::env::current_exe()?), peer, job, dir)
    }

    fn run(
        &self,
        mut command: Command,
        peer: &dyn Peer,
        job: &Job,
        dir: &Path,
    ) -> io::Result<Outcome> {
        let order = Order {
            peer: peer.name().into(),
            job: job.clone(),
            dir: dir.to_path_buf(),
            pace: self.pace,
        };
        command.arg("child").arg(serde_json::to_string(&order)?);
        // walrus takes its directory from here.
        command.env("WALRUS_DATA_DIR", dir).env("WALRUS_QUIET", "1");
        command.current_dir(&self.root).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let (status_ok, stdout, stderr) = self.wait(child)?;
        if self.is_interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_killed = matches!(job, Job::Write(Dataset { killed: true, .. }));
        let answer = stdout.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        match answer {
            Some(outcome) if status_ok || is_killed => Ok(outcome),
            _ => {
                let why = stderr.lines().next_back().unwrap_or("it ended without a word");
                Err(io::Error::other(why.trim().to_string()))
            }
        }
    }

    /// Waits for the end, and ends what hangs.
    fn wait(&self, mut child: Child) -> io::Result<(bool, String, String)> {
        let begun = Instant::now();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (reader(out), reader(err));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE || self.is_interrupted() {
                child.kill()?;
            }
            std::thread::sleep(LOOK);
        };
        let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
        Ok((status.success(), text(stdout), text(stderr)))
    }
}

fn reader<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is all there is to show.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{}: {error}", self.root.display());
        }
    }
}

/// A log that was written before it is measured.
pub struct Data {
    dir: PathBuf,
}

impl Data {
    /// The blocks that its files have, in bytes.
    pub fn bytes(&self) -> io::Result<u64> {
        allocated(&self.dir)
    }

    /// Removes it.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.dir)
    }
}

fn allocated(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        // In units of 512 bytes, whatever the file system's blocks are.
        sum += metadata.blocks() * 512;
        if metadata.is_dir() {
            sum += allocated(&entry.path())?;
        }
    }
    Ok(sum)
}
