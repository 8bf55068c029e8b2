//! What goes wrong with which call.

use std::io;

/// The calls of [`Storage`](crate::storage::Storage) and [`File`](crate::storage::File), as faults
/// and counters tell them apart.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::CallKind};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/log");
/// disk.open(path, OpenMode::Create)?.sync()?;
/// disk.open(path, OpenMode::Read)?;
/// disk.sync_dir(Path::new("/"))?;
/// assert_eq!((disk.calls(CallKind::Create), disk.calls(CallKind::Open)), (1, 1));
/// assert_eq!((disk.calls(CallKind::Sync), disk.calls(CallKind::SyncDir)), (1, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// [`Storage::open`](crate::storage::Storage::open) of a file that must exist.
    Open,
    /// The same with [`OpenMode::Create`](crate::storage::OpenMode::Create).
    Create,
    /// [`File::read_at`](crate::storage::File::read_at).
    Read,
    /// [`File::write_at`](crate::storage::File::write_at).
    Write,
    /// [`File::set_len`](crate::storage::File::set_len).
    SetLen,
    /// [`File::reserve`](crate::storage::File::reserve).
    Reserve,
    /// [`File::sync`](crate::storage::File::sync).
    Sync,
    /// [`Storage::sync_dir`](crate::storage::Storage::sync_dir).
    SyncDir,
    /// [`Storage::rename`](crate::storage::Storage::rename).
    Rename,
    /// [`Storage::remove_file`](crate::storage::Storage::remove_file).
    RemoveFile,
    /// [`Storage::remove_dir`](crate::storage::Storage::remove_dir).
    RemoveDir,
    /// [`Storage::create_dir`](crate::storage::Storage::create_dir).
    CreateDir,
    /// [`Storage::list`](crate::storage::Storage::list).
    List,
    /// [`Storage::lock`](crate::storage::Storage::lock) and `is_locked`.
    Lock,
    /// [`File::len`](crate::storage::File::len) and `is_empty`.
    Len,
    /// [`File::map`](crate::storage::File::map).
    Map,
    /// [`Storage::share`](crate::storage::Storage::share) and `shared`. Loads and stores are no calls.
    Share,
}

impl CallKind {
    /// Every kind, in the order of the declaration.
    ///
    /// ```
    /// # use std::{io::ErrorKind, sync::Arc};
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// use ironwal::storage::{SimDisk, sim::CallKind};
    ///
    /// for kind in CallKind::ALL {
    ///     let disk = SimDisk::new(42);
    ///     # let open = || {
    ///     #     let environment = Environment::default()
    ///     #         .with_storage(Arc::new(disk.process()))
    ///     #         .with_maintenance(Maintenance::Inline);
    ///     #     Wal::open_with(WalOptions::new("/log"), environment)
    ///     # };
    ///     disk.fail_nth(kind, 1, ErrorKind::TimedOut);
    ///     let appended = open().and_then(|wal| wal.append("orders", b"tea"));
    ///     disk.clear_faults();
    ///     disk.crash();
    ///     assert!(appended.is_err() || open()?.get("orders", 0)?.is_some(), "{kind:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const ALL: [Self; 17] = [
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::SetLen,
        Self::Reserve,
        Self::Sync,
        Self::SyncDir,
        Self::Rename,
        Self::RemoveFile,
        Self::RemoveDir,
        Self::CreateDir,
        Self::List,
        Self::Lock,
        Self::Len,
        Self::Map,
        Self::Share,
    ];

    /// Whether a call that fails, or that the power cut interrupts, may have done a part.
    pub(super) fn can_be_partial(self) -> bool {
        matches!(
            self,
            Self::Write | Self::SetLen | Self::Reserve | Self::Sync | Self::SyncDir | Self::Share
        )
    }
}

/// How a call fails. An [`io::ErrorKind`] is one, too.
///
/// ```
/// # use std::{io::ErrorKind, path::Path};
/// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::{CallKind, Failure}};
/// # let disk = SimDisk::new(42);
/// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
/// disk.fail_nth(CallKind::Write, 1, Failure::Short);
/// let written = file.write_at(b"coffee", 0)?; // no error
/// assert!((1..6).contains(&written));
/// disk.fail_nth(CallKind::Sync, 1, ErrorKind::QuotaExceeded);
/// assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::QuotaExceeded);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// With an error of this kind.
    Kind(io::ErrorKind),
    /// With the error that has this number in the operating system, which may have no kind of its own.
    Errno(i32),
    /// A read or a write does the first of its bytes only, and says so, which is no error. Other calls
    /// are done.
    Short,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        let (kind, what) = match self {
            Self::Kind(kind) => (kind, "injected fault".to_owned()),
            Self::Errno(number) => {
                let error = io::Error::from_raw_os_error(number);
                (error.kind(), format!("injected fault: {error}"))
            }
            Self::Short => (io::ErrorKind::UnexpectedEof, "injected short call".to_owned()),
        };
        io::Error::new(kind, what)
    }
}

impl From<io::ErrorKind> for Failure {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// It is done.
    Done,
    /// A read or a write does the first of its bytes.
    Short,
    /// It fails.
    Failed(Failure),
    /// The power goes while it runs.
    Cut,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    kind: Option<CallKind>,
    calls_left: u64,
    failure: Failure,
}

/// Counts the calls, and knows which of them are to fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    counts: [u64; CallKind::ALL.len()],
    faults: Vec<Fault>,
    calls_until_cut: Option<u64>,
    power_is_off: bool,
}

impl Schedule {
    pub(super) fn fail_nth(&mut self, kind: Option<CallKind>, n: u64, failure: Failure) {
        self.faults.push(Fault { kind, calls_left: n.max(1), failure });
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
        self.calls_until_cut = None;
    }

    pub(super) fn cut_power_at(&mut self, n: u64) {
        self.calls_until_cut = Some(n.max(1));
    }

    pub(super) fn power_is_off(&self) -> bool {
        self.power_is_off
    }

    pub(super) fn power_on(&mut self) {
        self.power_is_off = false;
        self.calls_until_cut = None;
    }

    pub(super) fn count(&self, kind: CallKind) -> u64 {
        self.counts[kind as usize]
    }

    pub(super) fn count_all(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts a call and says what becomes of it.
    pub(super) fn judge(&mut self, kind: CallKind) -> Verdict {
        self.counts[kind as usize] += 1;
        let mut verdict = Verdict::Done;
        self.faults.retain_mut(|fault| {
            if fault.kind.is_some_and(|wanted| wanted != kind) {
                return true;
            }
            fault.calls_left -= 1;
            if fault.calls_left == 0 {
                verdict = match fault.failure {
                    Failure::Short if matches!(kind, CallKind::Read | CallKind::Write) => {
                        Verdict::Short
                    }
                    Failure::Short => Verdict::Done,
                    failure => Verdict::Failed(failure),
                };
            }
            fault.calls_left > 0
        });
        if let Some(left) = &mut self.calls_until_cut {
            *left -= 1;
            if *left == 0 {
                self.calls_until_cut = None;
                self.power_is_off = true;
                verdict = Verdict::Cut;
            }
        }
        verdict
    }
}
