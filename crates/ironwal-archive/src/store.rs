//! The store, with what it does not do by itself: blocking, time-outs, attempts, and clean messages.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::error::{Error, Result};
use crate::runtime::{Runtime, UnderWay};
use crate::secrets::Secrets;

/// How patient an archive is with its store.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use ironwal_archive::{Archive, Error, Patience};
/// # use object_store::memory::InMemory;
/// # use object_store::throttle::{ThrottleConfig, ThrottledStore};
/// # let wait_list_per_call = Duration::from_secs(3600);
/// # let slow = ThrottleConfig { wait_list_per_call, ..ThrottleConfig::default() };
/// # let slow = ThrottledStore::new(InMemory::new(), slow);
/// let mut patience = Patience::default();
/// patience.timeout = Duration::from_millis(1);
/// patience.tries = 1;
/// // The store takes an hour to answer.
/// let archive = Archive::new(Arc::new(slow), "an/archive")?.with_patience(patience);
/// let error = archive.newest().unwrap_err();
/// assert!(matches!(&error, Error::Store { doing: "list", .. }));
/// assert!(error.is_transient());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request is made that fails for a reason that may pass; at least once.
    pub tries: u32,
    /// How long to wait before the second attempt; twice as long before each further one.
    pub pause: Duration,
    /// How many objects are written at the same time.
    pub in_flight: usize,
}

impl Default for Patience {
    /// A minute for each request, five attempts, 200 ms before the second one, four at a time.
    fn default() -> Self {
        let (timeout, pause) = (Duration::from_secs(60), Duration::from_millis(200));
        Self { timeout, tries: 5, pause, in_flight: 4 }
    }
}

/// Whether an object was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    Now,
    /// It is there, by this or another writer, now or before.
    Before,
}

#[derive(Clone)]
pub(crate) struct Store {
    client: Client,
    runtime: Arc<Runtime>,
}

/// What futures take with them.
#[derive(Clone)]
struct Client {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    patience: Patience,
    secrets: Secrets,
    stop: Arc<AtomicBool>,
}

impl Store {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        secrets: Secrets,
        patience: Patience,
    ) -> Result<Self> {
        let stop = Arc::default();
        let client = Client { store, prefix, patience, secrets, stop };
        Ok(Self { client, runtime: Arc::new(Runtime::new()?) })
    }

    pub(crate) fn set_patience(&mut self, patience: Patience) {
        self.client.patience = patience;
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.client.patience
    }

    /// From when this is set on, everything fails with [`Error::Interrupted`].
    pub(crate) fn set_stop(&mut self, stop: Arc<AtomicBool>) {
        self.client.stop = stop;
    }

    pub(crate) fn check_stop(&self) -> Result<()> {
        match self.client.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Creates an object, if there is none of that name.
    pub(crate) fn create(&self, name: &str, content: Bytes) -> Result<Created> {
        let client = self.client.clone();
        let name = name.to_string();
        self.runtime.start(async move { client.create(&name, content).await }).wait()
    }

    /// Puts a piece of data in place, whose name says what it contains: also if a part of it is there already.
    /// With `looks_first` it is not sent if it seems to be there.
    pub(crate) fn put_data(
        &self,
        name: &str,
        content: Bytes,
        looks_first: bool,
    ) -> UnderWay<Result<()>> {
        let client = self.client.clone();
        let name = name.to_string();
        self.runtime.start(async move { client.put_data(&name, content, looks_first).await })
    }

    /// Replaces an object.
    pub(crate) fn replace(&self, name: &str, content: Bytes) -> Result<()> {
        let client = self.client.clone();
        let name = name.to_string();
        let put = async move { client.put(&name, content, PutMode::Overwrite).await.map(|_| ()) };
        self.runtime.start(put).wait()
    }

    /// The content of an object; `None` if there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.start_get(name).wait()
    }

    pub(crate) fn start_get(&self, name: &str) -> UnderWay<Result<Option<Bytes>>> {
        let client = self.client.clone();
        let name = name.to_string();
        self.runtime.start(async move { client.get(&name).await })
    }

    /// How many bytes an object has; `None` if there is none.
    pub(crate) fn len(&self, name: &str) -> Result<Option<u64>> {
        let client = self.client.clone();
        let name = name.to_string();
        self.runtime.start(async move { client.len(&name).await }).wait()
    }

    /// The names of the objects below `dir`, in their order; of those behind `after`, if it is given.
    pub(crate) fn list(&self, dir: &str, after: Option<&str>) -> Result<Vec<String>> {
        let client = self.client.clone();
        let (dir, after) = (dir.to_string(), after.map(str::to_string));
        self.runtime.start(async move { client.list(&dir, after.as_deref()).await }).wait()
    }

    /// Deletes an object, if it is there.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let client = self.client.clone();
        let name = name.to_string();
        self.runtime.start(async move { client.delete(&name).await }).wait()
    }
}

