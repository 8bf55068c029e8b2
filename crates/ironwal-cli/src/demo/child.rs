//! The process that is killed, and what the parent hears from it.

use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

use super::lines::Lines;
use super::report::{listen, send};
use super::tally::Tally;
use super::turns::THREADS;
use super::workers::Work;
use super::{Run, open_log};
use crate::exit::{Done, Failure};
use crate::text::{counted, grouped};

/// The hidden command that the child runs.
const CHILD_COMMAND: &str = "demo-child";

/// Append lines from standard input until killed; report to standard output
#[derive(clap::Args)]
pub(crate) struct ChildArgs {
    dir: PathBuf,
    /// Take a checkpoint after every so many lines
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
}

/// What the child does. It has no end of its own: it is killed, or the parent goes away.
pub(crate) fn run_child(args: &ChildArgs) -> Done {
    let lines = Lines::receive(&mut BufReader::new(io::stdin().lock()))
        .map_err(|error| Failure::io("read the lines of the demo", &error))?;
    let work = Work {
        wal: &open_log(&args.dir)?,
        lines: &lines,
        done: [0; THREADS],
        numbers_end: u64::MAX,
        checkpoint_every: args.checkpoint_every,
        next_checkpoint: 0,
        stopped: AtomicBool::new(false),
    };
    work.run(|reports| send(reports).is_ok())
        .map_err(|error| Failure::of("append in the demo", &error))
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
        // Nobody listens any more only if the parent gave up, which then says why.
        let hand_on = move |reports| drop(sender.send(reports));
        let listener = thread::spawn(move || listen(reports, hand_on));
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
            "killed the child (SIGKILL) after {} acknowledged lines and {}",
            grouped(tally.count()),
            counted(tally.checkpoints.len() as u64, "checkpoint", "checkpoints"),
        ));
        Ok(tally)
    }

    fn start_child(&self) -> Done<Child> {
        let failed = |error| Failure::io("start this program again as the demo's child", &error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(CHILD_COMMAND).arg(self.log_dir).arg(self.checkpoint_every().to_string());
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

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL)
}

#[cfg(not(unix))]
fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}
