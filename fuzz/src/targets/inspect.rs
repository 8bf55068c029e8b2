//! `ironwal::inspect` on directories that somebody has damaged: whatever they hold, `dump` goes over every
//! file and `verify` over all, and both come to an end; what `verify` finds is what opening and reading
//! report; and what `repair` makes opens under the strict policy, is whole, and has every entry that
//! could be read before.

use std::path::Path;
use std::sync::Arc;

use ironwal::inspect::{VerifyOptions, dump, verify};
use ironwal::storage::Storage;

use super::damage::Damaged;
use super::input::Input;
use crate::inspect;
use crate::rot::samples::ROOT;

pub(super) fn run(input: &[u8]) {
    let damaged = Damaged::build(&mut Input(input));
    let storage: Arc<dyn Storage> = Arc::new(damaged.disk.process());
    for path in damaged.disk.files() {
        let Ok(structures) = dump(&storage, &path) else { continue };
        let len = damaged.disk.contents(&path).unwrap().len();
        assert!(structures.take(len + 64).count() < len + 64, "{}: no end", path.display());
    }
    let verified = verify(&storage, Path::new(ROOT), &VerifyOptions::default(), &|_| {});
    let &Damaged { is_forged, is_moved, is_older, is_invented, .. } = &damaged;
    if is_forged || is_moved || is_older || is_invented || verified.is_err() {
        // Who lies is believed by some and not by others, and nobody knows an older version.
        return;
    }
    if ["journal, a stream was cut", "sharded, killed"].contains(&damaged.sample.name) {
        // Without the last frames of the journal nothing says that there was a cut; and that a compaction
        // dropped what checkpoints there were, one slot alone says.
        return;
    }
    // Of these, reads by id find more.
    let kind = if damaged.sample.name.contains("pieces") { "pieces" } else { damaged.sample.name };
    inspect::judge(&damaged.sample.disk, &damaged.disk, &format!("{kind}: {:#?}", damaged.steps));
}
