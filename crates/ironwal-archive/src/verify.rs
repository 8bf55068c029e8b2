//! Verifying: every object by its digest, every range, every segment by the library's own checks.

use std::sync::Arc;

use ironwal::inspect::{self, Severity, VerifyOptions};
use ironwal::storage::{RealDisk, Storage};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::manifest::{Ids, Manifest, Segment, Stream, sha256};
use crate::names;
use crate::push::Progress;

/// What is wrong with an archive.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Ids, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # for _ in 0..10 {
/// #     wal.append("orders", b"tea")?;
/// # }
/// wal.truncate("orders", 8)?; // of ten entries
/// archiver.push(Tails::Ship)?;
/// let report = archive.verify(&mut |_| {})?;
/// let [finding] = &report.findings[..] else { panic!("{report:?}") };
/// assert_eq!(finding.stream.as_deref(), Some("orders"));
/// assert_eq!(finding.ids, Some(Ids::from(0..8)));
/// // They were pruned before they were pushed; the archive has lost nothing.
/// assert!(!finding.is_damage && report.is_whole());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The stream that is affected, if it is one.
    pub stream: Option<String>,
    /// The entries that are affected.
    pub ids: Option<Ids>,
    /// Whether entries that were pushed cannot be read; otherwise it is something that was so before.
    pub is_damage: bool,
    /// What is wrong, in words.
    pub problem: String,
}

/// What [`Archive::verify`] found.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # for _ in 0..10 {
/// #     wal.append("orders", b"tea")?;
/// # }
/// archiver.push(Tails::Ship)?; // ten entries, four to a segment
/// let report = archive.verify(&mut |_| {})?;
/// assert_eq!((report.streams, report.segments, report.entries), (1, 3, 10));
/// assert_eq!(report.findings, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The manifest that was verified.
    pub manifest: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Streams, those aside that are deleted in the log.
    pub streams: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Entries in them that can be read.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Report {
    /// Whether everything can be read that was pushed.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Wal, WalOptions};
    /// # use ironwal::storage::RealDisk;
    /// # use ironwal_archive::{Archive, Archiver, Tails};
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, stored) = (dir.path().join("log"), dir.path().join("archive"));
    /// # let wal = Wal::new(WalOptions { max_entries_per_segment: 4, ..WalOptions::new(&log) })?;
    /// # for _ in 0..10 {
    /// #     wal.append("orders", b"tea")?;
    /// # }
    /// let archive = Archive::open(&format!("file://{}", stored.display()))?;
    /// Archiver::new(archive.clone(), Arc::new(RealDisk), &log).push(Tails::Ship)?;
    /// assert!(archive.verify(&mut |_| {})?.is_whole());
    /// std::fs::remove_dir_all(stored.join("data"))?; // somebody tidies up
    /// let report = archive.verify(&mut |_| {})?;
    /// assert!(!report.is_whole());
    /// assert_eq!(report.findings.len(), 2); // both segments that were full are missing
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_whole(&self) -> bool {
        !self.findings.iter().any(|finding| finding.is_damage)
    }
}

impl Archive {
    /// Reads everything that the newest manifest names, and says what is wrong with it. Needs as much space in the
    /// directory for temporary files as the largest segment has bytes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Error, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// assert!(matches!(archive.verify(&mut |_| {}), Err(Error::NoArchive)));
    /// # wal.append("orders", b"tea")?;
    /// archiver.push(Tails::Ship)?;
    /// let mut bytes_done = 0;
    /// let report = archive.verify(&mut |progress| bytes_done = progress.bytes_done)?;
    /// assert!(report.is_whole());
    /// assert_eq!((report.entries, report.bytes), (1, bytes_done));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoArchive`], [`Error::Version`], [`Error::Store`], [`Error::Interrupted`];
    /// [`Error::Damaged`] of a manifest. What is wrong with anything else is in what is returned.
    pub fn verify(&self, watch: &mut dyn FnMut(Progress)) -> Result<Report> {
        let manifest = self.existing()?;
        let mut report = Report { manifest: manifest.number, ..Report::default() };
        self.verify_identity(&manifest, &mut report)?;
        self.verify_previous(&manifest, &mut report)?;
        if let Some(root) = &manifest.root {
            let name = names::root(&root.sha256);
            self.note(self.fetch(&name, root).map(|_| ()), None, None, &mut report)?;
        }
        let bytes_total = manifest.len();
        for stream in &manifest.streams {
            report.streams += u64::from(!stream.is_deleted);
            verify_ranges(stream, &mut report);
            for segment in &stream.segments {
                self.store.check_stop()?;
                let ids = Ids { from: segment.first_id, to: segment.next_id };
                let entries = self.verify_segment(&manifest, stream, segment);
                report.segments += 1;
                report.bytes += segment.len();
                watch(Progress { bytes_done: report.bytes, bytes_total });
                match entries {
                    Ok(entries) => report.entries += entries,
                    Err(error) => {
                        self.note(Err(error), Some(&stream.name), Some(ids), &mut report)?;
                    }
                }
            }
        }
        Ok(report)
    }

