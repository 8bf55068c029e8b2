//! What a user can choose for groups.

/// How groups are kept. The default is right for most.
///
/// ```
/// use ironwal_openraft::GroupOptions;
///
/// let options = GroupOptions { recent_len: 1024 * 1024, ..GroupOptions::default() };
/// # assert_eq!(options.read_len_max, 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOptions {
    /// How many bytes of the newest entries each group keeps in memory once they are durable, so that
    /// replicating and applying them reads no file. Entries that are not durable yet are kept besides.
    /// Default: 64 KiB.
    pub recent_len: usize,
    /// How many bytes of entries `limited_get_log_entries` returns at most; one entry may be larger.
    /// Default: 1 MiB.
    pub read_len_max: usize,
    /// How many bytes of records that nobody needs any more a group gathers before a purge frees them,
    /// which costs some syncs. Default: 1 MiB. With 0 every purge does.
    pub free_len_min: u64,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { recent_len: 64 * 1024, read_len_max: 1024 * 1024, free_len_min: 1024 * 1024 }
    }
}
