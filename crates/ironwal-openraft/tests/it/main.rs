//! The log store as openraft sees it, and as crashes, failing disks and restarts leave it.

mod crashes;
mod failing;
mod flight;
mod gate;
mod log;
mod machine;
mod many;
mod restarts;
mod suite;
