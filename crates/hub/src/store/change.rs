//! The change stream as it is kept: what changed in the lists, record by record.
//!
//! Each value that is touched is noted in the transaction that touches it. [`next`] looks at some of
//! them and compares with what was said of them last, beside the writer; [`Next::store`] appends one
//! signed record. So the stream is as durable as what it tells of, and says nothing twice.

use std::collections::{BTreeSet, HashMap};

use lists::chain::{Entries, Place};
use lists::change::{Change, Entry, MAX_CHANGES, MAX_TAGS, Withdrawal};
use lists::{PublicKey, Signer, net};
use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, allowed, listed};

/// Records that are kept. Whoever has been away for longer gets the list as a whole, which is the
/// smaller of the two by then.
const MAX_KEPT: u64 = 10_000;

/// Seconds that a record is believed.
const RECORD_LIFE: i64 = 7 * 24 * 60 * 60;

/// Seconds that a record is kept: it still has a day to travel.
const RECORD_KEPT: i64 = 6 * 24 * 60 * 60;

/// Seconds that a snapshot is believed: long enough to load a million entries.
const SNAPSHOT_LIFE: i64 = 60 * 60;

/// A later sighting is news only when it is so many seconds later than the one last told of: lists
/// fade over days, and an attacker is sighted many times in an hour.
const NEWS: i64 = 60 * 60;

/// Sightings of an attribute that are counted; nobody blocks any better for the thousand-first.
const MAX_COUNTED: i64 = 1_000;

/// A record as it is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sent {
    pub(crate) sequence: u64,
    pub(crate) line: String,
}

/// Notes that the place of `value` in the lists may have changed.
pub(crate) fn touch(db: &Connection, value: &str) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO touched (value) VALUES (?)")?.execute([value])?;
    Ok(())
}

