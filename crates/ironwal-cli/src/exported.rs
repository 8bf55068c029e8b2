//! What `ironwal export` writes and `ironwal import` reads: a line of JSON each.
//!
//! ```text
//! {"type":"export","version":1,"shards":2,"streams":2}
//! {"type":"stream","stream":"shard_00","ids":{"start":0,"end":2}}
//! {"type":"entry","stream":"shard_00","id":0,"entry":"tea"}
//! {"type":"entry","stream":"shard_00","id":1,"entry_base64":"/wA="}
//! {"type":"stream","stream":"shard_01","ids":{"start":7,"end":9}}
//! {"type":"entry","stream":"shard_01","id":7,"entry":"cake"}
//! {"type":"gap","stream":"shard_01","ids":{"start":8,"end":9},"message":"…"}
//! {"type":"checkpoint","id":"monday","created_ns":1700000000000000000,"offsets":[1,8]}
//! {"type":"end","streams":2,"entries":3,"checkpoints":1,"gaps":1}
//! ```
//!
//! An export is whole if and only if it begins with `export` and ends with `end`, each stream has the entries
//! and gaps that its ids say, in order, and the counts match. `shards` is there if the log is sharded and all of it was
//! exported; checkpoints come only then, in the order of their creation.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// The version that is written. Nothing above it is read.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Line<'a> {
    Export {
        version: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        shards: Option<u16>,
        streams: u64,
    },
    Stream {
        stream: Cow<'a, str>,
        ids: Ids,
    },
    Entry {
        stream: Cow<'a, str>,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry_base64: Option<Cow<'a, str>>,
    },
    /// Entries that could not be read.
    Gap {
        stream: Cow<'a, str>,
        ids: Ids,
        message: Cow<'a, str>,
    },
    Checkpoint {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id_base64: Option<Cow<'a, str>>,
        created_ns: u64,
        offsets: Vec<u64>,
    },
    End(Counts),
}

/// The ids from `start` on that are below `end`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What an export holds.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) streams: u64,
    pub(crate) entries: u64,
    pub(crate) checkpoints: u64,
    /// Gaps, and checkpoints that could not be read.
    pub(crate) gaps: u64,
}

/// The bytes that two keys say, of which one is there.
pub(crate) fn bytes(
    text: Option<Cow<'_, str>>,
    base64: Option<Cow<'_, str>>,
) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(&*base64).map_err(|error| format!("it is no base64: {error}"))
        }
        _ => Err("it must have a text or its base64, and not both".into()),
    }
}
