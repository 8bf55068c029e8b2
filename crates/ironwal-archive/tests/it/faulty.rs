//! A store that fails as stores do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// It fails, and nothing was done.
    Failed,
    /// It was done, and nobody is told: an error.
    DoneUntold,
    /// It was done, and no answer comes.
    DoneUnanswered,
    /// No answer comes, and nothing was done.
    Unanswered,
    /// Of an object that was to be written, the beginning is there; an error.
    Partial,
    /// It takes its time.
    Slow,
    /// From now on nothing is done any more, and everything fails at once: this was the last thing that the process
    /// did, or nearly did.
    Crashed {
        done: bool,
    },
}

type Fates = Box<dyn FnMut(u64) -> Fate + Send>;

/// A store in memory whose calls have fates, by their numbers, from 0.
pub(crate) struct Faulty {
    pub(crate) inner: Arc<InMemory>,
    fates: Arc<Mutex<Fates>>,
    calls: Arc<AtomicU64>,
    crashed: Arc<std::sync::atomic::AtomicBool>,
}

impl Faulty {
    pub(crate) fn new(
        inner: &Arc<InMemory>,
        fates: impl FnMut(u64) -> Fate + Send + 'static,
    ) -> Arc<Self> {
        let fates: Fates = Box::new(fates);
        Arc::new(Self {
            inner: Arc::clone(inner),
            fates: Arc::new(Mutex::new(fates)),
            calls: Arc::default(),
            crashed: Arc::default(),
        })
    }

    /// One whose process ends at a call.
    pub(crate) fn crashing(inner: &Arc<InMemory>, at: u64, done: bool) -> Arc<Self> {
        Self::new(inner, move |call| if call == at { Fate::Crashed { done } } else { Fate::Done })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.has_crashed() {
            return Fate::Crashed { done: false };
        }
        let fate = (self.fates.lock().unwrap())(call);
        if matches!(fate, Fate::Crashed { .. }) {
            self.crashed.store(true, Ordering::SeqCst);
        }
        fate
    }

    async fn meet<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        meet(self.fate(), call).await
    }
}

/// Does a call as its fate wants it.
async fn meet<T>(fate: Fate, call: impl Future<Output = Result<T>>) -> Result<T> {
    match fate {
        // What is partial is so only when something is written.
        Fate::Done => call.await,
        Fate::Failed | Fate::Partial => Err(failed()),
        Fate::DoneUntold => call.await.and_then(|_| Err(failed())),
        Fate::DoneUnanswered => {
            let _ = call.await;
            std::future::pending().await
        }
        Fate::Unanswered => std::future::pending().await,
        Fate::Slow => {
            tokio::time::sleep(Duration::from_millis(2)).await;
            call.await
        }
        Fate::Crashed { done } => {
            if done {
                let _ = call.await;
            }
            Err(crashed())
        }
    }
}

fn failed() -> Error {
    Error::Generic { store: "faulty", source: "injected".into() }
}

/// Nothing tries again after it.
fn crashed() -> Error {
    Error::PermissionDenied { path: String::new(), source: "the process has ended".into() }
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.fate();
        if fate == Fate::Partial {
            let bytes: Vec<u8> = payload.iter().flat_map(|part| part.iter().copied()).collect();
            let half = bytes[..bytes.len() / 2].to_vec();
            // What was there stays, where it must not be replaced.
            let options = PutOptions { mode: options.mode, ..PutOptions::default() };
            self.inner.put_opts(location, half.into(), options).await?;
            return Err(failed());
        }
        meet(fate, self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = Self {
            inner: Arc::clone(&self.inner),
            fates: Arc::clone(&self.fates),
            calls: Arc::clone(&self.calls),
            crashed: Arc::clone(&self.crashed),
        };
        let this = Arc::new(this);
        locations
            .then(move |location| {
                let this = Arc::clone(&this);
                async move {
                    let location = location?;
                    this.meet(this.inner.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate() {
            Fate::Done | Fate::Slow => self.inner.list(prefix),
            Fate::Unanswered | Fate::DoneUnanswered => futures_util::stream::pending().boxed(),
            Fate::Crashed { .. } => futures_util::stream::iter([Err(crashed())]).boxed(),
            _ => futures_util::stream::iter([Err(failed())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A store that overwrites what is to be created only.
#[derive(Debug)]
pub(crate) struct Overwriting(pub(crate) Arc<InMemory>);

impl std::fmt::Display for Overwriting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("overwriting")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Overwriting {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let options = PutOptions { mode: PutMode::Overwrite, ..options };
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// The names of all objects, sorted.
pub(crate) fn names(store: &InMemory) -> Vec<String> {
    let listed = store.list(None).map(|found| found.unwrap().location.to_string());
    let mut names: Vec<String> = block_on(listed.collect());
    names.sort();
    names
}

/// The content of an object.
pub(crate) fn get(store: &InMemory, name: &str) -> Vec<u8> {
    let path = Path::from(name);
    block_on(async { store.get(&path).await.unwrap().bytes().await.unwrap().to_vec() })
}

pub(crate) fn put(store: &InMemory, name: &str, content: Vec<u8>) {
    let path = Path::from(name);
    block_on(async { store.put(&path, content.into()).await.unwrap() });
}

pub(crate) fn delete(store: &InMemory, name: &str) {
    let path = Path::from(name);
    block_on(async { store.delete(&path).await.unwrap() });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
