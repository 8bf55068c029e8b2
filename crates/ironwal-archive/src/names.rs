//! The names of objects: `docs/archive-format.md`.

use crate::manifest::Piece;

/// The object that says what this is, and of which log.
pub(crate) const IDENTITY: &str = "ironwal-archive.json";
pub(crate) const MANIFESTS: &str = "manifests";
pub(crate) const TAILS: &str = "tails";

pub(crate) fn manifest(number: u64) -> String {
    format!("{MANIFESTS}/{number:020}.json")
}

pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(MANIFESTS)?.strip_prefix('/')?.strip_suffix(".json")?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

pub(crate) fn root(sha256: &str) -> String {
    format!("roots/{sha256}")
}

/// The piece at an offset in the segment of a stream.
pub(crate) fn piece(stream: u64, first_id: u64, at: u64, piece: &Piece) -> String {
    let sha256 = &piece.sha256;
    match piece.epoch {
        None => format!("data/{stream:020}/{first_id:020}/{at:012}-{sha256}"),
        Some(epoch) => {
            format!("{TAILS}/{epoch:020}/{stream:020}-{first_id:020}-{at:012}-{sha256}")
        }
    }
}

/// The epoch of the writer that a piece of a tail is of.
pub(crate) fn tail_epoch(name: &str) -> Option<u64> {
    let (epoch, _) = name.strip_prefix(TAILS)?.strip_prefix('/')?.split_once('/')?;
    epoch.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_names_in_their_order() {
        assert_eq!(manifest_number(&manifest(7)), Some(7));
        assert_eq!(manifest_number(&manifest(u64::MAX)), Some(u64::MAX));
        assert!(manifest(9) < manifest(10));
        for other in ["manifests/7.json", "manifests/x", "data/00000000000000000007.json"] {
            assert_eq!(manifest_number(other), None, "{other}");
        }
    }

    #[test]
    fn tails_name_their_writer() {
        let of = |epoch| Piece { len: 3, sha256: "ab".into(), epoch };
        assert_eq!(tail_epoch(&piece(1, 2, 3, &of(Some(9)))), Some(9));
        assert_eq!(tail_epoch(&piece(1, 2, 3, &of(None))), None);
    }
}
