//! Appends and followers as futures: who is told what, who is woken, and that a future that goes away
//! leaves nothing behind.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{
    Environment, Error, Journal, Maintenance, Pending, Stream, SyncMode, Wal, WalOptions,
};

use crate::hooked::Hooked;
use crate::seeds::MODES;

const JOURNALS: [Journal; 3] = [Journal::Auto, Journal::On, Journal::Off];

/// Nothing becomes durable by itself.
fn disk(seed: u64) -> SimDisk {
    let config = SimConfig { seed, eviction: 0.0, write_back: 0.0, ..SimConfig::default() };
    SimDisk::with_config(config)
}

fn open_with(disk: &SimDisk, options: WalOptions, journal: Journal, how: Maintenance) -> Wal {
    let environment = Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_maintenance(how)
        .with_journal(journal);
    Wal::open_with(options, environment).unwrap()
}

fn open(disk: &SimDisk, sync_mode: SyncMode) -> Wal {
    let options = WalOptions { sync_mode, ..WalOptions::new("/log") };
    open_with(disk, options, Journal::Auto, Maintenance::Thread)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(count));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn whoever_awaits_is_told_when_it_is_committed() {
    for (mode, journal) in MODES.into_iter().flat_map(|mode| JOURNALS.map(|it| (mode, it))) {
        // With room for all of them, and with segments of three, so that they queue for room.
        for max_entries_per_segment in [u64::MAX, 3] {
            let disk = disk(1);
            let options =
                WalOptions { sync_mode: mode, max_entries_per_segment, ..WalOptions::new("/log") };
            let wal = open_with(&disk, options.clone(), journal, Maintenance::Thread);
            let streams = ["a", "b"].map(|name| wal.stream(name).unwrap());
            let pending = (0..200_u64).map(|nth| {
                let stream = &streams[usize::from(nth % 2 == 1)];
                stream.submit(&nth.to_le_bytes()).unwrap()
            });
            let ids = block_on(join_all(pending.collect::<Vec<_>>()));
            for (nth, id) in ids.into_iter().enumerate() {
                assert_eq!(id.unwrap(), nth as u64 / 2, "{mode:?}, {journal:?}");
            }
            assert!(streams.iter().all(|stream| stream.next_id() == 100));
            if mode == SyncMode::Strict {
                disk.crash();
                drop((wal, streams));
                let wal = open_with(&disk, options, journal, Maintenance::Thread);
                for (name, first) in [("a", 0_u64), ("b", 1)] {
                    let found: Vec<_> = wal.iter(name, 0).unwrap().map(Result::unwrap).collect();
                    let expected: Vec<_> =
                        (first..200).step_by(2).map(|nth| nth.to_le_bytes().to_vec()).collect();
                    assert_eq!(found, expected, "{journal:?}");
                }
            }
        }
    }
}

/// It goes on in an `async` function, on whatever thread, beside others.
#[test]
fn tasks_on_several_threads_append_one_after_another() {
    let wal = open(&disk(1), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    let task = |stream: Stream| async move {
        let mut ids = Vec::new();
        for nth in 0..50_u8 {
            ids.push(stream.submit(&[nth]).unwrap().await.unwrap());
        }
        ids
    };
    let mut ids: Vec<u64> = std::thread::scope(|scope| {
        let spawn = |_| {
            let task = task(stream.clone());
            scope.spawn(move || block_on(task))
        };
        let threads: Vec<_> = (0..4).map(spawn).collect();
        threads
            .into_iter()
            .flat_map(|thread| {
                let ids = thread.join().unwrap();
                assert!(ids.is_sorted());
                ids
            })
            .collect()
    });
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<u64>>());
}