/// The same of the value of an attribute.
pub(crate) fn touch_attribute(db: &Connection, id: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO touched (value) VALUES ((SELECT value1 FROM attribute WHERE id = ?))";
    db.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// Where the chain ends.
pub(crate) fn place(db: &Connection) -> Result<Place, StoreError> {
    let sql = "SELECT sequence, digest FROM change_record ORDER BY sequence DESC LIMIT 1";
    let row = db.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((sequence, digest)) = row.optional()? else { return Ok(Place::default()) };
    Ok(Place { sequence: unsigned(sequence), head: parsed::<_, String>(digest)? })
}

/// The key that the chain introduced last, if it ever did.
pub(crate) fn last_key(db: &Connection) -> Result<Option<PublicKey>, StoreError> {
    let sql = "SELECT key FROM change_record WHERE key IS NOT NULL ORDER BY sequence DESC LIMIT 1";
    let key: Option<String> = db.query_row(sql, [], |row| row.get(0)).optional()?;
    key.map(parsed).transpose()
}

/// What is to be told next.
#[derive(Debug)]
pub(crate) struct Next {
    /// The last note of a touched value that was looked at.
    looked_at: i64,
    /// Values and what is said of them from now on; `None` of those that are withdrawn.
    said: Vec<(String, Option<Entry>)>,
    record: Option<Record>,
}

/// A record that is not appended yet.
#[derive(Debug)]
struct Record {
    place: Place,
    issued: i64,
    key: Option<PublicKey>,
    line: String,
}

/// Looks at the values that were touched longest ago, as many as fit one record, each once; `None`
/// when nothing is left to look at. Only who appends to the chain may ask.
pub(crate) fn next(
    db: &Connection,
    signer: &Signer,
    curators: &[u32],
    now: i64,
) -> Result<Option<Next>, StoreError> {
    let Some((looked_at, values)) = touched(db)? else { return Ok(None) };
    let all = serde_json::to_string(&values).expect("texts become JSON");
    let withdrawn = listed::withdrawn(db, &all, curators)?;
    let allowed = allowed::networks(db)?;
    let mut entries = entries(db, &all)?;
    entries.retain(|value, it| !withdrawn.contains(value) && !allowed.touches(it.value));
    let told = told(db, &all)?;
    let (mut changes, mut said) = (Vec::new(), Vec::new());
    for value in values {
        let entry = entries.remove(&value);
        let change = match (&entry, told.get(&value)) {
            (None, None) => continue,
            (None, Some(_)) => {
                let why = match withdrawn.contains(&value) {
                    true => Withdrawal::FalsePositive,
                    false => Withdrawal::Gone,
                };
                net::read(&value).map(|value| Change::Withdraw { value, why })
            }
            (Some(entry), Some((last, line))) if !is_news(entry, *last, line) => continue,
            (Some(entry), _) => Some(Change::List(entry.clone())),
        };
        changes.extend(change);
        said.push((value, entry));
    }
    let record = match changes.is_empty() {
        true => None,
        false => Some(Record::new(place(db)?, changes, None, signer, now)),
    };
    Ok(Some(Next { looked_at, said, record }))
}

impl Next {
    /// Keeps what is told, and appends the record of it, if there is one.
    pub(crate) fn store(self, db: &Connection) -> Result<Option<Sent>, StoreError> {
        db.prepare_cached("DELETE FROM touched WHERE id <= ?")?.execute([self.looked_at])?;
        let mut forget = db.prepare_cached("DELETE FROM listed WHERE value = ?")?;
        let mut keep = db.prepare_cached(
            "INSERT INTO listed (value, last, line) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET last = excluded.last, line = excluded.line",
        )?;
        for (value, entry) in self.said {
            match entry {
                Some(entry) => keep.execute((value, entry.last, entry.line()))?,
                None => forget.execute([value])?,
            };
        }
        self.record.map(|it| it.append(db)).transpose()
    }
}

/// Appends the record that introduces `key`, signed with the key before it.
pub(crate) fn rotate(
    db: &Connection,
    key: PublicKey,
    signer: &Signer,
    now: i64,
) -> Result<Sent, StoreError> {
    Record::new(place(db)?, vec![Change::Key { key }], Some(key), signer, now).append(db)
}

impl Record {
    fn new(
        mut place: Place,
        changes: Vec<Change>,
        key: Option<PublicKey>,
        signer: &Signer,
        issued: i64,
    ) -> Self {
        let line = place.append(changes, signer, issued, issued + RECORD_LIFE).line();
        Self { place, issued, key, line }
    }

    fn append(self, db: &Connection) -> Result<Sent, StoreError> {
        let Self { place, issued, key, line } = self;
        let sql = "INSERT INTO change_record (sequence, issued, digest, key, line)
                   VALUES (?, ?, ?, ?, ?)";
        let key = key.map(|it| it.to_string());
        let row = (signed(place.sequence), issued, place.head.to_string(), key, &line);
        db.prepare_cached(sql)?.execute(row)?;
        let sql = "DELETE FROM change_record WHERE key IS NULL AND (sequence <= ? OR issued < ?)
                   AND sequence < ?";
        let oldest = signed(place.sequence.saturating_sub(MAX_KEPT));
        let with = (oldest, issued - RECORD_KEPT, signed(place.sequence));
        db.prepare_cached(sql)?.execute(with)?;
        Ok(Sent { sequence: place.sequence, line })
    }
}

/// The values that were touched longest ago, and the number of the last note of them.
fn touched(db: &Connection) -> Result<Option<(i64, BTreeSet<String>)>, StoreError> {
    let sql = "SELECT id, value FROM touched ORDER BY id LIMIT ?";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([length(MAX_CHANGES)])?;
    let (mut values, mut last) = (BTreeSet::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        values.insert(row.get(1)?);
    }
    Ok(last.map(|last| (last, values)))
}

/// What was said last of each of `values`, a list as JSON: the time in it, and all of it.
fn told(db: &Connection, values: &str) -> Result<HashMap<String, (i64, String)>, StoreError> {
    let sql = "SELECT value, last, line FROM listed
        WHERE value IN (SELECT value FROM json_each(?))";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([values], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether `entry` says more than that its address goes on.
fn is_news(entry: &Entry, last: i64, line: &str) -> bool {
    let told: Option<Entry> = serde_json::from_str(line).ok();
    let goes_on = told.is_some_and(|told| {
        (&told.tags, &told.kind, told.first) == (&entry.tags, &entry.kind, entry.first)
    });
    !goes_on || entry.last < last || entry.last >= last + NEWS
}

/// Those of `values`, a list as JSON, that are reported for detection, as they are to be listed.
fn entries(db: &Connection, values: &str) -> Result<HashMap<String, Entry>, StoreError> {
    let hosts = listed::hosts(db, values)?;
    let mut tags = tags(db, values)?;
    let sql = "
        SELECT value1, min(type),
            min(coalesce(first_seen / 1000000, timestamp)),
            max(max(coalesce(last_seen / 1000000, timestamp), coalesce((
                SELECT date FROM sighting WHERE attribute = attribute.id AND type = 0
                ORDER BY date DESC LIMIT 1), 0))),
            sum((SELECT count(*) FROM (
                SELECT 1 FROM sighting WHERE attribute = attribute.id AND type = 0 LIMIT ?2)))
        FROM attribute WHERE value1 IN (SELECT value FROM json_each(?1))
            AND deleted = 0 AND to_ids = 1
            AND type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port')
        GROUP BY value1";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query((values, MAX_COUNTED))?;
    let mut entries = HashMap::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        let Some(value) = crate::lists::network(&text) else { continue };
        let entry = Entry {
            value,
            kind: row.get(1)?,
            first: row.get(2)?,
            last: row.get(3)?,
            sightings: unsigned(row.get(4)?),
            hosts: hosts.get(&text).copied().unwrap_or_default(),
            tags: tags.remove(&text).unwrap_or_default(),
        };
        entries.insert(text, entry);
    }
    Ok(entries)
}

/// Tags of the attributes with each of `values`, and of their events, by name.
fn tags(db: &Connection, values: &str) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let sql = "
        SELECT DISTINCT value1, name FROM (
            SELECT value1, tag FROM attribute JOIN attribute_tag ON attribute = attribute.id
                WHERE value1 IN (SELECT value FROM json_each(?1)) AND deleted = 0
            UNION ALL
            SELECT value1, tag FROM attribute JOIN event_tag ON event_tag.event = attribute.event
                WHERE value1 IN (SELECT value FROM json_each(?1)) AND deleted = 0
        ) JOIN tag ON tag.id = tag ORDER BY name";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([values])?;
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let names = tags.entry(row.get(0)?).or_default();
        if names.len() < MAX_TAGS {
            names.push(row.get(1)?);
        }
    }
    Ok(tags)
}

