//! Programs written for 0.6 compile: every item of its public API, with its exact signature. Most of
//! this only has to compile.
#![allow(clippy::type_complexity)] // Spelt out is what they are here for.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::iter::FusedIterator;
use std::ops::{Range, RangeFull, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ironwal::{
    CompressionType, CorruptionPolicy, Environment, Error, ReadStrategy, Result, Stream,
    StreamStats, SyncMode, TxnWriter, Wal, WalIdIterator, WalIterator, WalOptions, WalStats,
};

fn is_shared<T: Send + Sync + 'static>() {}
fn is_cloned<T: Clone>() {}
fn is_shown<T: Debug>() {}
fn is_choice<T: Debug + Clone + Copy + PartialEq + Eq + Send + Sync + 'static>() {}

#[test]
fn types_have_the_traits_that_programs_rely_on() {
    is_shared::<Wal>();
    is_cloned::<Wal>();
    is_shared::<TxnWriter>();
    is_shared::<WalIterator>();
    is_shared::<WalIdIterator>();
    is_shared::<WalOptions>();
    is_shared::<Error>();

    is_choice::<SyncMode>();
    is_choice::<ReadStrategy>();
    is_choice::<CompressionType>();
    is_choice::<CorruptionPolicy>();
    is_cloned::<WalOptions>();
    is_shown::<WalOptions>();
    is_shown::<Error>();

    fn iterates<T: Iterator<Item = Item>, Item>() {}
    iterates::<WalIterator, Result<Vec<u8>>>();
    iterates::<WalIdIterator, Result<(u64, Vec<u8>)>>();

    fn is_error<T: StdError + From<io::Error>>() {}
    is_error::<Error>();
    let _: fn(Result<u8>) -> std::result::Result<u8, Error> = |result| result;
}

#[test]
fn methods_have_the_signatures_of_0_6() {
    let _: fn(WalOptions) -> Result<Wal> = Wal::new;
    let _: fn(&Wal, &str, &[u8]) -> Result<u64> = Wal::append;
    let _: fn(&Wal, &str, &[&[u8]]) -> Result<Range<u64>> = Wal::append_batch;
    let _: fn(&Wal, &str) -> TxnWriter = Wal::writer;
    let _: fn(&Wal, &str, u64) -> Result<Option<Vec<u8>>> = Wal::get;
    let _: fn(&Wal, &str, &[u64]) -> Result<Vec<Option<Vec<u8>>>> = Wal::get_batch;
    let _: fn(&Wal, &str, u64) -> Result<WalIterator> = Wal::iter;
    let _: fn(&Wal, &str, u64) -> Result<usize> = Wal::truncate;
    let _: fn(&Wal, &str) -> Option<u64> = Wal::current_segment_start_id;
    let _: fn(&Wal, &str, u64) -> Result<WalIdIterator> = Wal::iter_with_ids;
    let _: fn(&Wal, &str) -> Result<usize> = Wal::restore_archived;
    let _: fn(&Wal, &str) -> Result<()> = Wal::delete_stream;

    let _: fn(TxnWriter) -> Result<Range<u64>> = TxnWriter::commit;
    let _: fn(&mut TxnWriter, &'static str) = TxnWriter::add;
    let _: fn(&mut TxnWriter, String) = TxnWriter::add;
    let _: fn(&mut TxnWriter, &'static [u8]) = TxnWriter::add;
    let _: fn(&mut TxnWriter, [u8; 3]) = TxnWriter::add;
    let _: fn(&mut TxnWriter, &'static [u8; 3]) = TxnWriter::add;
    let _: fn(&mut TxnWriter, Vec<u8>) = TxnWriter::add;
    let _: fn(&mut TxnWriter, Box<[u8]>) = TxnWriter::add;
    let _: fn(&mut TxnWriter, Cow<'static, [u8]>) = TxnWriter::add;

    let _: fn(&'static str) -> WalOptions = WalOptions::new;
    let _: fn(String) -> WalOptions = WalOptions::new;
    let _: fn(&'static Path) -> WalOptions = WalOptions::new;
    let _: fn(&'static PathBuf) -> WalOptions = WalOptions::new;
    let _: fn(PathBuf) -> WalOptions = WalOptions::new;
}

#[test]
fn options_can_be_spelt_out_and_have_the_defaults_of_0_6() {
    let spelt_out = WalOptions {
        root_path: PathBuf::from("./wal_data"),
        max_segment_size: 67_108_864_u64,
        max_entries_per_segment: u64::MAX,
        max_open_segments: 128_usize,
        max_open_read_segments: 128_usize,
        write_buffer_size: 65_536_usize,
        read_buffer_size: 131_072_usize,
        block_cache_size: None::<u64>,
        sync_mode: SyncMode::Strict,
        compression: CompressionType::None,
        read_strategy: ReadStrategy::StandardIo,
        on_corruption: CorruptionPolicy::Truncate,
        min_compression_size: 1024_usize,
        archive_path: None::<PathBuf>,
    };
    assert_eq!(format!("{spelt_out:?}"), format!("{:?}", WalOptions::default()));

    let elsewhere = WalOptions { root_path: PathBuf::from("/elsewhere"), ..spelt_out };
    assert_eq!(format!("{elsewhere:?}"), format!("{:?}", WalOptions::new("/elsewhere")));
}

#[test]
fn every_choice_of_0_6_is_there() {
    let modes = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async];
    assert!(modes.iter().all(|mode| *mode != SyncMode::Interval(Duration::ZERO)));
    // These two can be matched without a wildcard; 0.6 had no others.
    let strategy = |strategy| match strategy {
        ReadStrategy::StandardIo => "system calls",
        ReadStrategy::Mmap => "memory",
    };
    assert_eq!(strategy(ReadStrategy::Mmap), "memory");
    let policy = |policy| match policy {
        CorruptionPolicy::Truncate => "open",
        CorruptionPolicy::Error => "refuse",
    };
    assert_eq!(policy(CorruptionPolicy::Error), "refuse");
    let compression = |compression| match compression {
        CompressionType::None => "as it is",
        #[cfg(feature = "compression")]
        CompressionType::Lz4 => "compressed",
    };
    assert_eq!(compression(CompressionType::None), "as it is");
}

#[test]
fn errors_have_the_texts_of_0_6() {
    let text = |text: &str| text.to_string();
    let errors: [(Error, &str); 8] = [
        (Error::Io(io::Error::other("no such luck")), "I/O Error: no such luck"),
        (Error::Corruption(text("bits")), "Data Corruption: bits"),
        (
            Error::CrcMismatch { expected: 0xAB_u32, actual: 0xCD_u32, offset: 77_u64 },
            "CRC32 Checksum Mismatch: expected 0xab, got 0xcd at offset 77",
        ),
        (Error::Config(text("zero")), "Configuration Error: zero"),
        (Error::SegmentNotFound(12_u64), "Segment not found for ID: 12"),
        (Error::StreamNotFound(text("orders")), "Stream not found: orders"),
        (Error::InvalidFilename(text("x.y")), "Invalid filename format in WAL directory: x.y"),
        (Error::Serialization(text("cycle")), "Serialization Error: cycle"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.source().is_some(), matches!(error, Error::Io(_)), "{text}");
    }
    let converted = Error::from(io::Error::from(io::ErrorKind::NotFound));
    assert!(matches!(converted, Error::Io(error) if error.kind() == io::ErrorKind::NotFound));
    let full = Error::StorageFull { path: PathBuf::new(), cause: io::Error::other("quota") };
    assert!(full.source().is_none(), "only Io has a source");
}

/// What 0.7 adds; a program that uses it compiles with later versions too.
#[test]
fn methods_that_0_6_did_not_have() {
    is_cloned::<Stream>();
    is_shared::<Stream>();
    is_shown::<Wal>();
    is_shown::<Stream>();
    fn is_read_from_both_ends<T: DoubleEndedIterator<Item = Item> + FusedIterator, Item>() {}
    is_read_from_both_ends::<ironwal::Range, Result<(u64, Bytes)>>();
    is_shared::<ironwal::Range>();
    is_choice::<StreamStats>();
    is_choice::<WalStats>();

    let _: fn(WalOptions, Environment) -> Result<Wal> = Wal::open_with;
    let _: fn(WalOptions) -> Result<Wal> = Wal::open_read_only;
    let _: fn(WalOptions, Environment) -> Result<Wal> = Wal::open_read_only_with;
    let _: fn(&Wal, &str) -> Result<Stream> = Wal::stream;
    let _: fn(&Wal) -> Vec<String> = Wal::streams;
    let _: fn(&Wal) -> Result<()> = Wal::sync_all;
    let _: fn(&Wal) -> WalStats = Wal::stats;
    let _: fn(&Wal) -> Option<Duration> = Wal::maintain;
    let _: fn(&Wal) -> Result<()> = Wal::close;

    let _: fn(&Stream) -> &str = Stream::name;
    let _: fn(&Stream, &[u8]) -> Result<u64> = Stream::append;
    let _: fn(&Stream, u64, &[u8]) -> Result<u64> = Stream::append_at;
    let _: fn(&Stream, &[&[u8]]) -> Result<Range<u64>> = Stream::append_batch;
    let _: fn(&Stream, u64, &[&[u8]]) -> Result<Range<u64>> = Stream::append_batch_at;
    let _: fn(&Stream, u64) -> Result<Option<Bytes>> = Stream::get;
    let _: fn(&Stream, Range<u64>) -> ironwal::Range = Stream::range;
    let _: fn(&Stream, RangeFull) -> ironwal::Range = Stream::range;
    let _: fn(&Stream, RangeInclusive<u64>) -> ironwal::Range = Stream::range;
    let _: fn(&Stream) -> u64 = Stream::first_id;
    let _: fn(&Stream) -> u64 = Stream::next_id;
    let _: fn(&Stream) -> u64 = Stream::durable_end;
    let _: fn(&Stream) -> Result<()> = Stream::sync;
    let _: fn(&Stream) -> Result<()> = Stream::rotate;
    let _: fn(&Stream, u64) -> Result<usize> = Stream::truncate_before;
    let _: fn(&Stream, Option<u64>) -> Result<()> = Stream::truncate_after;
    let _: fn(&Stream) -> StreamStats = Stream::stats;

    let _ = |storage: Arc<dyn ironwal::storage::Storage>| {
        Environment::default().with_storage(storage).with_clock(|| Duration::ZERO)
    };
    let _: u32 = ironwal::FORMAT_VERSION;
    let _: u64 = ironwal::MAX_FRAME_LEN;
}
