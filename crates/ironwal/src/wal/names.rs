//! Stream names and their directories, one to one.
//!
//! Every byte outside `[A-Za-z0-9._-]` is written as `%` and two upper-case hexadecimal digits, and
//! so is a leading dot: names that begin with a dot are ours. A directory belongs to a stream if and
//! only if it is exactly what its decoded name encodes to.

use std::ffi::OsStr;

use crate::error::{Error, Result};

/// The longest directory name, in bytes, that file systems take.
const ENCODED_LEN_MAX: usize = 255;

/// The directory name of the stream `name`.
///
/// # Errors
///
/// [`Error::Config`] for an empty or blank name, for `.` and `..`, and for one whose directory name
/// would be longer than 255 bytes.
pub(crate) fn encode(name: &str) -> Result<String> {
    if name.trim().is_empty() {
        return Err(Error::Config("Stream key cannot be empty".into()));
    }
    if name == "." || name == ".." {
        return Err(Error::Config(format!("Stream key cannot be {name:?}")));
    }
    let mut encoded = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        if is_plain(byte) && !(position == 0 && byte == b'.') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    if encoded.len() > ENCODED_LEN_MAX {
        return Err(Error::Config(format!(
            "Stream key is too long: its directory name would have {} bytes, the limit is \
             {ENCODED_LEN_MAX} (bytes outside [A-Za-z0-9._-] count three times)",
            encoded.len()
        )));
    }
    Ok(encoded)
}

/// The stream whose directory this is; `None` for somebody else's.
pub(crate) fn decode(encoded: &OsStr) -> Option<String> {
    let encoded = encoded.to_str()?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name).ok()? == encoded).then_some(name)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_are_their_own_directories() {
        for name in ["orders", "shard_00", "a.b-c_D9", "...x".trim_start_matches('.')] {
            assert_eq!(encode(name).unwrap(), name);
        }
    }

    #[test]
    fn other_names_never_meet_or_leave_the_root() {
        assert_eq!(encode("a/b").unwrap(), "a%2Fb");
        assert_eq!(encode("a_b").unwrap(), "a_b");
        assert_eq!(encode("../hack").unwrap(), "%2E.%2Fhack");
        assert_eq!(encode("...").unwrap(), "%2E..");
        assert_eq!(encode("Ü").unwrap(), "%C3%9C");
        assert_eq!(encode("100%").unwrap(), "100%25");
    }

    #[test]
    fn unusable_names_are_refused() {
        for name in ["", " ", "\t\n", ".", ".."] {
            assert!(matches!(encode(name), Err(Error::Config(_))), "{name:?}");
        }
        assert!(encode(&"x".repeat(255)).is_ok());
        assert!(matches!(encode(&"x".repeat(256)), Err(Error::Config(_))));
        assert!(matches!(encode(&"ü".repeat(43)), Err(Error::Config(_))));
    }

    #[test]
    fn strangers_are_no_streams() {
        let strangers =
            ["lost found", ".hidden", "a%2fb", "a%41", "%", "%2", "%ZZ", "%FF", "a%2", "%+1"];
        for stranger in strangers {
            assert_eq!(decode(OsStr::new(stranger)), None, "{stranger}");
        }
    }

    proptest! {
        #[test]
        fn encoding_can_be_undone(name in "\\PC{1,40}") {
            if let Ok(encoded) = encode(&name) {
                prop_assert!(encoded.bytes().all(|byte| is_plain(byte) || byte == b'%'));
                prop_assert!(!encoded.starts_with('.'));
                prop_assert_eq!(decode(OsStr::new(&encoded)), Some(name));
            }
        }
    }
}
