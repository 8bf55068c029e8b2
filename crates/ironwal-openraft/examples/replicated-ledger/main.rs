//! A ledger on three nodes, each a process of its own with an ironwal log: clients move money, the leader is
//! killed while they do, another one takes over, and at the end every acknowledged transfer is there once,
//! on every node.
//!
//! ```text
//! cargo run --release -p ironwal-openraft --example replicated-ledger
//! ```
//!
//! Read `story.rs` first, then `ledger.rs` (the state machine and its snapshots) and `node.rs`.

use std::process::ExitCode;

#[path = "cluster.rs"]
mod cluster;

fn main() -> ExitCode {
    cluster::main(cluster::Plan { clients: 4, transfers: 400, kills: 2 })
}
