//! Credentials are in no message and no debug output.

use ironwal::storage::SimDisk;
use ironwal_archive::{Archive, Tails};

use crate::faulty::Faulty;
use crate::logs::{append, archive_in, archiver, memory, open};

#[test]
fn debug_output_says_nothing_of_the_store() {
    let disk = SimDisk::new(1);
    append(&open(&disk), "orders", 1);
    let archive = archive_in(Faulty::new(&memory(), |_| crate::faulty::Fate::Done));
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    for debug in [format!("{archive:?}"), format!("{archiver:?}")] {
        assert!(!debug.to_lowercase().contains("faulty"), "{debug}");
    }
}

#[test]
fn addresses_with_credentials_are_refused_without_repeating_them() {
    for address in ["s3://id:hush@bucket/x", "az://c/x?sig=hush", "gs://bucket/x#hush"] {
        let error = Archive::open(address).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
