//! blocklist.db: the block lists, beside guard.db, so that no ban waits for a list to be written.
//!
//! | table | a row is |
//! |---|---|
//! | `list` | a source's list, its version and its size |
//! | `entry` | whom a list names, and until when; in the order of addresses |

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use control::block_list::WhyRefused;
use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::pending::Pending;
use crate::firewall::is_address;
use crate::store::{StoreError, fault};

/// The schema that this release writes; the file carries it as `user_version`.
const SCHEMA: i64 = 1;

/// Whether the key of a row is that of one address: see [`key`].
const IS_ADDRESS: &str = "(length(net) = 6 AND substr(net, -1) = x'20'
    OR length(net) = 18 AND substr(net, -1) = x'80')";

/// Rows that are read at once.
const PAGE: usize = 10_000;

/// Differences beyond this are not listed one by one: the firewall is filled anew.
pub(super) const MAX_DIFFERENCES: usize = 10_000;

/// Whom a list names, and until when, in epoch seconds.
pub(super) type Entry = (IpNet, Option<i64>);

/// A list, as its row says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    pub(super) source: String,
    pub(super) version: String,
    pub(super) changed: i64,
    pub(super) n_addresses: u64,
    pub(super) n_prefixes: u64,
}

/// What a change made different in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Differences {
    /// Who is in no more, and who is in anew or for another time.
    Few { out: Vec<IpNet>, new: Vec<Entry> },
    /// More than are listed.
    Many,
}

/// blocklist.db, opened by its one writer.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    db: Connection,
}

impl Store {
    /// Opens it in guard's folder, which is guard's alone; in memory where there is none.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, StoreError> {
        let path = folder.map_or_else(|| ":memory:".into(), |it| it.join("blocklist.db"));
        let mut db = Connection::open(&path).map_err(|error| fault(&path, error))?;
        match prepare(&mut db).map_err(|error| fault(&path, error))? {
            found if found > SCHEMA => Err(StoreError::Newer { path, found }),
            _ => Ok(Self { path, db }),
        }
    }

    /// All lists, in the order of their sources.
    pub(super) fn lists(&self) -> Result<Vec<Listed>, StoreError> {
        self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT source, version, changed, n_addresses, n_prefixes FROM list ORDER BY source",
            )?;
            let listed = rows.query_map([], |row| {
                Ok(Listed {
                    source: row.get(0)?,
                    version: row.get(1)?,
                    changed: row.get(2)?,
                    n_addresses: row.get::<_, i64>(3)?.cast_unsigned(),
                    n_prefixes: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })?;
            listed.collect()
        })
    }

    /// What guard holds of a source.
    pub(super) fn version(&self, source: &str) -> Result<Option<String>, StoreError> {
        self.read(|db| {
            db.query_row("SELECT version FROM list WHERE source = ?", [source], |row| row.get(0))
                .optional()
        })
    }

    /// The entries of a list after `after`, in order; none where there are no more.
    pub(super) fn page(
        &self,
        source: &str,
        after: Option<&IpNet>,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(|db| page(db, id(db, source)?, after))
    }

    /// The entries of a list that lie in `net`, or that `net` lies in.
    pub(super) fn around(&self, source: &str, net: &IpNet) -> Result<Vec<Entry>, StoreError> {
        self.read(|db| {
            let list = id(db, source)?;
            let mut rows = db.prepare_cached(
                "SELECT net, until FROM entry WHERE list = ? AND net BETWEEN ? AND ?",
            )?;
            let (first, last) = (key_of(net.network(), 0), key_of(net.broadcast(), u8::MAX));
            let within = rows.query_map(params![list, first, last], entry)?;
            let mut found: Vec<Entry> = within.collect::<rusqlite::Result<_>>()?;
            found.retain(|(it, _)| net.contains(it));
            for length in 0..net.prefix_len() {
                let Ok(wider) = IpNet::new(net.addr(), length) else { continue };
                let row = db
                    .prepare_cached("SELECT net, until FROM entry WHERE list = ? AND net = ?")?
                    .query_row(params![list, key(&wider.trunc())], entry)
                    .optional()?;
                found.extend(row);
            }
            Ok(found)
        })
    }

    /// Makes a change: all of it or none. What would make all lists longer than `max` is refused.
    pub(super) fn commit(
        &mut self,
        pending: &mut Pending,
        max: usize,
        now: Timestamp,
    ) -> Result<Differences, StoreError> {
        write(&mut self.db, pending, max, now).map_err(|error| fault(&self.path, error))
    }

    /// Forgets a list.
    pub(super) fn forget(&mut self, source: &str) -> Result<(), StoreError> {
        let mut write = || {
            let tx = self.db.transaction()?;
            tx.execute("DELETE FROM entry WHERE list = ?", [id(&tx, source)?])?;
            tx.execute("DELETE FROM list WHERE source = ?", [source])?;
            tx.commit()
        };
        write().map_err(|error| fault(&self.path, error))
    }

    /// Forgets entries that have ended; the kernel has done so by itself.
    pub(super) fn purge(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let now = now.as_second();
        let mut write = || {
            let tx = self.db.transaction()?;
            for (kind, column) in [(IS_ADDRESS, "n_addresses"), ("true", "n_prefixes")] {
                let ended = format!(
                    "SELECT count(*) FROM entry WHERE list = id AND until <= ?1 AND {kind}"
                );
                tx.execute(&format!("UPDATE list SET {column} = {column} - ({ended})"), [now])?;
                tx.execute(&format!("DELETE FROM entry WHERE until <= ?1 AND {kind}"), [now])?;
            }
            tx.commit()
        };
        write().map_err(|error| fault(&self.path, error))
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.db).map_err(|error| fault(&self.path, error))
    }
}