#[test]
fn dropping_a_future_cancels_nothing_and_leaves_no_waker() {
    let wal = open(&disk(1), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    let count = Arc::<Count>::default();
    for nth in 0..100_u64 {
        let mut pending = stream.submit(b"entry").unwrap();
        let _ = poll(&mut pending, &count);
        drop(pending);
        assert_eq!(stream.append(b"behind it").unwrap(), 2 * nth + 1);
    }
    assert_eq!(stream.get(198).unwrap().as_deref(), Some(&b"entry"[..]));
    assert_eq!(Arc::strong_count(&count), 1, "somebody holds a waker of a future that is gone");
}

/// Whoever asks again and again without being woken is registered once.
#[test]
fn a_future_that_is_polled_often_is_woken_once() {
    let wal = open(&disk(1), SyncMode::Async);
    let stream = wal.stream("s").unwrap();
    let mut follower = pin!(stream.follow(0).into_async());
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    for _ in 0..10 {
        assert!(futures::Stream::poll_next(follower.as_mut(), &mut context).is_pending());
    }
    stream.append(b"news").unwrap();
    assert_eq!(count.get(), 1);
    assert!(futures::Stream::poll_next(follower.as_mut(), &mut context).is_ready());
    stream.append(b"nobody has asked since").unwrap();
    assert_eq!(count.get(), 1);
}

/// A thousand followers that wait for other streams are not even looked at.
#[test]
fn followers_of_idle_streams_are_not_woken() {
    let wal = open(&disk(1), SyncMode::Strict);
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut followers: Vec<_> = (0..1000)
        .map(|nth| wal.stream(&format!("idle {nth}")).unwrap().follow(0).into_async())
        .collect();
    for follower in &mut followers {
        let mut context = Context::from_waker(&waker);
        let next = futures::Stream::poll_next(Pin::new(follower), &mut context);
        assert!(next.is_pending());
    }
    for nth in 0..100_u64 {
        assert_eq!(wal.append("busy", b"entry").unwrap(), nth);
    }
    assert_eq!(count.get(), 0);
    wal.append("idle 7", b"news").unwrap();
    assert_eq!(count.get(), 1);
    drop(followers);
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_follower_is_a_stream_of_entries() {
    use futures::StreamExt;
    let wal = open(&disk(1), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    let follower = stream.follow(0).into_async();
    let reader = std::thread::spawn(move || {
        block_on(follower.map(|entry| entry.unwrap().0).take(300).collect::<Vec<u64>>())
    });
    for nth in 0..300_u64 {
        stream.append(&nth.to_le_bytes()).unwrap();
        if nth % 50 == 0 {
            stream.rotate().unwrap();
        }
    }
    assert_eq!(reader.join().unwrap(), (0..300).collect::<Vec<u64>>());
    // It is told once that it was closed, and ends.
    let follower = stream.follow(300).into_async();
    let reader = std::thread::spawn(move || block_on(follower.collect::<Vec<_>>()));
    wal.close().unwrap();
    let told = reader.join().unwrap();
    assert!(matches!(&told[..], [Err(Error::Closed)]), "{told:?}");
}

/// What another process commits.
#[test]
fn a_follower_in_another_process_is_woken_too() {
    use futures::StreamExt;
    let disk = disk(1);
    let wal = open(&disk, SyncMode::Strict);
    wal.append("s", b"there from the beginning").unwrap();
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(WalOptions::new("/log"), environment).unwrap();
    let followers = (0..20).map(|_| reader.stream("s").unwrap().follow(0).into_async());
    let tasks = followers.map(|it| it.map(|entry| entry.unwrap().0).take(100).collect::<Vec<_>>());
    let tasks: Vec<_> = tasks.collect();
    let reading = std::thread::spawn(move || block_on(join_all(tasks)));
    for id in 1..100_u64 {
        assert_eq!(wal.append("s", b"more").unwrap(), id);
    }
    for ids in reading.join().unwrap() {
        assert_eq!(ids, (0..100).collect::<Vec<u64>>());
    }
    let follower = reader.stream("s").unwrap().follow(100).into_async();
    let reading = std::thread::spawn(move || block_on(follower.collect::<Vec<_>>()));
    reader.close().unwrap();
    let told = reading.join().unwrap();
    assert!(matches!(&told[..], [Err(Error::Closed)]), "{told:?}");
}

/// Nobody else would wake it: nothing more happens in the other process.
#[test]
fn a_follower_of_another_process_is_woken_when_its_log_is_closed() {
    let disk = disk(1);
    let _writer = open(&disk, SyncMode::Strict).append("s", b"entry").unwrap();
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(WalOptions::new("/log"), environment).unwrap();
    let mut follower = pin!(reader.stream("s").unwrap().follow(1).into_async());
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert!(futures::Stream::poll_next(follower.as_mut(), &mut context).is_pending());
    reader.close().unwrap();
    assert_eq!(count.get(), 1);
    let end = futures::Stream::poll_next(follower.as_mut(), &mut context);
    assert!(matches!(end, Poll::Ready(Some(Err(Error::Closed)))), "{end:?}");
}

/// A task that goes on in whatever thread wakes it, before that does anything else.
struct Task {
    pending: Mutex<Pending>,
    told: Sender<ironwal::Result<u64>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut pending = self.pending.lock().unwrap();
        if let Poll::Ready(told) = Pin::new(&mut *pending).poll(&mut Context::from_waker(&waker)) {
            self.told.send(told).unwrap();
        }
    }
}

/// It is in no round whose end would tell.
#[test]
fn whoever_waits_for_room_is_told_that_there_is_none() {
    let disk = disk(1);
    let (begun, syncing) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let held = Arc::new(AtomicBool::new(false));
    let hook = {
        let held = Arc::clone(&held);
        move || {
            if held.swap(false, Ordering::SeqCst) {
                begun.send(()).unwrap();
                may_go_on.lock().unwrap().recv().unwrap();
            }
        }
    };
    let environment = Environment::default()
        .with_storage(Arc::new(Hooked::new(&disk).before_sync(hook)))
        // No second ever passes, after which maintenance would wake it.
        .with_clock(|| Duration::ZERO)
        .with_journal(Journal::Off);
    let options = WalOptions { max_segment_size: 4096, ..WalOptions::new("/log") };
    let wal = Wal::open_with(options, environment).unwrap();
    let stream = wal.stream("s").unwrap();
    stream.append(b"first").unwrap();
    held.store(true, Ordering::SeqCst);
    let synced = stream.submit(b"second").unwrap();
    syncing.recv().unwrap();
    // Longer than a segment, so that it takes one of its own, which cannot have been made by now.
    let pending = stream.submit(&[7; 100_000]).unwrap();
    assert_eq!(pending.id(), None);
    let (told, end) = channel();
    Arc::new(Task { pending: Mutex::new(pending), told }).wake();
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used + 8192));
    go_on.send(()).unwrap();
    assert_eq!(block_on(synced).unwrap(), 1);
    let told = end.recv_timeout(Duration::from_secs(20)).expect("nobody woke it");
    assert!(matches!(told, Err(Error::StorageFull { .. })), "{told:?}");
}