impl Client {
    async fn create(&self, name: &str, content: Bytes) -> Result<Created> {
        self.put(name, content, PutMode::Create).await
    }

    async fn put_data(&self, name: &str, content: Bytes, looks_first: bool) -> Result<()> {
        let len = content.len() as u64;
        if looks_first && self.len(name).await? == Some(len) {
            return Ok(());
        }
        if self.create(name, content.clone()).await? == Created::Before
            && self.len(name).await? != Some(len)
        {
            self.put(name, content, PutMode::Overwrite).await?;
        }
        Ok(())
    }

    async fn put(&self, name: &str, content: Bytes, mode: PutMode) -> Result<Created> {
        let path = self.path(name);
        let put = || {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            let (content, path) = (content.clone(), &path);
            async move { self.store.put_opts(path, content.into(), options).await.map(|_| ()) }
        };
        match self.attempt(put).await {
            Ok(()) => Ok(Created::Now),
            Err(Failed::Store(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            )) => Ok(Created::Before),
            Err(Failed::Store(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            )) => Err(Error::NoConditionalPut),
            Err(failed) => Err(self.error("write", name, failed)),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.path(name);
        let get = || async { self.store.get(&path).await?.bytes().await };
        match self.attempt(get).await {
            Ok(content) => Ok(Some(content)),
            Err(Failed::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(failed) => Err(self.error("read", name, failed)),
        }
    }

    async fn len(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name);
        let head = || async { self.store.head(&path).await };
        match self.attempt(head).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Failed::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(failed) => Err(self.error("look at", name, failed)),
        }
    }

    async fn list(&self, dir: &str, after: Option<&str>) -> Result<Vec<String>> {
        let prefix = self.path(dir);
        let list = || async {
            let mut listed = match after {
                Some(after) => self.store.list_with_offset(Some(&prefix), &self.path(after)),
                None => self.store.list(Some(&prefix)),
            };
            let mut names = Vec::new();
            while let Some(found) = listed.next().await {
                let found = found?;
                names.extend(self.name(&found.location));
            }
            Ok(names)
        };
        let listed = self.attempt(list).await;
        let mut names = listed.map_err(|failed| self.error("list", dir, failed))?;
        names.sort_unstable();
        Ok(names)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        let delete = || async { self.store.delete(&path).await };
        match self.attempt(delete).await {
            Ok(()) | Err(Failed::Store(object_store::Error::NotFound { .. })) => Ok(()),
            Err(failed) => Err(self.error("delete", name, failed)),
        }
    }

    /// The path of an object by its name in the archive.
    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    /// The name in the archive of an object.
    fn name(&self, path: &Path) -> Option<String> {
        let rest = path.prefix_match(&self.prefix)?;
        Some(rest.map(|part| part.as_ref().to_string()).collect::<Vec<_>>().join("/"))
    }

    async fn attempt<T, F>(&self, request: impl Fn() -> F) -> std::result::Result<T, Failed>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut pause = self.patience.pause;
        let mut attempt = 1;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failed::Stopped);
            }
            let failed = match tokio::time::timeout(self.patience.timeout, request()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => Failed::Store(error),
                Err(_) => Failed::TimedOut,
            };
            if attempt >= self.patience.tries || !failed.may_pass() {
                return Err(failed);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn error(&self, doing: &'static str, name: &str, failed: Failed) -> Error {
        let is_transient = failed.may_pass();
        let cause = match failed {
            Failed::Stopped => return Error::Interrupted,
            Failed::TimedOut => {
                format!("no answer within {:?}", self.patience.timeout)
            }
            Failed::Store(error) => self.secrets.redact(&error.to_string()),
        };
        Error::Store { doing, object: name.to_string(), cause, is_transient }
    }
}

/// Why a request failed.
enum Failed {
    Store(object_store::Error),
    TimedOut,
    Stopped,
}

impl Failed {
    fn may_pass(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Stopped => false,
            Self::Store(error) => matches!(error, object_store::Error::Generic { .. }),
        }
    }
}
