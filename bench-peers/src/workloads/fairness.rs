//! Strict appends to many streams for longer than the journal's files last: whether anybody waits
//! much longer than the others.

use std::io;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ironwal::{Journal, Stream, WalOptions};

use crate::loads::{self, Choices};
use crate::measure::{Settings, new_histogram, record};
use crate::report::Aim;
use crate::watch::{self, Disk, Stretch};

/// From here on an append is looked at on its own.
const SLOW: Duration = Duration::from_millis(50);

/// How many slow appends are listed.
const LISTED_MAX: usize = 20;

/// How long the disk is watched alone, to compare.
const IDLE: Duration = Duration::from_secs(2);

/// From how many walks through all streams on the demand for each of them is nearly the same.
const PASSES_MIN: f64 = 2.0;

/// For how much shorter one thread for each stream goes on.
const OWN_DIVISOR: u32 = 4;

/// Who wants what.
pub struct Demand {
    /// How many streams there are.
    pub streams: usize,
    /// How many threads append to them.
    pub threads: usize,
    /// The bytes of every entry.
    pub entry_len: usize,
    /// Which appends go to the journal.
    pub journal: Journal,
}

/// What a thread saw.
struct Seen {
    latencies_ns: Histogram<u64>,
    /// Of each stream: how many appends, and the sum of what they took.
    served: Vec<(u64, Duration)>,
    slow: Vec<(usize, Stretch)>,
}

/// Measures, and prints what came out.
pub fn run(settings: &Settings, demand: &Demand) -> io::Result<()> {
    let (root, probe) = (settings.scratch(0), settings.scratch(1));
    let done = run_in(&root, &probe, settings, demand);
    std::fs::remove_dir_all(&root)?;
    done
}

fn run_in(root: &Path, probe: &Path, settings: &Settings, demand: &Demand) -> io::Result<()> {
    let streams = loads::streams(WalOptions::new(root), demand.journal, demand.streams)?;
    let (idle, _, ()) = watched(root, probe, || {
        std::thread::sleep(IDLE);
        Ok(())
    })?;
    println!("The disk alone: {}\n", disk_line(&idle));

    println!(
        "{} threads, each walking through all {} streams in an order of its own, a new one each time:",
        demand.threads, demand.streams
    );
    let walk = |thread: usize| {
        let mut choices = Choices::of(thread);
        let mut list: Vec<usize> = (0..demand.streams).collect();
        let mut at = list.len();
        Box::new(move || {
            if at == list.len() {
                choices.shuffle(&mut list);
                at = 0;
            }
            at += 1;
            list[at - 1]
        }) as Box<dyn FnMut() -> usize>
    };
    let (disk, switches, seen) =
        watched(root, probe, || append(&streams, demand, demand.threads, settings.duration, walk))?;
    report_latencies(&seen, &disk, &switches, settings.duration);
    let passes = |seen: &Seen| seen.latencies_ns.len() as f64 / demand.streams as f64;
    let least = seen.iter().map(passes).fold(f64::INFINITY, f64::min);
    if least < PASSES_MIN {
        println!(
            "  The demand was not the same: a thread made {least:.1} passes only. Measure longer."
        );
    }
    report_served(&seen, demand.streams, Aim::AtMost(1.5));

    println!("\n{} threads, each appending to a stream of its own:", demand.streams);
    let own = |thread: usize| Box::new(move || thread) as Box<dyn FnMut() -> usize>;
    let duration = settings.duration / OWN_DIVISOR;
    let (_, _, seen) =
        watched(root, probe, || append(&streams, demand, demand.streams, duration, own))?;
    report_served(&seen, demand.streams, Aim::None);
    Ok(())
}

/// Does something while the disk and the journal are watched.
fn watched<T>(
    root: &Path,
    probe: &Path,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<(Disk, Vec<Instant>, T)> {
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let disk = scope.spawn(|| watch::disk(probe, &stopped));
        let switches = scope.spawn(|| watch::journal_switches(root, &stopped));
        let done = work();
        stopped.store(true, Ordering::Release);
        let panicked = |_| io::Error::other("a thread panicked");
        let disk = disk.join().map_err(panicked)??;
        Ok((disk, switches.join().map_err(panicked)?, done?))
    })
}

fn append(
    streams: &[Stream],
    demand: &Demand,
    threads: usize,
    duration: Duration,
    choose: impl Fn(usize) -> Box<dyn FnMut() -> usize> + Sync,
) -> io::Result<Vec<Seen>> {
    let start_line = Barrier::new(threads);
    std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..threads)
            .map(|thread| {
                let (start_line, choose) = (&start_line, &choose);
                scope.spawn(move || {
                    start_line.wait();
                    let until = Instant::now() + duration;
                    append_until(streams, demand.entry_len, until, choose(thread))
                })
            })
            .collect();
        let panicked = |_| Err(io::Error::other("a thread panicked"));
        appenders.into_iter().map(|appender| appender.join().unwrap_or_else(panicked)).collect()
    })
}

