//! redb: a store of sorted keys, one writer at a time; entries under their number.
//!
//! A strict append is a transaction with `Durability::Immediate`, an unsynced one with
//! `Durability::None`, which keeps it in memory.

use std::io;
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");

/// Opens it.
pub struct Redb;

impl Peer for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Frames => Err("keys have no frames: see batches of 100"),
            Ability::Streams => Err("one writer for all tables"),
            Ability::ScanShared | Ability::GetMapped => Err("it has one way of reading"),
            Ability::InFlight => Err("every transaction waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let db = Database::create(setup.dir.join("redb")).map_err(io::Error::other)?;
        let durability = if setup.strict { Durability::Immediate } else { Durability::None };
        Ok(Box::new(Open { db: Arc::new(db), durability }))
    }
}

struct Open {
    db: Arc<Database>,
    durability: Durability,
}

fn insert(db: &Database, durability: Durability, entries: &[&[u8]]) -> io::Result<()> {
    let mut transaction = db.begin_write().map_err(io::Error::other)?;
    transaction.set_durability(durability).map_err(io::Error::other)?;
    {
        let mut table = transaction.open_table(TABLE).map_err(io::Error::other)?;
        let last = table.last().map_err(io::Error::other)?.map(|(id, _)| id.value());
        let first = last.map_or(0, |last| last + 1);
        for (id, entry) in (first..).zip(entries) {
            table.insert(id, *entry).map_err(io::Error::other)?;
        }
    }
    transaction.commit().map_err(io::Error::other)
}

impl Log for Open {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let (db, durability) = (Arc::clone(&self.db), self.durability);
        Ok(Box::new(move |entry| insert(&db, durability, &[entry])))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        let (db, durability) = (Arc::clone(&self.db), self.durability);
        Ok(Box::new(move |entries| insert(&db, durability, entries)))
    }

    fn scan(&self) -> io::Result<Seen> {
        let transaction = self.db.begin_read().map_err(io::Error::other)?;
        let table = transaction.open_table(TABLE).map_err(io::Error::other)?;
        let mut seen = Seen::default();
        for entry in table.iter().map_err(io::Error::other)? {
            seen.add(entry.map_err(io::Error::other)?.1.value());
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let transaction = self.db.begin_read().map_err(io::Error::other)?;
        let table = transaction.open_table(TABLE).map_err(io::Error::other)?;
        Ok(Box::new(move |id| {
            let entry = table.get(id).map_err(io::Error::other)?;
            entry.map(|entry| entry.value().len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        // What was committed without durability is made durable by the next one that is not.
        insert(&self.db, Durability::Immediate, &[])
    }
}
