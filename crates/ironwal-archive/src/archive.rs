//! An archive: where it is, and its manifests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use object_store::ObjectStore;
use object_store::path::Path;

use crate::error::{Error, Result};
use crate::manifest::{ARCHIVE_VERSION, Identity, Manifest, Piece, Unreadable, sha256};
use crate::names;
use crate::secrets::Secrets;
use crate::store::{Patience, Store};
use crate::url;

/// An archive in an object store. A handle: opening it reads nothing. All calls block.
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
/// let reader = archive.clone(); // on the same archive
/// assert_eq!(reader.newest()?, None);
/// # wal.append("orders", b"tea")?;
/// archiver.push(Tails::Ship)?;
/// assert!(reader.newest()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Archive {
    pub(crate) store: Store,
}

/// A manifest as it is in the store.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub(crate) manifest: Manifest,
    pub(crate) sha256: String,
    /// The highest number there is: above it if the newest ones are cut short.
    pub(crate) number: u64,
}

impl Archive {
    /// The archive at `prefix` in a store.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal_archive::{Archive, Error};
    /// # use object_store::memory::InMemory;
    /// # let store = Arc::new(InMemory::new());
    /// // A store has room for many archives, each below a prefix of its own.
    /// let orders = Archive::new(store.clone(), "prod/orders")?;
    /// let users = Archive::new(store.clone(), "prod/users")?;
    /// assert!(orders.newest()?.is_none() && users.newest()?.is_none());
    /// let refused = Archive::new(store, "prod//users");
    /// assert!(matches!(refused, Err(Error::Config(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the prefix is no path. [`Error::Log`]: no thread could be started.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(|error| Error::Config(error.to_string()))?;
        let secrets = Secrets::of_environment();
        Ok(Self { store: Store::new(store, prefix, secrets, Patience::default())? })
    }

    /// The archive at an address: `file:///path`, or with the features for it `s3://bucket/path`,
    /// `gs://bucket/path`, `az://container/path`. Credentials, regions and endpoints come from the environment,
    /// under the names that `object_store` documents (`AWS_ACCESS_KEY_ID` and so on): an address that holds
    /// some is refused.
    ///
    /// ```
    /// # use ironwal_archive::{Archive, Error};
    /// # let dir = tempfile::tempdir()?;
    /// let archive = Archive::open(&format!("file://{}", dir.path().display()))?;
    /// assert_eq!(archive.newest()?, None);
    /// let refused = Archive::open("s3://key:secret@bucket/path");
    /// assert!(matches!(refused, Err(Error::Config(told)) if !told.contains("secret")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the address cannot be used, or what the environment says. [`Error::Log`].
    pub fn open(address: &str) -> Result<Self> {
        let (store, prefix) = url::open(address)?;
        Self::new(store, prefix.as_ref())
    }

    /// The archive with other time-outs.
    ///
    /// See [`Patience`] for an example.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.store.set_patience(patience);
        self
    }

    /// The archive with something that stops it: once it is set, everything that is done with this handle ends
    /// with [`Error::Interrupted`], as soon as requests that are under way have come to an end.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// # use ironwal_archive::{Archive, Error};
    /// # use object_store::memory::InMemory;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let stoppable = archive.clone().with_stop(Arc::clone(&stop));
    /// assert_eq!(stoppable.newest()?, None);
    /// stop.store(true, Ordering::Relaxed);
    /// assert!(matches!(stoppable.newest(), Err(Error::Interrupted)));
    /// assert_eq!(archive.newest()?, None); // another handle
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.store.set_stop(stop);
        self
    }

    /// The newest manifest; `None` if there is no archive yet.
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
    /// assert_eq!(archive.newest()?, None);
    /// # wal.append("orders", b"tea")?;
    /// archiver.push(Tails::Ship)?;
    /// // With manifest 1 the archiver took the archive, manifest 2 holds what it pushed.
    /// assert_eq!(archive.newest()?.map(|manifest| manifest.number), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Version`], [`Error::Damaged`], [`Error::Store`].
    pub fn newest(&self) -> Result<Option<Manifest>> {
        Ok(self.find_newest()?.ok().map(|newest| newest.manifest))
    }

    /// The newest manifest.
    ///
    /// # Errors
    ///
    /// [`Error::NoArchive`], and those of [`Archive::newest`].
    pub(crate) fn existing(&self) -> Result<Manifest> {
        self.newest()?.ok_or(Error::NoArchive)
    }

    /// The manifest of a number; `None` if there is none.
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
    /// for entry in [b"tea", b"jam"] {
    ///     wal.append("orders", entry)?;
    ///     archiver.push(Tails::Ship)?;
    /// }
    /// // The older one is still there.
    /// let older = archive.manifest(2)?.ok_or("there is no manifest 2")?;
    /// assert_eq!(older.stream("orders").map(|stream| stream.ids()), Some(0..1));
    /// assert_eq!(archive.manifest(9)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Version`], [`Error::Damaged`], [`Error::Store`].
    pub fn manifest(&self, number: u64) -> Result<Option<Manifest>> {
        let Some(bytes) = self.store.get(&names::manifest(number))? else { return Ok(None) };
        Manifest::decode(&bytes).map(Some).map_err(|unreadable| unreadable.of(number))
    }

    /// The numbers of all manifests, in their order.
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
    /// assert!(archive.manifests()?.is_empty());
    /// wal.append("orders", b"tea")?;
    /// archiver.push(Tails::Ship)?;
    /// assert_eq!(archive.manifests()?, [1, 2]);
    /// archiver.push(Tails::Ship)?; // nothing is new
    /// assert_eq!(archive.manifests()?, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub fn manifests(&self) -> Result<Vec<u64>> {
        let names = self.store.list(names::MANIFESTS, None)?;
        Ok(names.iter().filter_map(|name| names::manifest_number(name)).collect())
    }

    /// The newest manifest; or, without one, the number that the first one is to be above: nobody was told of
    /// manifests up to there, which are cut short.
    pub(crate) fn find_newest(&self) -> Result<std::result::Result<Newest, u64>> {
        let numbers = self.manifests()?;
        let highest = numbers.last().copied().unwrap_or(0);
        for number in numbers.into_iter().rev() {
            let name = names::manifest(number);
            let Some(bytes) = self.store.get(&name)? else {
                return Err(Error::Missing { object: name });
            };
            match Manifest::decode(&bytes) {
                Ok(manifest) if manifest.number == number => {
                    return Ok(Ok(Newest { manifest, sha256: sha256(&bytes), number: highest }));
                }
                Ok(_) => {
                    let reason = "it says that it has another number".into();
                    return Err(Error::Damaged { object: name, reason });
                }
                // Nobody was told that it is there.
                Err(Unreadable::CutShort) => {}
                Err(unreadable) => return Err(unreadable.of(number)),
            }
        }
        Ok(Err(highest))
    }

    /// The log that the archive is of, if there is one.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        let object = names::IDENTITY.to_string();
        let Some(bytes) = self.store.get(&object)? else { return Ok(None) };
        let damaged = |reason: String| Error::Damaged { object: object.clone(), reason };
        let identity: Identity =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if identity.format != Identity::FORMAT {
            return Err(damaged("it is of something else".into()));
        }
        if identity.version > ARCHIVE_VERSION {
            let (found, supported) = (identity.version, ARCHIVE_VERSION);
            return Err(Error::Version { found, supported });
        }
        Ok(Some(identity))
    }

    /// The content of an object, which is what a manifest says.
    pub(crate) fn fetch(&self, name: &str, piece: &Piece) -> Result<bytes::Bytes> {
        check(name, piece, self.store.get(name)?)
    }
}

/// The content, if it is what a manifest says.
pub(crate) fn check(
    name: &str,
    piece: &Piece,
    content: Option<bytes::Bytes>,
) -> Result<bytes::Bytes> {
    let object = name.to_string();
    let Some(content) = content else { return Err(Error::Missing { object }) };
    if content.len() as u64 != piece.len {
        let reason = format!("it has {} bytes and had {}", content.len(), piece.len);
        return Err(Error::Damaged { object, reason });
    }
    let found = sha256(&content);
    if found != piece.sha256 {
        let reason = format!("its SHA-256 is {found} and was {}", piece.sha256);
        return Err(Error::Damaged { object, reason });
    }
    Ok(content)
}

impl fmt::Debug for Archive {
    /// Says nothing of the store, which may know credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Archive").finish_non_exhaustive()
    }
}
