//! The process that is killed, and what the parent hears from it.

use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use ironwal::{Wal, WalOptions};

use super::lines::Lines;
use super::progress::grouped;
use super::tally::Tally;
use super::workers::{Acknowledged, append_lines};
use super::{Run, STREAM, write_words};
use crate::exit::{Done, Failure, opening};

/// The hidden command that the child runs.
const CHILD_COMMAND: &str = "demo-child";

/// On the pipe a report is number, id and latency, each a little-endian `u64`.
const REPORT_LEN: usize = 3 * size_of::<u64>();

/// Append lines from standard input until killed; report to standard output
#[derive(clap::Args)]
pub(crate) struct ChildArgs {
    dir: PathBuf,
}

/// What the child does. It has no end of its own: it is killed, or the parent goes away.
pub(crate) fn run_child(args: &ChildArgs) -> Done {
    let lines = Lines::receive(&mut BufReader::new(io::stdin().lock()))
        .map_err(|error| Failure::io("read the lines of the demo", &error))?;
    let wal = Wal::new(WalOptions::new(&args.dir))
        .map_err(|error| Failure::of(&opening(&args.dir), &error))?;
    let failed = |error| Failure::of("append in the demo", &error);
    let stream = wal.stream(STREAM).map_err(failed)?;
    let next_number = AtomicU64::new(0);
    append_lines(
        &stream,
        &lines,
        || Some(next_number.fetch_add(1, Ordering::Relaxed)),
        |reports| send(reports).is_ok(),
    )
    .map_err(failed)
}

/// Reports go out under one lock, so that those of two threads never mix.
fn send(reports: &[Acknowledged]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(reports.len() * REPORT_LEN);
    for report in reports {
        write_words(&mut bytes, &[report.number, report.id, report.latency_ns])?;
    }
    let mut out = io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()
}

impl Run<'_> {
    /// Starts the child and kills it when half of the lines are acknowledged, or half of the time
    /// is over. Returns exactly what it reported.
    pub(super) fn append_until_killed(&self) -> Done<Tally> {
        let mut child = self.start_child()?;
        let Some(reports) = child.stdout.take() else {
            return Err(Failure::failed("the child has no output to listen to; run it again"));
        };
        let (sender, receiver) = mpsc::channel();
        let listener = thread::spawn(move || listen(reports, &sender));
        let mut killed = Ok(());
        let tally = self.collect(&receiver, 0, self.target.div_ceil(2), || killed = child.kill());
        let heard = listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let status = killed.and_then(|()| child.wait());
        let status = status.map_err(|error| Failure::io("end the child", &error))?;
        heard.map_err(|error| Failure::io("listen to the child", &error))?;
        self.go_on_unless_interrupted()?;
        if !was_killed(status) {
            return Err(Failure::failed(format!(
                "the child ended by itself ({status}) before it was killed; see its message above"
            )));
        }
        self.tell(format_args!(
            "killed the child (SIGKILL) after {} acknowledged lines",
            grouped(tally.count())
        ));
        Ok(tally)
    }

    fn start_child(&self) -> Done<Child> {
        let failed = |error| Failure::io("start this program again as the demo's child", &error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(CHILD_COMMAND).arg(self.log_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for the parent, which ends the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        if let Some(input) = child.stdin.take() {
            match self.lines.send(&mut BufWriter::new(input)) {
                // The child is gone already; its exit status says more.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                sent => sent.map_err(failed)?,
            }
        }
        Ok(child)
    }
}

/// Hands on the reports of the child until its end of the pipe is closed. A report that the kill
/// cut in two was not made.
fn listen(mut pipe: impl Read, reports: &Sender<Vec<Acknowledged>>) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let mut len = 0;
    loop {
        let read_len = match pipe.read(&mut bytes[len..]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        len += read_len;
        let (whole, _) = bytes[..len].as_chunks::<REPORT_LEN>();
        let batch = whole.iter().map(decode).collect();
        let whole_len = whole.len() * REPORT_LEN;
        bytes.copy_within(whole_len..len, 0);
        len -= whole_len;
        // Nobody listens any more only if the parent gave up, which then says why.
        let _ = reports.send(batch);
    }
}

fn decode(report: &[u8; REPORT_LEN]) -> Acknowledged {
    let (words, _) = report.as_chunks::<8>();
    let [number, id, latency_ns] = [0, 1, 2].map(|word: usize| u64::from_le_bytes(words[word]));
    Acknowledged { number, id, latency_ns }
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL)
}

#[cfg(not(unix))]
fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that hands out a few bytes at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = into.len().min(7);
            self.0.read(&mut into[..len])
        }
    }

    #[test]
    fn whole_reports_count_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        write_words(&mut bytes, &[1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        bytes.pop();
        let (sender, receiver) = mpsc::channel();
        listen(Dripping(&bytes), &sender).unwrap();
        drop(sender);
        let heard: Vec<_> = receiver.iter().flatten().collect();
        assert_eq!(
            heard,
            [
                Acknowledged { number: 1, id: 2, latency_ns: 3 },
                Acknowledged { number: 4, id: 5, latency_ns: 6 },
            ]
        );
    }
}
