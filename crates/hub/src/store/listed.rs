//! The addresses that are worth blocking: what the lists for firewalls are made of.

use std::collections::{HashMap, HashSet};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::StoreError;
use super::search::Terms;

/// Sensors that must call a value a false positive to withdraw it; a curator needs no second. One
/// sensor alone could otherwise free its attacker everywhere.
const VOTES: i64 = 3;

/// Which addresses are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Tags of the attribute or of its event.
    pub(crate) tags: Terms,
    /// Seen or sighted since then.
    pub(crate) since: Option<i64>,
    /// Reported or sighted by as many keys, at least.
    pub(crate) min_hosts: i64,
    /// Of published events alone.
    pub(crate) published: bool,
    /// Keys whose false positive counts at once.
    pub(crate) curators: Vec<u32>,
}

/// An address or prefix, as its attributes tell of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Listed<'a> {
    pub(crate) value: &'a str,
    /// Epoch seconds.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) n_sightings: i64,
}

/// Values that a curator, or enough sensors, called a false positive, of those that `which` admits;
/// of a list of curators and a number of votes.
fn false_positives(which: &str) -> String {
    format!(
        "SELECT attribute.value1 FROM sighting
         JOIN attribute ON attribute.id = sighting.attribute
         WHERE sighting.type = 1 AND {which}
         GROUP BY attribute.value1
         HAVING max(sighting.reporter IN (SELECT value FROM json_each(?)))
             OR count(DISTINCT sighting.reporter) >= ?"
    )
}

/// Which of `values`, a list as JSON, were withdrawn as false positives.
pub(crate) fn withdrawn(
    db: &Connection,
    values: &str,
    curators: &[u32],
) -> Result<HashSet<String>, StoreError> {
    let curators = serde_json::to_string(curators).expect("numbers become JSON");
    let sql = false_positives("attribute.value1 IN (SELECT value FROM json_each(?))");
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map((values, curators, VOTES), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many keys reported or sighted each of `values`, a list as JSON.
pub(crate) fn hosts(db: &Connection, values: &str) -> Result<HashMap<String, u32>, StoreError> {
    let sql = "SELECT value1, count(*) FROM (
            SELECT value1, creator FROM attribute JOIN event ON event.id = attribute.event
                WHERE value1 IN (SELECT value FROM json_each(?1))
            UNION
            SELECT value1, reporter FROM attribute JOIN sighting ON attribute = attribute.id
                WHERE value1 IN (SELECT value FROM json_each(?1)) AND sighting.type = 0
        ) GROUP BY value1";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([values], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many keys reported or sighted the value of the attribute.
const HOSTS: &str = "SELECT count(*) FROM (
    SELECT event.creator FROM event JOIN attribute AS same
        ON same.event = event.id WHERE same.value1 = attribute.value1
    UNION
    SELECT sighting.reporter FROM sighting JOIN attribute AS same
        ON same.id = sighting.attribute
        WHERE same.value1 = attribute.value1 AND sighting.type = 0
)";

/// Calls `each` with what is meant for detection, live, recent enough and withdrawn by nobody who
/// may.
pub(crate) fn addresses(
    db: &Connection,
    wanted: &Wanted,
    mut each: impl FnMut(Listed<'_>),
) -> Result<(), StoreError> {
    let curators = serde_json::to_string(&wanted.curators).expect("numbers become JSON");
    let mut values = vec![Sql::from(curators), Sql::from(VOTES)];
    let withdrawn = false_positives("1");
    let mut sql = format!(
        "WITH withdrawn AS MATERIALIZED ({withdrawn}), seen AS MATERIALIZED (
             SELECT attribute, count(*) AS n, max(date) AS last FROM sighting
             WHERE type = 0 GROUP BY attribute
         )
         SELECT value1,
             min(coalesce(first_seen / 1000000, timestamp)),
             max(max(coalesce(last_seen / 1000000, timestamp), coalesce(seen.last, 0))) AS latest,
             coalesce(sum(seen.n), 0)
         FROM attribute LEFT JOIN seen ON seen.attribute = attribute.id
         WHERE deleted = 0 AND to_ids = 1
             AND type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port')
             AND value1 NOT IN withdrawn"
    );
    if wanted.published {
        sql += " AND event IN (SELECT id FROM event WHERE published = 1)";
    }
    for (terms, sign) in [(&wanted.tags.any, ""), (&wanted.tags.none, "NOT ")] {
        if !terms.is_empty() {
            let (test, with) = super::search::by_any_tag(terms);
            sql += &format!(" AND {sign}{test}");
            values.extend(with);
        }
    }
    sql += " GROUP BY value1 HAVING 1";
    if let Some(since) = wanted.since {
        sql += " AND latest >= ?";
        values.push(Sql::from(since));
    }
    if wanted.min_hosts > 1 {
        sql += &format!(" AND ({HOSTS}) >= ?");
        values.push(Sql::from(wanted.min_hosts));
    }
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        each(Listed {
            value: row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
            first: row.get(1)?,
            last: row.get(2)?,
            n_sightings: row.get(3)?,
        });
    }
    Ok(())
}