    fn verify_identity(&self, manifest: &Manifest, report: &mut Report) -> Result<()> {
        let problem = match self.identity() {
            Ok(Some(identity)) if identity.log == manifest.log => return Ok(()),
            Ok(Some(identity)) => format!("{} is of log {}", names::IDENTITY, identity.log),
            Ok(None) => format!("{} is missing", names::IDENTITY),
            Err(error) => return self.note(Err(error), None, None, report),
        };
        let (stream, ids, is_damage) = (None, None, true);
        report.findings.push(Finding { stream, ids, is_damage, problem });
        Ok(())
    }

    /// The manifest before must be the one that this one goes on from.
    fn verify_previous(&self, manifest: &Manifest, report: &mut Report) -> Result<()> {
        let Some(previous) = &manifest.previous else { return Ok(()) };
        let numbers = self.manifests()?;
        for number in numbers.into_iter().rev().filter(|number| *number < manifest.number) {
            let name = names::manifest(number);
            let Some(bytes) = self.store.get(&name)? else { continue };
            if sha256(&bytes) == *previous {
                return Ok(());
            }
            if Manifest::decode(&bytes).is_ok() {
                break;
            }
        }
        let problem = format!(
            "the manifest that {} goes on from is not there as it was",
            names::manifest(manifest.number)
        );
        let (stream, ids, is_damage) = (None, None, false);
        report.findings.push(Finding { stream, ids, is_damage, problem });
        Ok(())
    }

    /// Reads a segment, and returns how many entries can be read.
    fn verify_segment(
        &self,
        manifest: &Manifest,
        stream: &Stream,
        segment: &Segment,
    ) -> Result<u64> {
        let single = self.fetch_alone(manifest, stream, segment)?;
        let disk: Arc<dyn Storage> = Arc::new(RealDisk);
        let options = VerifyOptions::default();
        let found = inspect::verify(&disk, single.path(), &options, &|_| {})?;
        let entries = segment.next_id - segment.first_id;
        let damaged: u64 = segment.damaged.iter().map(|ids| ids.to - ids.from).sum();
        let worst = found.findings.iter().find(|it| it.severity() <= Severity::Newer);
        match worst {
            Some(worst) if segment.damaged.is_empty() => {
                Err(Error::Log(ironwal::Error::Corruption(worst.to_string())))
            }
            None if found.entries + damaged < entries => {
                let what = format!("it has {} entries and should have {entries}", found.entries);
                Err(Error::Log(ironwal::Error::Corruption(what)))
            }
            _ => Ok(entries - damaged.min(entries)),
        }
    }

    /// Takes an error for a finding, unless it says that nothing can be found out.
    fn note(
        &self,
        result: Result<()>,
        stream: Option<&String>,
        ids: Option<Ids>,
        report: &mut Report,
    ) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error @ (Error::Damaged { .. } | Error::Missing { .. } | Error::Log(_))) => {
                let (stream, problem) = (stream.cloned(), error.to_string());
                report.findings.push(Finding { stream, ids, is_damage: true, problem });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Every segment must begin where the one before it ends, but for the gaps that are told.
fn verify_ranges(stream: &Stream, report: &mut Report) {
    let mut finding = |ids: Ids, is_damage: bool, problem: &str| {
        let (stream, problem) = (Some(stream.name.clone()), problem.to_string());
        report.findings.push(Finding { stream, ids: Some(ids), is_damage, problem });
    };
    let mut due = stream.segments.first().map_or(0, |segment| segment.first_id);
    for segment in &stream.segments {
        let is_told = stream.gaps.contains(&Ids { from: due, to: segment.first_id });
        if segment.first_id != due && !is_told {
            let ids = Ids { from: due, to: segment.first_id };
            finding(ids, true, "segments do not join, and no manifest says why");
        }
        due = segment.next_id;
    }
    for gap in &stream.gaps {
        finding(*gap, false, "they were pruned before they were pushed");
    }
    for ids in stream.segments.iter().flat_map(|segment| &segment.damaged) {
        finding(*ids, false, "they were damaged, or marked as lost, when they were pushed");
    }
}
