//! Threads that do the same thing again and again while a clock runs.

use std::io;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::job::{Outcome, QUANTILES};
use crate::measure::{new_histogram, record};

/// How long it goes on.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How long each thread goes on before it is measured.
    pub warm_up: Duration,
    /// At least so many operations of each thread are not measured.
    pub warm_up_operations: u64,
    /// How long is measured at most.
    pub measured: Duration,
    /// At most so many operations of each thread are measured.
    pub operations: u64,
    /// How many operations are timed at once: more than one where reading the clock would be a good
    /// part of what is measured.
    pub group: u64,
}

struct Measured {
    latencies_ns: Histogram<u64>,
    operations: u64,
    from: Instant,
    to: Instant,
}

/// Lets each operation be repeated by a thread of its own. Each stands for so many entries.
pub fn drive<Operation>(
    operations: Vec<Operation>,
    entries: u64,
    limits: Limits,
) -> io::Result<Outcome>
where
    Operation: FnMut() -> io::Result<()> + Send,
{
    let start_line = Barrier::new(operations.len());
    let threads: Vec<Measured> = std::thread::scope(|scope| {
        let workers: Vec<_> = operations
            .into_iter()
            .map(|operation| {
                let start_line = &start_line;
                scope.spawn(move || repeat(operation, start_line, limits))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            })
            .collect::<io::Result<_>>()
    })?;
    let from = threads.iter().map(|thread| thread.from).min();
    let to = threads.iter().map(|thread| thread.to).max();
    let operations: u64 = threads.iter().map(|thread| thread.operations).sum();
    let (Some(from), Some(to)) = (from, to) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut latencies_ns = new_histogram();
    for thread in threads {
        latencies_ns.add(thread.latencies_ns).map_err(io::Error::other)?;
    }
    Ok(Outcome {
        figure: (operations * entries) as f64 / (to - from).as_secs_f64(),
        operations,
        latencies_ns: quantiles(&latencies_ns),
        memory_bytes: None,
    })
}

/// At `QUANTILES`.
pub fn quantiles(latencies_ns: &Histogram<u64>) -> Vec<u64> {
    QUANTILES.iter().map(|quantile| latencies_ns.value_at_quantile(*quantile)).collect()
}

fn repeat(
    mut operation: impl FnMut() -> io::Result<()>,
    start_line: &Barrier,
    limits: Limits,
) -> io::Result<Measured> {
    start_line.wait();
    let warmed_up = warm_up(&mut operation, limits);
    // Also after an error: the others wait here.
    start_line.wait();
    warmed_up?;
    let mut latencies_ns = new_histogram();
    let (from, mut operations) = (Instant::now(), 0);
    let mut to = from;
    while operations < limits.operations && to - from < limits.measured {
        let begun = to;
        let group = limits.group.min(limits.operations - operations);
        for _ in 0..group {
            operation()?;
        }
        operations += group;
        to = Instant::now();
        record(&mut latencies_ns, (to - begun) / group as u32);
    }
    Ok(Measured { latencies_ns, operations, from, to })
}

fn warm_up(operation: &mut impl FnMut() -> io::Result<()>, limits: Limits) -> io::Result<()> {
    let from = Instant::now();
    for _ in 0..limits.warm_up_operations {
        operation()?;
    }
    while from.elapsed() < limits.warm_up {
        operation()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const LIMITS: Limits = Limits {
        warm_up: Duration::ZERO,
        warm_up_operations: 3,
        measured: Duration::from_secs(60),
        operations: 10,
        group: 4,
    };

    #[test]
    fn each_thread_does_as_many_operations_as_it_should() {
        let done = AtomicU64::new(0);
        let count = || {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let outcome = drive(vec![count, count], 5, LIMITS).unwrap();
        assert_eq!(outcome.operations, 20);
        assert_eq!(done.into_inner(), 26);
        assert_eq!(outcome.latencies_ns.len(), QUANTILES.len());
    }

    #[test]
    fn an_error_of_one_thread_ends_all() {
        let fails = |fail: bool| move || if fail { Err(io::Error::other("x")) } else { Ok(()) };
        let error = drive(vec![fails(false), fails(true)], 1, LIMITS).unwrap_err();
        assert_eq!(error.to_string(), "x");
    }
}
