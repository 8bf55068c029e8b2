//! Appends to many streams: what sharing one sync between them is worth.

use ironwal::Journal::{Auto, Off, On};
use ironwal::SyncMode;

use super::Plan;
use crate::durable;
use crate::loads::{self, Batch, Durable};
use crate::measure::Case;
use crate::report::Aim::{AtLeast, AtMost};
use crate::report::{Aim, Target};

/// How many streams are more than stay open with the default options.
const STREAMS: usize = 1000;

/// The default of `max_open_segments`, and more than `STREAMS`.
const OPEN_SEGMENTS: [usize; 2] = [128, 2048];

/// How many entries a batch has.
const BATCH_LEN: usize = 100;

/// How many appends one thread has in flight.
const WINDOW: usize = 256;

/// All of them, in one interleaved run.
pub fn plan() -> Plan {
    let mut plan = Plan::default();
    let alone = one_stream(&mut plan);
    shards(&mut plan);
    any_stream(&mut plan);
    batches(&mut plan);
    window(&mut plan, alone);
    unsynced(&mut plan);
    plan
}

/// One stream. Returns the place of one thread with the default journal.
fn one_stream(plan: &mut Plan) -> usize {
    let name = "1 stream, 1 thread";
    let ours = |what, journal| {
        Case::new(format!("{name}, journal {what}"), 1, 1, durable::ironwal(journal, 1))
    };
    let auto = plan.case(ours("auto", Auto));
    let off = plan.case(ours("off", Off).beside_previous());
    let on = plan.case(ours("on", On).beside_previous());
    let published = Case::new(format!("{name}, 0.6.9"), 1, 1, durable::published(1));
    let published = plan.case(published.beside_previous());
    plan.targets.extend([
        Target::rate(format!("{name}: auto / off"), (auto, off), AtLeast(0.97)),
        Target::rate(format!("{name}: on / off"), (on, off), Aim::None),
        Target::rate(format!("{name}: off / 0.6.9"), (off, published), AtLeast(1.0)),
    ]);

    let name = "1 stream, 4 threads";
    let four = |what| format!("{name}, {what}");
    let off = plan.case(Case::new(four("journal off"), 4, 1, durable::ironwal(Off, 1)));
    let published = plan.case(Case::new(four("0.6.9"), 4, 1, durable::published(1)));
    let what = format!("{name}: off / 0.6.9");
    plan.targets.push(Target::rate(what, (off, published), AtLeast(1.0)));
    auto
}

/// As many threads as shards, each with a shard of its own.
fn shards(plan: &mut Plan) {
    for (count, off_least, published_least, one_least) in
        [(16, 1.5, 2.5, AtLeast(0.85)), (64, 1.8, 2.8, Aim::None)]
    {
        let threads = usize::from(count);
        let name = format!("{count} shards, {count} threads");
        let ours = |what, journal| {
            Case::new(format!("{name}, journal {what}"), threads, 1, loads::shards(journal, count))
        };
        let auto = plan.case(ours("auto", Auto));
        let off = plan.case(ours("off", Off));
        let published = loads::published_shards(count);
        let published = plan.case(Case::new(format!("{name}, 0.6.9"), threads, 1, published));
        let one = format!("1 stream, {count} threads, journal auto");
        let one = plan.case(Case::new(one, threads, 1, durable::ironwal(Auto, 1)));
        plan.targets.extend([
            Target::rate(format!("{name}: auto / off"), (auto, off), AtLeast(off_least)),
            Target::rate(
                format!("{name}: auto / 0.6.9"),
                (auto, published),
                AtLeast(published_least),
            ),
            Target::rate(format!("{name}: auto / 1 stream, auto"), (auto, one), one_least),
            Target::rate(format!("{name}: off / 0.6.9"), (off, published), AtLeast(1.0)),
        ]);
    }
}

/// Each append to any of many streams.
fn any_stream(plan: &mut Plan) {
    for open_max in OPEN_SEGMENTS {
        let name = format!("{STREAMS} streams, {open_max} open");
        let ours = |what, journal| {
            let open = loads::any_stream(journal, STREAMS, open_max);
            Case::new(format!("{name}, journal {what}"), 64, 1, open)
        };
        let auto = plan.case(ours("auto", Auto));
        let off = plan.case(ours("off", Off));
        plan.targets.push(Target::rate(format!("{name}: auto / off"), (auto, off), AtLeast(2.5)));
        // It panics when threads close each other's files.
        if open_max < STREAMS {
            continue;
        }
        let published = loads::published_any_stream(STREAMS, open_max);
        let published = plan.case(Case::new(format!("{name}, 0.6.9"), 64, 1, published));
        let what = format!("{name}: off / 0.6.9");
        plan.targets.push(Target::rate(what, (off, published), AtLeast(1.0)));
    }
}

/// Strict batches from one thread, and single appends in turns with them.
fn batches(plan: &mut Plan) {
    for (count, most) in [(16, 1.6), (64, 2.5)] {
        let name = format!("1 append, beside batches over {count}");
        let alone = plan.case(Case::new(name, 1, 1, durable::ironwal(Auto, 1)));
        for (what, batch) in [("append_batch", Batch::PerShard), ("atomic", Batch::Atomic)] {
            let name = format!("batch of {BATCH_LEN} over {count} shards, {what}");
            let open = loads::batches((SyncMode::Strict, Auto), count, BATCH_LEN, batch, false);
            let case = Case::new(name.clone(), 1, BATCH_LEN, open);
            let nth = plan.case(case.beside_previous());
            let what = format!("{name} / 1 append, p50");
            plan.targets.push(Target::latency(what, (nth, alone), AtMost(most)));
        }
    }
}

/// One thread that does not wait for each append.
fn window(plan: &mut Plan, alone: usize) {
    let name = format!("1 stream, {WINDOW} in flight");
    let nth = plan.case(Case::new(name.clone(), 1, 1, loads::window(Auto, WINDOW)));
    let what = format!("{name} / one at a time");
    plan.targets.push(Target::rate(what, (nth, alone), AtLeast(50.0)));
}

/// What is made durable on request, in the modes that do not sync each append.
fn unsynced(plan: &mut Plan) {
    for (what, batch) in [("append_batch", Batch::PerShard), ("atomic", Batch::Atomic)] {
        for (before, singles) in [("", false), (" after singles", true)] {
            let name = format!("BatchOnly: {BATCH_LEN} over 16, {what}{before}");
            let open = loads::batches((SyncMode::BatchOnly, Auto), 16, BATCH_LEN, batch, singles);
            plan.case(Case::new(name, 1, BATCH_LEN, open));
        }
    }
    for (mode_name, mode) in [("BatchOnly", SyncMode::BatchOnly), ("Async", SyncMode::Async)] {
        for count in [16, 64] {
            for (what, durable) in
                [("sync_all", Durable::SyncAll), ("checkpoint", Durable::Checkpoint)]
            {
                let name = format!("{mode_name}: {what}, {count} dirty shards");
                let open = loads::dirty_shards(mode, Auto, count, durable);
                plan.case(Case::new(name, 1, usize::from(count), open));
            }
        }
    }
}