/// The records after number `since`, at most `limit`; `None` where they do not reach back so far,
/// where the chain never was there, and where a beginner is better served by the list as a whole.
pub(crate) fn since(
    db: &Connection,
    since: u64,
    limit: usize,
) -> Result<Option<Vec<Sent>>, StoreError> {
    let head = place(db)?.sequence;
    if since == head {
        return Ok(Some(Vec::new()));
    }
    let sql =
        "SELECT sequence, line FROM change_record WHERE sequence > ? ORDER BY sequence LIMIT ?";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map((signed(since), length(limit)), |row| {
        Ok(Sent { sequence: unsigned(row.get(0)?), line: row.get(1)? })
    })?;
    let records: Vec<Sent> = rows.collect::<Result<_, _>>()?;
    let is_next =
        records.first().is_some_and(|it| it.sequence == since + 1) && (since > 0 || head == 1);
    Ok(is_next.then_some(records))
}

/// The list as a whole, line by line: the records that introduced keys, the entries, and last the
/// snapshot that signs them.
pub(crate) fn snapshot<E: From<StoreError>>(
    db: &Connection,
    signer: &Signer,
    now: i64,
    mut out: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error| E::from(StoreError::Sqlite(error));
    let place = place(db)?;
    let sql = "SELECT line FROM change_record WHERE key IS NOT NULL ORDER BY sequence";
    each_line(db, sql, failed, &mut out)?;
    let mut entries = Entries::default();
    each_line(db, "SELECT line FROM listed", failed, |line| {
        entries.add(line);
        out(line)
    })?;
    out(&entries.sign(place, signer, now, now + SNAPSHOT_LIFE).line())
}

fn each_line<E>(
    db: &Connection,
    sql: &str,
    failed: impl Fn(rusqlite::Error) -> E,
    mut out: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut query = db.prepare_cached(sql).map_err(&failed)?;
    let mut rows = query.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let line = row.get_ref(0).and_then(|it| Ok(it.as_str()?)).map_err(&failed)?;
        out(line)?;
    }
    Ok(())
}

/// SQLite's integers are signed; no number of a record comes near the end of them.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A limit of ours, as SQLite takes it.
fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// What this module itself has written as a text.
fn parsed<T, S>(text: S) -> Result<T, StoreError>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    S: AsRef<str>,
{
    let text = text.as_ref();
    text.parse().map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        StoreError::Sqlite(rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error)))
    })
}
