//! All integration tests of the program, in one binary, so that they link once.

mod append_cat;
mod beside;
mod checkpoint;
mod damage;
mod demo;
mod errors;
mod ls;
mod program;
mod sharded;
