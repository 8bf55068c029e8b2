//! What a log must hold, as a model: the judge of every simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ironwal::storage::{SimDisk, Storage};
use ironwal::{Environment, Maintenance, Wal, WalOptions};

/// Opens the log on a simulated disk, as one process of its own, deterministically.
pub(crate) fn open(disk: &SimDisk, options: &WalOptions) -> ironwal::Result<Wal> {
    open_on(Arc::new(disk.process()), options)
}

/// The same on any disk.
pub(crate) fn open_on(storage: Arc<dyn Storage>, options: &WalOptions) -> ironwal::Result<Wal> {
    let environment = Environment::default()
        .with_storage(storage)
        .with_entropy(|| 0x5A17)
        .with_maintenance(Maintenance::Inline);
    Wal::open_with(options.clone(), environment)
}

/// What is known of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamModel {
    /// The committed entries.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Where the appends begin that the entries came in: a crash never cuts one through.
    bounds: Vec<usize>,
    /// How many entries must survive power loss.
    pub(crate) power_safe: usize,
    /// An append that failed: it may be there after a crash, whole, or not.
    failed: Option<Vec<Vec<u8>>>,
}

/// What is known of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) streams: BTreeMap<String, StreamModel>,
}

/// The worst that happened since the log was last seen whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum After {
    /// It was closed.
    Close,
    /// The process was killed.
    Kill,
    /// A sync failed, so what was not durable may be gone from the page cache too; or the power was
    /// lost.
    PowerLoss,
}

impl StreamModel {
    /// An append was acknowledged.
    pub(crate) fn committed(&mut self, entries: &[Vec<u8>], power_safe: bool) {
        assert!(self.failed.is_none(), "an append succeeded on a poisoned stream");
        self.bounds.push(self.entries.len());
        self.entries.extend_from_slice(entries);
        if power_safe {
            self.synced();
        }
    }

    /// Everything was made durable.
    pub(crate) fn synced(&mut self) {
        self.power_safe = self.entries.len();
    }

    /// An append was refused; it may have been written. Later ones on a poisoned stream are not.
    pub(crate) fn failed(&mut self, entries: &[Vec<u8>]) {
        self.failed.get_or_insert_with(|| entries.to_vec());
    }

    /// Checks what was recovered, and takes it for what is known from now on.
    pub(crate) fn recovered(&mut self, name: &str, recovered: Vec<Vec<u8>>, after: After) {
        let mut all = self.entries.clone();
        let committed = all.len();
        let mut bounds = self.bounds.clone();
        if let Some(failed) = &self.failed {
            bounds.push(all.len());
            all.extend_from_slice(failed);
        }
        bounds.push(all.len());
        let floor = match after {
            After::Close | After::Kill => committed,
            After::PowerLoss => self.power_safe,
        };
        let count = recovered.len();
        assert!(
            count >= floor,
            "stream {name}: {count} entries recovered, {floor} were acknowledged ({after:?})"
        );
        assert!(
            count <= all.len(),
            "stream {name}: {count} entries, {} were ever appended",
            all.len()
        );
        for (id, (found, expected)) in recovered.iter().zip(&all).enumerate() {
            assert_eq!(found, expected, "stream {name}: entry {id} differs");
        }
        assert!(bounds.contains(&count), "stream {name}: a batch was cut through at {count}");
        bounds.retain(|bound| *bound < count);
        *self = Self { entries: recovered, bounds, power_safe: count, failed: None };
    }
}

impl Model {
    /// The model of a stream.
    pub(crate) fn stream(&mut self, name: &str) -> &mut StreamModel {
        self.streams.entry(name.to_string()).or_default()
    }

    /// Checks everything that was recovered.
    pub(crate) fn recovered(&mut self, wal: &Wal, after: After) {
        for name in wal.streams() {
            assert!(self.streams.contains_key(&name), "stream {name} was invented");
        }
        for (name, stream) in &mut self.streams {
            let recovered = read_all(wal, name);
            stream.recovered(name, recovered, after);
            let handle = wal.stream(name).unwrap();
            let end = stream.entries.len() as u64;
            assert_eq!((handle.next_id(), handle.durable_end()), (end, end), "stream {name}");
        }
    }

    /// Checks that exactly what is committed can be read.
    pub(crate) fn check_reads(&self, wal: &Wal) {
        for (name, stream) in &self.streams {
            assert_eq!(read_all(wal, name), stream.entries, "stream {name}");
            let count = stream.entries.len() as u64;
            assert_eq!(wal.get(name, count).unwrap(), None);
        }
    }
}

/// All entries, read in order, with their ids checked.
pub(crate) fn read_all(wal: &Wal, name: &str) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in wal.iter_with_ids(name, 0).unwrap() {
        let (id, entry) = entry.unwrap();
        assert_eq!(id, entries.len() as u64, "stream {name}: ids are not consecutive");
        entries.push(entry);
    }
    entries
}