fn prepare(db: &mut Connection) -> rusqlite::Result<i64> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    // What a power cut takes back, its source sees by the version, and sends again.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let tx = db.transaction()?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        tx.execute_batch(
            "CREATE TABLE list (
                 id INTEGER PRIMARY KEY,
                 source TEXT NOT NULL UNIQUE,
                 version TEXT NOT NULL,
                 changed INTEGER NOT NULL,
                 n_addresses INTEGER NOT NULL DEFAULT 0,
                 n_prefixes INTEGER NOT NULL DEFAULT 0
             ) STRICT;
             CREATE TABLE entry (
                 list INTEGER NOT NULL,
                 net BLOB NOT NULL,
                 until INTEGER,
                 PRIMARY KEY (list, net)
             ) STRICT, WITHOUT ROWID;",
        )?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
    }
    tx.commit()?;
    Ok(found)
}

/// Writes what is pending; its entries are in order, each once.
fn write(
    db: &mut Connection,
    pending: &mut Pending,
    max: usize,
    now: Timestamp,
) -> rusqlite::Result<Differences> {
    let tx = db.transaction()?;
    tx.execute(
        "INSERT INTO list (source, version, changed) VALUES (?1, ?2, ?3)
         ON CONFLICT (source) DO UPDATE SET version = ?2, changed = ?3",
        params![pending.source, pending.version, now.as_second()],
    )?;
    let list = id(&tx, &pending.source)?;
    let all: i64 =
        tx.query_row("SELECT coalesce(sum(n_addresses + n_prefixes), 0) FROM list", [], |row| {
            row.get(0)
        })?;
    let mut changes = Changes {
        list,
        n_entries: usize::try_from(all).unwrap_or(usize::MAX),
        n_addresses: 0,
        n_prefixes: 0,
        differences: Differences::Few { out: Vec::new(), new: Vec::new() },
    };
    if pending.base.is_none() {
        remove_others(&tx, pending, &mut changes)?;
    }
    for net in &pending.remove {
        changes.remove(&tx, *net)?;
    }
    for entry in &pending.add {
        if !changes.add(&tx, *entry, max)? {
            pending.refused.add(WhyRefused::TooMany, entry.0);
        }
    }
    tx.execute(
        "UPDATE list SET n_addresses = n_addresses + ?2, n_prefixes = n_prefixes + ?3 WHERE id = ?1",
        params![list, changes.n_addresses, changes.n_prefixes],
    )?;
    tx.commit()?;
    Ok(changes.differences)
}

/// Removes what a whole list does not name any more.
fn remove_others(
    tx: &Transaction<'_>,
    pending: &Pending,
    changes: &mut Changes,
) -> rusqlite::Result<()> {
    let mut kept = pending.add.iter().map(|(net, _)| net).peekable();
    let mut after = None;
    loop {
        let page = page(tx, changes.list, after.as_ref())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (net, _) in page {
            while kept.next_if(|it| **it < net).is_some() {}
            if kept.peek() != Some(&&net) {
                changes.remove(tx, net)?;
            }
        }
    }
}

