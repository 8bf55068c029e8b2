//! The example `replicated-ledger`, with less to do. It starts itself again for each node, which is why it has
//! no harness.

use std::process::ExitCode;

#[path = "../examples/replicated-ledger/cluster.rs"]
mod cluster;

fn main() -> ExitCode {
    cluster::main(cluster::Plan { clients: 3, transfers: 60, kills: 1 })
}
