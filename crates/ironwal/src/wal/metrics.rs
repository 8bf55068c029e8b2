//! The names under which a log is seen through the `metrics` crate.
//!
//! Every name has the label `log`: the directory of the log. Counters count from the opening of the log by
//! this process.

use std::path::Path;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::stats::WalStats;
use crate::activity::Histograms;

fn label(root: &Path) -> String {
    root.display().to_string()
}

/// What is told of each commit.
pub(super) fn histograms(root: &Path) -> Histograms {
    describe();
    Histograms {
        commit_seconds: histogram!("ironwal_commit_seconds", "log" => label(root)),
        commit_appends: histogram!("ironwal_commit_appends", "log" => label(root)),
    }
}

fn describe() {
    describe_histogram!(
        "ironwal_commit_seconds",
        Unit::Seconds,
        "How long it took to write appends together and, where they must be durable, to sync them"
    );
    describe_histogram!(
        "ironwal_commit_appends",
        Unit::Count,
        "How many appends were written together"
    );
    describe_counter!("ironwal_appended_entries_total", Unit::Count, "Entries that were committed");
    describe_counter!("ironwal_appended_bytes_total", Unit::Bytes, "Bytes of their frames");
    describe_counter!(
        "ironwal_commits_total",
        Unit::Count,
        "Rounds in which appends were written together"
    );
    describe_counter!("ironwal_syncs_total", Unit::Count, "Syncs of segments and of the journal");
    describe_counter!(
        "ironwal_cache_hits_total",
        Unit::Count,
        "Blocks that were found in the cache"
    );
    describe_counter!("ironwal_cache_misses_total", Unit::Count, "Blocks that were not");
    describe_gauge!("ironwal_streams", Unit::Count, "Streams that hold or held entries");
    describe_gauge!("ironwal_entries", Unit::Count, "Entries that are kept");
    describe_gauge!("ironwal_segments", Unit::Count, "Segment files");
    describe_gauge!("ironwal_bytes", Unit::Bytes, "Bytes of segments, without what is reserved");
    describe_gauge!("ironwal_open_segments", Unit::Count, "Files that are open for writing");
    describe_gauge!(
        "ironwal_journal_bytes",
        Unit::Bytes,
        "Bytes in the journal's file that is written to"
    );
    describe_gauge!("ironwal_journal_fill_ratio", "The same, as a part of what fits in (0 to 1)");
    describe_gauge!("ironwal_followers", Unit::Count, "Followers in this process");
    describe_gauge!(
        "ironwal_follower_lag_entries",
        Unit::Count,
        "How far behind the last of them is"
    );
    describe_gauge!(
        "ironwal_poisoned_streams",
        Unit::Count,
        "Streams that take no appends after an error"
    );
    describe_gauge!(
        "ironwal_oldest_waiting_append_seconds",
        Unit::Seconds,
        "How long the longest write or sync under way has taken, and the appends that wait for it"
    );
}

/// Tells the recorder what is now so.
pub(super) fn report(root: &Path, stats: &WalStats) {
    let counters = [
        ("ironwal_appended_entries_total", stats.appended_entries),
        ("ironwal_appended_bytes_total", stats.appended_bytes),
        ("ironwal_commits_total", stats.commits),
        ("ironwal_syncs_total", stats.syncs),
        ("ironwal_cache_hits_total", stats.cache_hits),
        ("ironwal_cache_misses_total", stats.cache_misses),
    ];
    for (name, value) in counters {
        counter!(name, "log" => label(root)).absolute(value);
    }
    let fill = stats.journal_bytes as f64 / stats.journal_bytes_max as f64;
    let gauges = [
        ("ironwal_streams", stats.streams as f64),
        ("ironwal_entries", stats.entries as f64),
        ("ironwal_segments", stats.segments as f64),
        ("ironwal_bytes", stats.bytes as f64),
        ("ironwal_open_segments", stats.open_segments as f64),
        ("ironwal_journal_bytes", stats.journal_bytes as f64),
        ("ironwal_journal_fill_ratio", fill),
        ("ironwal_followers", stats.followers as f64),
        ("ironwal_follower_lag_entries", stats.follower_lag as f64),
        ("ironwal_poisoned_streams", stats.poisoned_streams as f64),
        (
            "ironwal_oldest_waiting_append_seconds",
            stats.oldest_waiting.unwrap_or_default().as_secs_f64(),
        ),
    ];
    for (name, value) in gauges {
        gauge!(name, "log" => label(root)).set(value);
    }
}
