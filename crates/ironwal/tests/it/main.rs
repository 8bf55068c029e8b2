//! All integration tests, in one binary, so that they link once.

mod api;
mod contract;
mod model;
