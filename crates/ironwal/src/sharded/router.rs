//! Which shard a key belongs to.
//!
//! The shard of a key is SipHash-1-3 of `len ‖ key` modulo the number of shards, where the key of the
//! hash is all zeros and `len` is the number of the key's bytes as a little-endian u64. Version 0.6
//! computes the same through the hasher of Rust's standard library, which promises no such thing.
//!
//! SipHash: Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012, <https://eprint.iacr.org/2012/351>;
//! 1-3 are the rounds per word and at the end.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The number of this algorithm in the root file.
pub(crate) const ROUTING: u16 = 1;

/// The shard of a key, out of `shard_count`, which is at least 1.
pub(super) fn route(key: &[u8], shard_count: u16) -> u16 {
    let mut hasher = SipHasher13::new();
    hasher.write(&(key.len() as u64).to_le_bytes());
    hasher.write(key);
    let shard = hasher.finish() % u64::from(shard_count.max(1));
    u16::try_from(shard).unwrap_or_default()
}
