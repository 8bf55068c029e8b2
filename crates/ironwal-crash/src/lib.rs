#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod image;
mod model;

mod disk;
mod run;

mod tracker;

mod pieces;

mod choices;

mod trail;

mod explore;
mod report;

pub use explore::{CrashTest, Outcome};
pub use model::Model;
pub use report::{Failure, Summary, Violation};
pub use run::Run;
pub use trail::Trail;
