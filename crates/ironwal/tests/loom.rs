//! The protocol of rounds, tried in every order of steps that loom finds with a few preemptions.
//!
//! The file under test is the library's own, `commit/rounds.rs`, over the [`sync`] of this binary. A
//! model fails if an assertion does, or if threads sleep and nobody is left to wake them.
//! [`stream`] has the rounds of one stream, [`many`] those of a log over many streams.

#[path = "../src/commit/rounds.rs"]
mod rounds;

#[path = "loom/many.rs"]
mod many;
#[path = "loom/stream.rs"]
mod stream;
#[path = "../src/sync/loom.rs"]
#[allow(unused_imports)] // The library uses more of it than its rounds do.
mod sync;
#[cfg(loom)]
#[path = "loom/whole/mod.rs"]
mod whole;

/// Tries the orders of what threads do from `start` on, with so many preemptions at most: moments at
/// which a thread that could go on does not. `LOOM_MAX_PREEMPTIONS=n` sets another bound: each one
/// more takes about twenty times as long.
fn try_orders(preemptions_max: usize, start: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions_max);
    builder.check(start);
}