/// With inline maintenance nobody else would do it.
#[test]
fn without_threads_the_first_poll_does_the_work() {
    for mode in MODES {
        let disk = disk(1);
        let options =
            WalOptions { sync_mode: mode, max_entries_per_segment: 3, ..WalOptions::new("/log") };
        let wal = open_with(&disk, options, Journal::Auto, Maintenance::Inline);
        let stream = wal.stream("s").unwrap();
        let count = Arc::<Count>::default();
        for nth in 0..20 {
            let mut pending = stream.submit(b"entry").unwrap();
            assert!(matches!(poll(&mut pending, &count), Poll::Ready(Ok(id)) if id == nth));
        }
        assert_eq!(count.get(), 0);
    }
}

/// A sync fails, the disk is full, the stream is deleted, the log is closed: everybody gets an end.
#[test]
fn every_future_gets_an_end() {
    type End = (&'static str, fn(&SimDisk, &Wal));
    const ENDS: [End; 4] = [
        ("a sync fails", |disk, _| {
            disk.fail_nth(CallKind::Sync, 3, std::io::ErrorKind::Other);
        }),
        ("the disk is full", |disk, _| {
            let used = disk.used_bytes();
            disk.configure(|config| config.capacity = Some(used + 8192));
        }),
        ("deleted", |_, wal| wal.delete_stream("s").unwrap()),
        ("closed", |_, wal| wal.close().unwrap()),
    ];
    for ((what, end), journal) in ENDS.into_iter().flat_map(|it| JOURNALS.map(|on| (it, on))) {
        let disk = disk(1);
        let options = WalOptions { max_entries_per_segment: 5, ..WalOptions::new("/log") };
        let wal = open_with(&disk, options, journal, Maintenance::Thread);
        let stream = wal.stream("s").unwrap();
        stream.append(b"before").unwrap();
        let mut pending: Vec<_> = (0..20).map(|_| stream.submit(&[7; 100]).unwrap()).collect();
        end(&disk, &wal);
        pending.extend((0..20).map_while(|_| stream.submit(&[7; 100]).ok()));
        let told = block_on(join_all(pending));
        let committed = told.iter().filter(|told| told.is_ok()).count();
        // What was acknowledged has the ids from 1 on, without a gap.
        let ids: Vec<_> = told.iter().filter_map(|told| told.as_ref().ok()).collect();
        assert!(ids.iter().zip(1..).all(|(id, due)| **id == due), "{what}, {journal:?}: {told:?}");
        assert!(committed <= 40, "{what}, {journal:?}");
    }
}

/// The time that a future waits is not the time that the thread of the log is slow to begin: it sleeps
/// nowhere. Bounded generously, for machines that are busy.
#[test]
fn a_single_append_is_awaited_for_no_longer_than_it_takes() {
    let wal = open(&disk(1), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    let begin = std::time::Instant::now();
    for _ in 0..1000 {
        block_on(stream.submit(b"entry").unwrap()).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
