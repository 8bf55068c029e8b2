//! SQLite with its write-ahead log; entries under their row's number.
//!
//! A strict append is a transaction with `synchronous = FULL`, an unsynced one with `NORMAL`: there the
//! log is written and not synced. One connection for all threads: with one each they would sleep when
//! they find the log locked.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup};

const INSERT: &str = "INSERT INTO entries (entry) VALUES (?1)";

/// Opens it.
pub struct Sqlite;

impl Peer for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Frames => Err("rows have no frames: see batches of 100"),
            Ability::Streams => Err("one writer for all tables"),
            Ability::ScanShared | Ability::GetMapped => Err("it has one way of reading"),
            Ability::InFlight => Err("every transaction waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let open = || {
            let db = Connection::open(setup.dir.join("sqlite"))?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            let synchronous = if setup.strict { "FULL" } else { "NORMAL" };
            db.pragma_update(None, "synchronous", synchronous)?;
            let create = "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, entry BLOB)";
            db.execute(create, [])?;
            Ok(db)
        };
        let db = open().map_err(io::Error::other::<rusqlite::Error>)?;
        Ok(Box::new(Open(Arc::new(Mutex::new(db)))))
    }
}

struct Open(Arc<Mutex<Connection>>);

impl Log for Open {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let db = Arc::clone(&self.0);
        Ok(Box::new(move |entry| {
            let db = db.lock().unwrap_or_else(PoisonError::into_inner);
            let insert = || db.prepare_cached(INSERT)?.execute([entry]);
            insert().map(drop).map_err(io::Error::other)
        }))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        let db = Arc::clone(&self.0);
        Ok(Box::new(move |entries| {
            let mut db = db.lock().unwrap_or_else(PoisonError::into_inner);
            let mut insert = || {
                let transaction = db.transaction()?;
                {
                    let mut insert = transaction.prepare_cached(INSERT)?;
                    entries.iter().try_for_each(|entry| insert.execute([entry]).map(drop))?;
                }
                transaction.commit()
            };
            insert().map_err(io::Error::other)
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let mut seen = Seen::default();
            let mut select = db.prepare_cached("SELECT entry FROM entries ORDER BY id")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                seen.add(row.get_ref(0)?.as_bytes()?);
            }
            Ok(seen)
        };
        read().map_err(io::Error::other::<rusqlite::Error>)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let db = Arc::clone(&self.0);
        Ok(Box::new(move |id| {
            let db = db.lock().unwrap_or_else(PoisonError::into_inner);
            let get = || {
                let mut select = db.prepare_cached("SELECT entry FROM entries WHERE id = ?1")?;
                // Rows are numbered from 1.
                let id = i64::try_from(id).unwrap_or(i64::MAX - 1) + 1;
                select.query_row([id], |row| Ok(row.get_ref(0)?.as_bytes()?.len()))
            };
            get().map_err(io::Error::other)
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        match Arc::into_inner(self.0).map(Mutex::into_inner) {
            Some(Ok(db)) => db.close().map_err(|(_, error)| io::Error::other(error)),
            _ => Err(io::Error::other("a thread still has the connection")),
        }
    }
}
