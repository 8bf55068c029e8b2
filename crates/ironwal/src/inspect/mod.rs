//! Looking at the files of a log without opening it: [`dump`], [`verify`], [`repair`], [`backup`].
//!
//! For tools, and for whoever has a directory that does not open. Nothing here needs a
//! [`Wal`](crate::Wal), and nothing that looks at a directory changes it.
//!
//! - [`verify`] reads all of a log, works beside a process that writes to it, and says what is wrong: every
//!   [`Finding`] has a file, an offset, the entries that are affected, and what to do. It decides by the
//!   code that recovery decides by, so it calls damage what opening or reading would report, and
//!   nothing else.
//! - [`dump`] goes over one file, structure by structure, whatever its bytes are.
//! - [`plan_repair`] says what a repair would do, and [`repair`] does it in a copy, never in place. Entries
//!   that are whole keep their ids; those that are lost are marked, so that reads go on naming them.
//! - [`backup`] copies a log as it is at one instant, beside a process that writes to it.
//! - [`Held`] is what a log holds at one instant, segment by segment, for who keeps a copy of it elsewhere; and
//!   [`keep_from_oldest`] makes a log of such segments again.
//! - [`lose_ids`] is for a log that is built out of another one, whose ids it is to keep: these two alone change
//!   a directory.
//!
//! ```
//! use std::sync::Arc;
//! use ironwal::inspect::{self, Severity, VerifyOptions};
//! use ironwal::storage::RealDisk;
//! use ironwal::{Wal, WalOptions};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! let wal = Wal::new(WalOptions::new(path))?;
//! wal.append_batch("orders", &[b"tea", b"coffee"])?;
//! wal.close()?;
//!
//! let disk: Arc<dyn ironwal::storage::Storage> = Arc::new(RealDisk);
//! let report = inspect::verify(&disk, path, &VerifyOptions::default(), &|_| {})?;
//! assert!(report.is_whole());
//! assert_eq!((report.streams, report.entries), (1, 2));
//! for finding in report.findings.iter().filter(|it| it.severity() == Severity::Damage) {
//!     println!("{finding}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod checkpoints;
mod dump;
mod finding;
mod held;
mod import;
mod join;
mod journal;
mod mend;
mod plan;
mod repair;
mod root;
mod salvage;
mod stream;
mod verify;

pub use backup::backup;
pub use dump::{Dump, Kind, Structure, Validity, dump};
pub use finding::{Finding, Problem, Severity};
pub use held::{Held, HeldContent, HeldSegment, HeldStream};
pub use import::lose_ids;
pub use join::keep_from_oldest;
pub use plan::{Action, Measure, Plan, plan_repair};
pub use repair::repair;
pub use verify::{Progress, Report, VerifyOptions, verify};
