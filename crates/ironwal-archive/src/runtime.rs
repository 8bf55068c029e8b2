//! One thread that drives what the store is asked for, so that callers can block, from any thread and also
//! from within a runtime of their own.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

pub(crate) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a future will return that is under way.
pub(crate) struct UnderWay<T>(mpsc::Receiver<T>);

impl Runtime {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread =
            std::thread::Builder::new().name("ironwal-archive".into()).spawn(move || {
                // An error says that the sender is gone, which means the same.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> UnderWay<T> {
        let (done, receiver) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Who does not wait does not want it.
            let _ = done.send(future.await);
        });
        UnderWay(receiver)
    }
}

impl<T> UnderWay<Result<T>> {
    /// Blocks until it is there.
    pub(crate) fn wait(self) -> Result<T> {
        // It is lost if the future panicked.
        self.0.recv().unwrap_or_else(|_| {
            Err(Error::Store {
                doing: "reach",
                object: "the store".into(),
                cause: "its client ended unexpectedly".into(),
                is_transient: false,
            })
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
