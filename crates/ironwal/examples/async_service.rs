//! A service on `tokio`: a thousand tasks append, none of them keeps a thread waiting for the disk, and a
//! projection is fed as entries are committed.

use futures::StreamExt;
use ironwal::{Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const REQUESTS: u64 = 1000;

/// Handles one request: the answer is given when the order is on stable storage. Appends of all tasks
/// share syncs. If the task is cancelled while it waits, the order is appended all the same.
async fn order(wal: Wal, customer: u64) -> Result<u64> {
    // Does not wait for the disk, but for room if too much is on its way.
    let pending = wal.stream("orders")?.submit(&customer.to_le_bytes())?;
    Ok(pending.await?)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_path_buf();
    // Opening and closing work on the disk, so they have a thread of their own.
    let wal = tokio::task::spawn_blocking(move || Wal::new(WalOptions::new(path))).await??;

    let mut orders = wal.stream("orders")?.follow(0).into_async();
    let projection = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(entry) = orders.next().await {
            let (id, entry) = entry?;
            sum += u64::from_le_bytes(entry[..].try_into()?);
            if id + 1 == REQUESTS {
                break;
            }
        }
        Result::Ok(sum)
    });

    let requests: Vec<_> =
        (0..REQUESTS).map(|customer| tokio::spawn(order(wal.clone(), customer))).collect();
    let mut ids = Vec::new();
    for request in requests {
        ids.push(request.await??);
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..REQUESTS));
    assert_eq!(projection.await??, REQUESTS * (REQUESTS - 1) / 2);

    tokio::task::spawn_blocking(move || wal.close()).await??;
    Ok(())
}
