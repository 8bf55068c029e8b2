//! A follower in a second process, beside a writer that fills segments and prunes those behind it.
//! `scripts/follow` runs it.
//!
//! ```text
//! follow-driver MODE COUNT RATE DIR      writes, and starts the other one
//! follow-driver follow COUNT DIR         follows
//! ```
//!
//! MODE is `strict` or `unsynced`; RATE: entries per second, 0 for as fast as it goes. The follower must
//! get every entry once and in order. Prints how long they were on their way: from before the append to the
//! return of the follower's call.

use std::error::Error as StdError;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use ironwal::{SyncMode, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

const STREAM: &str = "events";

/// So that a million entries are in a hundred segments.
const SEGMENT_ENTRIES: u64 = 10_000;

/// How often the follower says where it is, and the writer prunes, in entries.
const STEP: u64 = 5_000;

/// After so long without an entry the follower gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["follow", count, dir] => follow(count.parse()?, Path::new(dir)),
        ["strict", count, rate, dir] => {
            write(SyncMode::Strict, count.parse()?, rate.parse()?, Path::new(dir))
        }
        ["unsynced", count, rate, dir] => {
            write(SyncMode::Async, count.parse()?, rate.parse()?, Path::new(dir))
        }
        _ => Err("usage: follow-driver strict|unsynced COUNT RATE DIR".into()),
    }
}

/// Nanoseconds since 1970: a clock that two processes share.
fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// The follower; it ends with the writer.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(sync_mode: SyncMode, count: u64, rate: u64, dir: &Path) -> Result<()> {
    let options =
        WalOptions { sync_mode, max_entries_per_segment: SEGMENT_ENTRIES, ..WalOptions::new(dir) };
    let wal = Wal::new(options)?;
    let stream = wal.stream(STREAM)?;

    let mut following = Command::new(std::env::current_exe()?);
    following.args(["follow", &count.to_string()]).arg(dir).stdout(Stdio::piped());
    let mut following = Following(following.spawn()?);
    let told = following.0.stdout.take().ok_or("no pipe")?;
    let (position, ready) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let listener = {
        let (position, ready) = (Arc::clone(&position), Arc::clone(&ready));
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(std::result::Result::ok) {
                match line.strip_prefix("at ").and_then(|id| id.parse().ok()) {
                    Some(id) => position.store(id, Ordering::Relaxed),
                    None => println!("{line}"),
                }
                ready.store(1, Ordering::Release);
            }
        })
    };
    while ready.load(Ordering::Acquire) == 0 {
        if let Some(status) = following.0.try_wait()? {
            return Err(format!("the follower ended before it began: {status}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }

    let (start, mut freed) = (Instant::now(), 0);
    for id in 0..count {
        if let Some(due) = (id * 1_000_000_000).checked_div(rate) {
            while start.elapsed() < Duration::from_nanos(due) {
                std::thread::yield_now();
            }
        }
        if stream.append(&now()?.to_le_bytes())? != id {
            return Err(format!("entry {id} got another id").into());
        }
        if id % STEP == 0 {
            freed += stream.truncate_before(position.load(Ordering::Relaxed))?;
        }
    }
    let took = start.elapsed().as_secs_f64();
    let status = following.0.wait()?;
    let _ = listener.join();
    println!(
        "{count} entries in {took:.1} s, {:.0}/s; {freed} segments were pruned meanwhile",
        count as f64 / took
    );
    if !status.success() {
        return Err("the follower failed".into());
    }
    if count > 10 * SEGMENT_ENTRIES && freed == 0 {
        return Err("nothing was pruned: the run shows less than it should".into());
    }
    wal.close()?;
    Ok(())
}

fn follow(count: u64, dir: &Path) -> Result<()> {
    let wal = Wal::open_read_only(WalOptions::new(dir))?;
    let mut follower = wal.stream(STREAM)?.follow(0);
    let mut latencies = Histogram::<u64>::new(3)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "at 0")?;
    out.flush()?;
    for expected in 0..count {
        let next = follower.next_timeout(SILENCE_MAX)?;
        let Some((id, entry)) = next else {
            return Err(format!("entry {expected} has not come for {SILENCE_MAX:?}").into());
        };
        if id != expected {
            return Err(format!("entry {id} came when {expected} was due").into());
        }
        let sent = u64::from_le_bytes(entry[..].try_into()?);
        latencies.saturating_record(now()?.saturating_sub(sent) / 1000);
        if id % STEP == 0 {
            writeln!(out, "at {id}")?;
            out.flush()?;
        }
    }
    if follower.try_next()?.is_some() {
        return Err("more came than was written".into());
    }
    let at = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
    writeln!(
        out,
        "on their way: p50 {:?}, p90 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        Duration::from_micros(latencies.max())
    )?;
    Ok(())
}
