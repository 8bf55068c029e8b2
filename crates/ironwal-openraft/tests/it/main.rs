//! The log store as openraft sees it, and as crashes, failing disks and restarts leave it.

// Errors are as large as openraft makes them.
#![allow(clippy::result_large_err)]

mod crashes;
mod failing;
mod flight;
mod gate;
mod log;
mod machine;
mod many;
mod restarts;
mod suite;
