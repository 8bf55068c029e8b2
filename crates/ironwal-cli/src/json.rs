//! JSON on standard output: one object per line.
//!
//! Bytes that need not be text have two keys, of which one is there: `entry` has the text, and
//! `entry_base64` what is not UTF-8. A key that has nothing to say is left out.

use std::io::{self, Write};
use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// Writes one object and a newline.
pub(crate) fn write(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// What bytes are as text, and in base64 if they are none.
pub(crate) fn text(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

/// The ids from `start` on that are below `end`.
#[derive(Serialize)]
pub(crate) struct Ids {
    start: u64,
    /// Not there where nobody knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
}

/// The ids, if there are any. An end of `u64::MAX` is not known.
pub(crate) fn ids(ids: &Range<u64>) -> Option<Ids> {
    let end = (ids.end != u64::MAX).then_some(ids.end);
    (!ids.is_empty()).then_some(Ids { start: ids.start, end })
}

/// The name of a variant of the library's, for machines: `NewerVersion(2)` is `newer-version`. So a
/// variant that comes later has a name too.
pub(crate) fn name_of(variant: impl std::fmt::Debug) -> String {
    let variant = format!("{variant:?}");
    let end = variant.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(variant.len());
    let mut name = String::new();
    for c in variant[..end].chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_base64() {
        assert_eq!(text("ünï\n".as_bytes()), (Some("ünï\n"), None));
        assert_eq!(text(b"\xff\x00"), (None, Some("/wA=".into())));
        assert_eq!(text(b""), (Some(""), None));
    }

    #[test]
    fn variants_have_names() {
        use ironwal::inspect::{Problem, Severity};
        assert_eq!(name_of(Problem::NewerVersion(2)), "newer-version");
        assert_eq!(name_of(Severity::Damage), "damage");
    }

    #[test]
    fn ids_without_an_end_have_none() {
        let line = |range: Range<u64>| serde_json::to_string(&ids(&range)).unwrap();
        assert_eq!(line(3..4), r#"{"start":3,"end":4}"#);
        assert_eq!(line(3..u64::MAX), r#"{"start":3}"#);
        assert_eq!(line(3..3), "null");
    }
}
