//! The change stream as it is kept: what changed in the lists, record by record.
//!
//! Triggers note each value that is touched, in the transaction that touches it. [`advance`] looks
//! at some of them, compares with what was said of them last, and appends one signed record. So
//! the stream is as durable as what it tells of, and says nothing twice.

use std::collections::BTreeSet;

use lists::chain::{Entries, Place};
use lists::change::{Change, Entry, MAX_CHANGES, MAX_TAGS, Withdrawal};
use lists::{PrefixSet, PublicKey, Signer, net};
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

/// Whether there is anything to look at.
pub(crate) fn is_touched(db: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM touched)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
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

/// Looks at what was touched, and appends a record if anything changed; `None` when nothing is left
/// to look at.
pub(crate) fn advance(
    db: &Connection,
    signer: &Signer,
    curators: &[u32],
    now: i64,
) -> Result<Option<Sent>, StoreError> {
    let allowed = allowed::networks(db)?;
    while let Some(values) = take_touched(db)? {
        let mut changes = Vec::new();
        for value in values {
            changes.extend(change(db, &value, curators, &allowed)?);
        }
        if !changes.is_empty() {
            return append(db, changes, None, signer, now).map(Some);
        }
    }
    Ok(None)
}

/// Appends the record that introduces `key`, signed with the key before it.
pub(crate) fn rotate(
    db: &Connection,
    key: PublicKey,
    signer: &Signer,
    now: i64,
) -> Result<Sent, StoreError> {
    append(db, vec![Change::Key { key }], Some(key), signer, now)
}

fn append(
    db: &Connection,
    changes: Vec<Change>,
    key: Option<PublicKey>,
    signer: &Signer,
    now: i64,
) -> Result<Sent, StoreError> {
    let mut place = place(db)?;
    let line = place.append(changes, signer, now, now + RECORD_LIFE).line();
    let sql = "INSERT INTO change_record (sequence, issued, digest, key, line)
               VALUES (?, ?, ?, ?, ?)";
    let key = key.map(|it| it.to_string());
    let row = (signed(place.sequence), now, place.head.to_string(), key, &line);
    db.prepare_cached(sql)?.execute(row)?;
    let sql = "DELETE FROM change_record WHERE key IS NULL AND (sequence <= ? OR issued < ?)
               AND sequence < ?";
    let oldest = signed(place.sequence.saturating_sub(MAX_KEPT));
    let with = (oldest, now - RECORD_KEPT, signed(place.sequence));
    db.prepare_cached(sql)?.execute(with)?;
    Ok(Sent { sequence: place.sequence, line })
}

/// The oldest values that were touched, as many as fit one record; each once.
fn take_touched(db: &Connection) -> Result<Option<BTreeSet<String>>, StoreError> {
    let sql = "SELECT id, value FROM touched ORDER BY id LIMIT ?";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([length(MAX_CHANGES)])?;
    let (mut values, mut last) = (BTreeSet::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get::<_, i64>(0)?);
        values.insert(row.get(1)?);
    }
    let Some(last) = last else { return Ok(None) };
    db.prepare_cached("DELETE FROM touched WHERE id <= ?")?.execute([last])?;
    Ok(Some(values))
}

/// What changed about `value` since it was last told of, which is from now on what is told now.
fn change(
    db: &Connection,
    value: &str,
    curators: &[u32],
    allowed: &PrefixSet,
) -> Result<Option<Change>, StoreError> {
    let sql = "SELECT last, line FROM listed WHERE value = ?";
    let told = db.prepare_cached(sql)?.query_row([value], |row| Ok((row.get(0)?, row.get(1)?)));
    let told: Option<(i64, String)> = told.optional()?;
    let entry = entry(db, value, curators)?.filter(|it| !allowed.touches(it.value));
    match (entry, told) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            db.prepare_cached("DELETE FROM listed WHERE value = ?")?.execute([value])?;
            let why = match listed::is_withdrawn(db, value, curators)? {
                true => Withdrawal::FalsePositive,
                false => Withdrawal::Gone,
            };
            Ok(net::read(value).map(|value| Change::Withdraw { value, why }))
        }
        (Some(entry), told) => {
            if let Some((last, line)) = told
                && !is_news(&entry, last, &line)
            {
                return Ok(None);
            }
            let sql = "INSERT INTO listed (value, last, line) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET last = excluded.last, line = excluded.line";
            db.prepare_cached(sql)?.execute((value, entry.last, entry.line()))?;
            Ok(Some(Change::List(entry)))
        }
    }
}

/// Whether `entry` says more than that its address goes on.
fn is_news(entry: &Entry, last: i64, line: &str) -> bool {
    let told: Option<Entry> = serde_json::from_str(line).ok();
    let goes_on = told.is_some_and(|told| {
        (&told.tags, &told.kind, told.first) == (&entry.tags, &entry.kind, entry.first)
    });
    !goes_on || entry.last < last || entry.last >= last + NEWS
}

/// `value` as it is to be listed, if it is.
fn entry(db: &Connection, value: &str, curators: &[u32]) -> Result<Option<Entry>, StoreError> {
    let Some(net) = crate::lists::network(value) else { return Ok(None) };
    let sql = "
        SELECT min(type),
            min(coalesce(first_seen / 1000000, timestamp)),
            max(max(coalesce(last_seen / 1000000, timestamp), coalesce((
                SELECT date FROM sighting WHERE attribute = attribute.id AND type = 0
                ORDER BY date DESC LIMIT 1), 0))),
            sum((SELECT count(*) FROM (
                SELECT 1 FROM sighting WHERE attribute = attribute.id AND type = 0 LIMIT ?2)))
        FROM attribute WHERE value1 = ?1 AND deleted = 0 AND to_ids = 1
            AND type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port')";
    let (kind, first, last, n): (Option<String>, Option<i64>, Option<i64>, Option<i64>) =
        db.prepare_cached(sql)?.query_row((value, MAX_COUNTED), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    let (Some(kind), Some(first), Some(last)) = (kind, first, last) else { return Ok(None) };
    if listed::is_withdrawn(db, value, curators)? {
        return Ok(None);
    }
    let hosts = listed::n_hosts(db, value)?;
    let tags = tags(db, value)?;
    let sightings = unsigned(n.unwrap_or(0));
    Ok(Some(Entry { value: net, kind, first, last, sightings, hosts, tags }))
}

/// Tags of the attributes with this value, and of their events.
fn tags(db: &Connection, value: &str) -> Result<Vec<String>, StoreError> {
    let sql = "
        SELECT name FROM tag WHERE id IN (
            SELECT tag FROM attribute_tag JOIN attribute ON attribute.id = attribute
                WHERE value1 = ?1 AND deleted = 0
            UNION
            SELECT tag FROM event_tag JOIN attribute ON attribute.event = event_tag.event
                WHERE value1 = ?1 AND deleted = 0
        ) ORDER BY name LIMIT ?2";
    let mut query = db.prepare_cached(sql)?;
    let names = query.query_map((value, length(MAX_TAGS)), |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
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
