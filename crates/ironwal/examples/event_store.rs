//! An event store: a stream for each aggregate, appends that fail if somebody else was faster, and a
//! projection that follows.

use std::collections::BTreeMap;
use std::thread;

use ironwal::{Error, Stream, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An account as its events make it.
#[derive(Debug, Default, PartialEq)]
struct Account {
    balance: i64,
    /// How many events it has seen: the id that its next one must get.
    version: u64,
}

impl Account {
    fn load(events: &Stream) -> Result<Self> {
        let mut account = Self::default();
        for event in events.range(..) {
            let (_, event) = event?;
            account.apply(&event)?;
        }
        Ok(account)
    }

    fn apply(&mut self, event: &[u8]) -> Result<()> {
        self.balance += std::str::from_utf8(event)?.parse::<i64>()?;
        self.version += 1;
        Ok(())
    }
}

/// Takes money off an account that has it. The decision rests on the events that were read, so the event
/// is appended only if it is the next one; otherwise the decision is made again.
fn withdraw(wal: &Wal, account: &str, amount: i64) -> Result<bool> {
    let events = wal.stream(account)?;
    loop {
        let account = Account::load(&events)?;
        if account.balance < amount {
            return Ok(false);
        }
        match events.append_at(account.version, (-amount).to_string().as_bytes()) {
            Ok(_) => return Ok(true),
            Err(Error::Conflict { .. }) => {} // somebody else appended meanwhile
            Err(error) => return Err(error.into()),
        }
    }
}

/// A view that is kept up to date by whoever follows the events: here what passed through an account.
fn turnover(events: &Stream, count: usize) -> Result<i64> {
    let mut sum = 0;
    for event in events.follow(0).take(count) {
        sum += std::str::from_utf8(&event?.1)?.parse::<i64>()?.abs();
    }
    Ok(sum)
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let wal = Wal::new(WalOptions::new(dir.path()))?;
    let alice = wal.stream("account-alice")?;
    alice.append(b"100")?;

    // It waits for what is not there yet: one deposit and ten withdrawals.
    let events = alice.clone();
    let view = thread::spawn(move || turnover(&events, 11));

    // Eight tellers withdraw 10 each, twice. There is money for ten.
    let tellers: Vec<_> = (0..8)
        .map(|_| {
            let wal = wal.clone();
            thread::spawn(move || -> Result<usize> {
                let mut paid = 0;
                for _ in 0..2 {
                    paid += usize::from(withdraw(&wal, "account-alice", 10)?);
                }
                Ok(paid)
            })
        })
        .collect();
    let paid: usize = tellers.into_iter().map(|it| it.join().unwrap()).sum::<Result<usize>>()?;
    assert_eq!(paid, 10, "more was paid than there was");
    assert_eq!(Account::load(&alice)?, Account { balance: 0, version: 11 });
    assert_eq!(view.join().unwrap()?, 200);

    // Two accounts at once, all or nothing, and only if both are as they were read.
    let mut transfer = wal.batch();
    transfer.expect_next("account-alice", 11).append("account-alice", b"50");
    transfer.expect_next("account-bob", 0).append("account-bob", b"-50");
    transfer.commit()?;

    let balances: BTreeMap<String, i64> = wal
        .streams()
        .into_iter()
        .map(|name| Ok((name.clone(), Account::load(&wal.stream(&name)?)?.balance)))
        .collect::<Result<_>>()?;
    assert_eq!(balances["account-alice"] + balances["account-bob"], 0);
    wal.close()?;
    Ok(())
}
