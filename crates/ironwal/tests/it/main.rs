//! All integration tests, in one binary, so that they link once.

mod api;
mod contract;
mod kill;
mod model;
mod recovery;
mod rot;
mod threads;