fn append_until(
    streams: &[Stream],
    entry_len: usize,
    until: Instant,
    mut choose: impl FnMut() -> usize,
) -> io::Result<Seen> {
    let entry = vec![0x5A; entry_len];
    let mut seen = Seen {
        latencies_ns: new_histogram(),
        served: vec![(0, Duration::ZERO); streams.len()],
        slow: Vec::new(),
    };
    loop {
        let nth = choose();
        let begun = Instant::now();
        streams[nth].append(&entry).map_err(io::Error::other)?;
        let stretch = Stretch { begun, ended: Instant::now() };
        // Those that are under way at the end count too: a slow one would be missed.
        record(&mut seen.latencies_ns, stretch.len());
        seen.served[nth].0 += 1;
        seen.served[nth].1 += stretch.len();
        if stretch.len() > SLOW {
            seen.slow.push((nth, stretch));
        }
        if stretch.ended >= until {
            return Ok(seen);
        }
    }
}

fn report_latencies(seen: &[Seen], disk: &Disk, switches: &[Instant], duration: Duration) {
    let mut latencies_ns = new_histogram();
    seen.iter().for_each(|thread| latencies_ns += &thread.latencies_ns);
    let rate = latencies_ns.len() as f64 / duration.as_secs_f64();
    println!(
        "  {rate:.0} appends/s; {}; {} journal switches",
        quantiles_ms(&latencies_ns),
        switches.len()
    );
    println!("  the disk meanwhile: {}", disk_line(disk));
    let at = |quantile| latencies_ns.value_at_quantile(quantile) as f64;
    verdict("p99.9 / median", at(0.999) / at(0.5), Aim::AtMost(20.0));

    let mut slow: Vec<_> = seen.iter().flat_map(|thread| &thread.slow).copied().collect();
    let explained = |stretch: &Stretch| stretch.covered_by(&disk.stalls) * 2 >= stretch.len();
    let unexplained = slow.iter().filter(|(_, stretch)| !explained(stretch)).count();
    println!("  appends over {SLOW:?}: {}", slow.len());
    verdict("of them not explained by the disk", unexplained as f64, Aim::AtMost(0.0));
    slow.sort_by_key(|(_, stretch)| std::cmp::Reverse(stretch.len()));
    for (stream, stretch) in slow.iter().take(LISTED_MAX) {
        let after = switches.iter().rfind(|switch| **switch <= stretch.ended);
        let after = after.map_or("no journal switch before".into(), |switch| {
            format!("ended {:.0?} after a journal switch", stretch.ended - *switch)
        });
        println!(
            "    {:>5.0} ms, stream {stream}: the disk stood still for {:.0} ms of it; {after}",
            stretch.len().as_secs_f64() * 1e3,
            stretch.covered_by(&disk.stalls).as_secs_f64() * 1e3,
        );
    }
}

fn report_served(seen: &[Seen], streams: usize, aim: Aim) {
    let mut served = vec![(0, Duration::ZERO); streams];
    for thread in seen {
        for (sum, (count, took)) in served.iter_mut().zip(&thread.served) {
            sum.0 += count;
            sum.1 += *took;
        }
    }
    let count = |served: &[(u64, Duration)]| served.iter().map(|(count, _)| *count).sum::<u64>();
    let by_stream: Vec<f64> = served.iter().map(|(count, _)| *count as f64).collect();
    ratio("most / least served stream", &by_stream, aim);
    let by_thread: Vec<f64> = seen.iter().map(|thread| count(&thread.served) as f64).collect();
    ratio("most / least served thread", &by_thread, Aim::None);
    let mean: Vec<f64> =
        served.iter().map(|(count, took)| took.as_secs_f64() * 1e3 / *count as f64).collect();
    ratio("slowest / fastest stream, mean ms", &mean, Aim::None);
}

fn ratio(what: &str, values: &[f64], aim: Aim) {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let digits = if most < 1000.0 { 2 } else { 0 };
    verdict(&format!("{what}: {most:.digits$} / {least:.digits$}"), most / least, aim);
}

fn verdict(what: &str, found: f64, aim: Aim) {
    println!("  {what:<54}{found:>8.2}{}", aim.verdict(found));
}

fn disk_line(disk: &Disk) -> String {
    format!("pwrite + fdatasync {}", quantiles_ms(&disk.latencies_ns))
}

fn quantiles_ms(latencies_ns: &Histogram<u64>) -> String {
    let ms = |quantile| latencies_ns.value_at_quantile(quantile) as f64 / 1e6;
    format!(
        "p50 {:.2} ms, p99 {:.2}, p99.9 {:.2}, max {:.2}",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0)
    )
}
