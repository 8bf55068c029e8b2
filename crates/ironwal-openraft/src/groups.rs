//! Many groups in one log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use ironwal::{Wal, WalOptions};

use crate::completer::{Completer, lock};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::options::GroupOptions;

/// The Raft groups of one log: each is a stream of the [`Wal`], and all of them share its syncs through its
/// journal. Clones are handles on the same groups.
///
/// ```
/// use ironwal_openraft::Groups;
/// # use std::io::Cursor;
/// # use ironwal_openraft::v0_9::LogStore;
/// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let groups = Groups::open(dir.path())?;
/// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
/// let users: LogStore<TypeConfig> = groups.log_store("users").await?;
/// // Each goes to `openraft::Raft::new` with a state machine.
/// # drop((orders, users));
/// groups.wal().close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Groups {
    wal: Wal,
    options: GroupOptions,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    completer: Arc<Completer>,
    names: Mutex<BTreeMap<String, Name>>,
}

#[derive(Debug)]
struct Name {
    is_open: bool,
    /// Still there after it was closed, while something of it is in flight.
    group: Weak<Group>,
}

/// A group that is open. Ends it when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    group: Arc<Group>,
    shared: Arc<Shared>,
}

impl Groups {
    /// Opens the log in the directory `path`, or creates one, with the default options: every append is
    /// durable when openraft is told so. Blocks on the disk.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # use ironwal_openraft::Groups;
    /// # use ironwal_openraft::v0_9::LogStore;
    /// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let groups = Groups::open(dir.path())?;
    /// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// # drop(orders);
    /// groups.wal().close()?;
    /// // The log is there again, with its groups.
    /// let groups = Groups::open(dir.path())?;
    /// assert_eq!(groups.wal().streams(), ["orders"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::new`].
    pub fn open(path: impl Into<PathBuf>) -> ironwal::Result<Self> {
        Ok(Self::new(Wal::new(WalOptions::new(path))?))
    }

    /// Groups in a log that is open already. It may have other streams too.
    ///
    /// Make one `Groups` of a [`Wal`]: another one does not know which groups are open here.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # use std::io::Cursor;
    /// # use ironwal_openraft::Groups;
    /// # use ironwal_openraft::v0_9::LogStore;
    /// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append("settings", b"colour=blue")?; // a stream of the application
    /// let groups = Groups::new(wal.clone());
    /// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// assert_eq!(wal.streams(), ["orders", "settings"]);
    /// # drop(orders);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(wal: Wal) -> Self {
        Self { wal, options: GroupOptions::default(), shared: Arc::default() }
    }

    /// The same groups, with other options for those that are opened through what is returned.
    ///
    /// ```
    /// # use openraft::storage::RaftLogStorageExt;
    /// # use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader};
    /// # use std::io::Cursor;
    /// # use ironwal_openraft::{GroupOptions, Groups};
    /// # use ironwal_openraft::v0_9::LogStore;
    /// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let entry = |index| Entry::<TypeConfig> {
    /// #     log_id: LogId::new(CommittedLeaderId::new(1, 0), index),
    /// #     payload: EntryPayload::Normal("tea".to_string()),
    /// # };
    /// let options = GroupOptions { read_len_max: 1, ..GroupOptions::default() };
    /// let groups = Groups::open(dir.path())?.with_options(options);
    /// let mut orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// orders.blocking_append([entry(0), entry(1)]).await?;
    /// // One entry may be larger than the limit, and comes alone.
    /// assert_eq!(orders.limited_get_log_entries(0, 2).await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_options(mut self, options: GroupOptions) -> Self {
        self.options = options;
        self
    }

    /// The log.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # use ironwal_openraft::Groups;
    /// # use ironwal_openraft::v0_9::LogStore;
    /// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let groups = Groups::open(dir.path())?;
    /// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// assert_eq!(groups.wal().streams(), ["orders"]); // each group is a stream
    /// drop(orders);
    /// groups.wal().close()?; // tells what could not be written, as dropping cannot
    /// assert!(groups.log_store::<TypeConfig>("orders").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Reads the records of a group. Blocks on the disk.
    pub(crate) fn open_group(&self, name: &str) -> Result<OpenGroup> {
        let before = {
            let mut names = lock(&self.shared.names);
            let closed = Name { is_open: false, group: Weak::new() };
            let entry = names.entry(name.to_string()).or_insert(closed);
            if entry.is_open {
                return Err(Error::AlreadyOpen(name.to_string()));
            }
            entry.is_open = true;
            entry.group.upgrade()
        };
        let opened = self.read_group(name, before);
        let mut names = lock(&self.shared.names);
        match &opened {
            Ok(group) => {
                let group = Arc::downgrade(group);
                names.insert(name.to_string(), Name { is_open: true, group });
            }
            Err(_) => drop(names.remove(name)),
        }
        drop(names);
        Ok(OpenGroup { group: opened?, shared: Arc::clone(&self.shared) })
    }

    fn read_group(&self, name: &str, before: Option<Arc<Group>>) -> Result<Arc<Group>> {
        if let Some(before) = before {
            before.wait_until_idle();
        }
        let stream = self.wal.stream(name)?;
        let completer = Arc::clone(&self.shared.completer);
        Ok(Arc::new(Group::open(stream, self.options, completer)?))
    }
}

impl OpenGroup {
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Drop for OpenGroup {
    fn drop(&mut self) {
        self.group.finish();
        let mut names = lock(&self.shared.names);
        if let Some(name) = names.get_mut(self.group.name()) {
            name.is_open = false;
        }
    }
}