/// What is written, and what that makes different.
struct Changes {
    list: i64,
    /// Entries of all lists.
    n_entries: usize,
    /// How many more addresses and prefixes this one has.
    n_addresses: i64,
    n_prefixes: i64,
    differences: Differences,
}

impl Changes {
    fn remove(&mut self, tx: &Transaction<'_>, net: IpNet) -> rusqlite::Result<()> {
        let mut delete = tx.prepare_cached("DELETE FROM entry WHERE list = ? AND net = ?")?;
        if delete.execute(params![self.list, key(&net)])? > 0 {
            self.n_entries -= 1;
            *self.n_of(&net) -= 1;
            self.note(|out, _| out.push(net));
        }
        Ok(())
    }

    /// Whether there was room.
    fn add(
        &mut self,
        tx: &Transaction<'_>,
        (net, until): Entry,
        max: usize,
    ) -> rusqlite::Result<bool> {
        let old: Option<Option<i64>> = tx
            .prepare_cached("SELECT until FROM entry WHERE list = ? AND net = ?")?
            .query_row(params![self.list, key(&net)], |row| row.get(0))
            .optional()?;
        match old {
            Some(old) if old == until => return Ok(true),
            Some(_) => {}
            None if self.n_entries >= max => return Ok(false),
            None => {
                self.n_entries += 1;
                *self.n_of(&net) += 1;
            }
        }
        tx.prepare_cached("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)")?.execute(params![
            self.list,
            key(&net),
            until
        ])?;
        self.note(|_, new| new.push((net, until)));
        Ok(true)
    }

    fn n_of(&mut self, net: &IpNet) -> &mut i64 {
        if is_address(net) { &mut self.n_addresses } else { &mut self.n_prefixes }
    }

    fn note(&mut self, note: impl FnOnce(&mut Vec<IpNet>, &mut Vec<Entry>)) {
        if let Differences::Few { out, new } = &mut self.differences {
            note(out, new);
            if out.len() + new.len() > MAX_DIFFERENCES {
                self.differences = Differences::Many;
            }
        }
    }
}

/// The number of a list; of none where there is no such list.
fn id(db: &Connection, source: &str) -> rusqlite::Result<i64> {
    let mut row = db.prepare_cached("SELECT id FROM list WHERE source = ?")?;
    Ok(row.query_row([source], |row| row.get(0)).optional()?.unwrap_or_default())
}

fn page(db: &Connection, list: i64, after: Option<&IpNet>) -> rusqlite::Result<Vec<Entry>> {
    let mut rows = db.prepare_cached(
        "SELECT net, until FROM entry WHERE list = ? AND net > ? ORDER BY net LIMIT ?",
    )?;
    let after = after.map(key).unwrap_or_default();
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    rows.query_map(params![list, after, limit], entry)?.collect()
}

/// A prefix as a key whose order is that of addresses, wider ones first: the family, the first
/// address, the length.
fn key(net: &IpNet) -> Vec<u8> {
    key_of(net.network(), net.prefix_len())
}

fn key_of(addr: IpAddr, length: u8) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => [&[4][..], &addr.octets(), &[length]].concat(),
        IpAddr::V6(addr) => [&[6][..], &addr.octets(), &[length]].concat(),
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let key: Vec<u8> = row.get(0)?;
    let net = read_key(&key).ok_or(rusqlite::Error::InvalidQuery)?;
    Ok((net, row.get(1)?))
}

