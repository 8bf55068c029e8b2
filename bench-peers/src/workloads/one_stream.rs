//! Appends to one stream, beside what the disk allows.

use ironwal::Journal;

use super::Plan;
use crate::durable;
use crate::measure::Case;
use crate::report::{Aim, Target};

/// Single appends.
pub fn strict() -> Plan {
    let mut plan = Plan::default();
    let limit = plan.case(Case::new("limit: pwrite + fdatasync", 1, 1, durable::floor(1)));
    let mut ours =
        |threads| plan.case(Case::new("ironwal", threads, 1, durable::ironwal(Journal::Auto, 1)));
    let (one, eight) = (ours(1), ours(8));
    let mut published =
        |threads| plan.case(Case::new("ironwal 0.6.9", threads, 1, durable::published(1)));
    let (published_one, published_eight) = (published(1), published(8));
    let least = Aim::AtLeast;
    plan.targets = vec![
        Target::rate("ironwal, 1 thread / limit", (one, limit), least(0.9)),
        Target::rate("ironwal, 8 threads / 1 thread", (eight, one), least(3.5)),
        Target::rate("0.6.9, 1 thread / limit", (published_one, limit), Aim::None),
        Target::rate("0.6.9, 8 threads / 1 thread", (published_eight, published_one), Aim::None),
        Target::rate("ironwal / 0.6.9, 1 thread", (one, published_one), Aim::None),
        Target::rate("ironwal / 0.6.9, 8 threads", (eight, published_eight), Aim::None),
    ];
    plan
}

/// Batches of 100.
pub fn strict_batch() -> Plan {
    let mut plan = Plan::default();
    let limit = plan.case(Case::new("limit: pwrite + fdatasync", 1, 100, durable::floor(100)));
    let ours = plan.case(Case::new("ironwal", 1, 100, durable::ironwal(Journal::Auto, 100)));
    let published = plan.case(Case::new("ironwal 0.6.9", 1, 100, durable::published(100)));
    plan.targets = vec![
        Target::rate("ironwal / limit", (ours, limit), Aim::None),
        Target::rate("0.6.9 / limit", (published, limit), Aim::None),
    ];
    plan
}
