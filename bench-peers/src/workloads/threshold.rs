//! From which size on a share of a round is better written to its own segment than to the journal.

use std::io;

use ironwal::Journal;

use crate::loads;
use crate::measure::{Case, Settings, interleaved};
use crate::report::{Figure, Spread};

/// The entries, in KiB.
const ENTRY_KIB: [usize; 6] = [1, 4, 8, 16, 32, 64];

/// Threads, each with a stream of its own.
const THREADS: [usize; 3] = [1, 4, 16];

/// The last one is what the others are compared with.
const JOURNALS: [(&str, Journal); 3] =
    [("on", Journal::On), ("auto", Journal::Auto), ("off", Journal::Off)];

/// Measures and prints the table.
pub fn run(settings: &Settings) -> io::Result<()> {
    let variants = || THREADS.into_iter().flat_map(|threads| ENTRY_KIB.map(|kib| (threads, kib)));
    let mut cases = Vec::new();
    for (threads, kib) in variants() {
        for (name, journal) in JOURNALS {
            let open = loads::own_stream(journal, threads, kib * 1024);
            cases.push(Case::new(name, threads, 1, open));
        }
    }
    let runs = interleaved(&cases, settings)?;
    println!(
        "{:>7}{:>7}{:>14}{:>12}{:>24}{:>24}",
        "threads", "KiB", "off, entries/s", "off, MiB/s", "on / off", "auto / off"
    );
    for ((threads, kib), runs) in variants().zip(runs.chunks(JOURNALS.len())) {
        let [on, auto, off] = runs else { continue };
        let rate = Spread::of(off.iter().map(|run| run.entries_per_s).collect()).median;
        let ratio = |runs| {
            let ratio = Spread::of_ratios(Figure::Rate, runs, off);
            format!("{:.2} ({:.2} .. {:.2})", ratio.median, ratio.min, ratio.max)
        };
        println!(
            "{threads:>7}{kib:>7}{rate:>14.0}{:>12.0}{:>24}{:>24}",
            rate * kib as f64 / 1024.0,
            ratio(on),
            ratio(auto)
        );
    }
    Ok(())
}