fn read_key(key: &[u8]) -> Option<IpNet> {
    let (family, rest) = key.split_first()?;
    let (length, addr) = rest.split_last()?;
    let addr = match family {
        4 => IpAddr::from(<[u8; 4]>::try_from(addr).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(addr).ok()?),
    };
    IpNet::new(addr, *length).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::super::limits::{Limits, Refusals};
    use super::*;

    const NOW: i64 = 1_780_000_000;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn pending(source: &str, base: Option<&str>, add: &[&str], remove: &[&str]) -> Pending {
        let mut pending =
            Pending::new(source.into(), "2".into(), base.map(Into::into), Limits::default());
        for text in add {
            let (text, until) = match text.split_once(' ') {
                Some((text, seconds)) => (text, Some(NOW + seconds.parse::<i64>().unwrap())),
                None => (*text, None),
            };
            pending.add.push((net(text), until));
        }
        pending.remove = remove.iter().map(|it| net(it)).collect();
        pending.sort();
        pending
    }

    #[track_caller]
    fn commit(store: &mut Store, mut pending: Pending, max: usize, want: &str) -> Refusals {
        let now = Timestamp::from_second(NOW).unwrap();
        let words = match store.commit(&mut pending, max, now).unwrap() {
            Differences::Many => "many".to_owned(),
            Differences::Few { out, new } => {
                let out = out.iter().map(|it| format!("-{it}"));
                let new = new.iter().map(|(it, _)| format!("+{it}"));
                out.chain(new).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(words, want);
        pending.refused
    }

    #[test]
    fn tells_what_a_change_makes_different() {
        let mut store = Store::open(None).unwrap();
        let all = ["192.0.2.1/32 60", "198.51.100.0/24", "2001:db8::1/128"];
        let want = "+192.0.2.1/32 +198.51.100.0/24 +2001:db8::1/128";
        commit(&mut store, pending("hub", None, &all, &[]), 10, want);
        commit(&mut store, pending("other", None, &["192.0.2.1/32"], &[]), 10, "+192.0.2.1/32");
        // The whole list again, and nothing else: only the differences count.
        let next = ["192.0.2.1/32 90", "192.0.2.2/32", "2001:db8::1/128"];
        let want = "-198.51.100.0/24 +192.0.2.1/32 +192.0.2.2/32";
        commit(&mut store, pending("hub", None, &next, &[]), 10, want);
        let delta = pending("hub", Some("2"), &["192.0.2.3/32"], &["192.0.2.1/32", "10.0.0.0/8"]);
        commit(&mut store, delta, 10, "-192.0.2.1/32 +192.0.2.3/32");

        let lists = store.lists().unwrap();
        let sizes: Vec<_> =
            lists.iter().map(|it| (&*it.source, it.n_addresses, it.n_prefixes)).collect();
        assert_eq!(sizes, [("hub", 3, 0), ("other", 1, 0)]);
        store.forget("hub").unwrap();
        assert_eq!(store.version("hub").unwrap(), None);
        assert_eq!(store.page("hub", None).unwrap(), []);
        assert_eq!(store.page("other", None).unwrap(), [(net("192.0.2.1/32"), None)]);
    }

    #[test]
    fn all_lists_together_have_a_limit() {
        let mut store = Store::open(None).unwrap();
        commit(
            &mut store,
            pending("a", None, &["192.0.2.1/32", "192.0.2.2/32"], &[]),
            3,
            "+192.0.2.1/32 +192.0.2.2/32",
        );
        let refused = commit(
            &mut store,
            pending("b", None, &["192.0.2.1/32", "192.0.2.2/32"], &[]),
            3,
            "+192.0.2.1/32",
        );
        assert_eq!(refused.list()[0].why, WhyRefused::TooMany);
        // Whoever is in already can stay for longer.
        commit(&mut store, pending("b", Some("2"), &["192.0.2.1/32 9"], &[]), 3, "+192.0.2.1/32");
    }

    #[test]
    fn finds_what_is_around_a_prefix_and_forgets_what_ended() {
        let mut store = Store::open(None).unwrap();
        let all = ["10.0.0.0/8", "10.1.0.0/16 5", "10.1.2.3/32 5", "10.2.0.0/16", "2001:db8::/32"];
        let want = "+10.0.0.0/8 +10.1.0.0/16 +10.1.2.3/32 +10.2.0.0/16 +2001:db8::/32";
        commit(&mut store, pending("hub", None, &all, &[]), 10, want);
        let around = |text: &str| -> Vec<String> {
            let found = store.around("hub", &net(text)).unwrap();
            found.into_iter().map(|(net, _)| net.to_string()).collect()
        };
        assert_eq!(around("10.1.2.3/32"), ["10.1.2.3/32", "10.0.0.0/8", "10.1.0.0/16"]);
        assert_eq!(around("10.1.0.0/16"), ["10.1.0.0/16", "10.1.2.3/32", "10.0.0.0/8"]);
        assert_eq!(around("2001:db8::1/128"), ["2001:db8::/32"]);
        store.purge(Timestamp::from_second(NOW + 5).unwrap()).unwrap();
        let lists = store.lists().unwrap();
        assert_eq!((lists[0].n_addresses, lists[0].n_prefixes), (0, 3));
    }
}
