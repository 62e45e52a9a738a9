//! Warninglists: what is no indicator, whoever reports it.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// How the entries of a list are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Networks: of all addresses in them.
    Cidr,
    /// The values themselves.
    String,
    /// Names: of those below them, too.
    Hostname,
}

impl Kind {
    /// As MISP names it; `None` for what the hub does not compare.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Cidr, Self::String, Self::Hostname].into_iter().find(|it| it.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cidr => "cidr",
            Self::String => "string",
            Self::Hostname => "hostname",
        }
    }

    /// An entry as it is kept; `None` where it can be none.
    pub(crate) fn entry(self, text: &str) -> Option<String> {
        let text = text.trim();
        match self {
            Self::Cidr => network(text).map(|it| it.trunc().to_string()),
            Self::String => (!text.is_empty()).then(|| text.to_owned()),
            Self::Hostname => {
                let name = text.trim_matches('.').to_ascii_lowercase();
                (!name.is_empty()).then_some(name)
            }
        }
    }
}

/// A list, without its entries.
#[derive(Clone, Debug)]
pub(crate) struct Warninglist {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) description: String,
    pub(crate) version: String,
    pub(crate) enabled: bool,
    pub(crate) category: String,
    /// Types of attributes, as MISP writes them.
    pub(crate) matching: String,
    pub(crate) n_entries: i64,
}

/// An entry of an enabled list that speaks of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Warning {
    pub(crate) list: i64,
    pub(crate) name: String,
    pub(crate) entry: String,
}

const COLUMNS: &str = "id, name, type, description, version, enabled, category, matching,
    (SELECT count(*) FROM warninglist_entry WHERE list = warninglist.id)";

impl Warninglist {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let kind: String = row.get(2)?;
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            kind: Kind::parse(&kind).unwrap_or(Kind::String),
            description: row.get(3)?,
            version: row.get(4)?,
            enabled: row.get(5)?,
            category: row.get(6)?,
            matching: row.get(7)?,
            n_entries: row.get(8)?,
        })
    }

    /// The list numbered `id`.
    pub(crate) fn find(db: &Connection, id: i64) -> Result<Option<Self>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM warninglist WHERE id = ?");
        Ok(db.prepare_cached(&sql)?.query_row([id], Self::read).optional()?)
    }

    /// Stores the list with these entries in the place of one of the same name; leaves its number
    /// in `id`.
    pub(crate) fn put(&mut self, db: &Connection, entries: &[String]) -> Result<(), StoreError> {
        self.id = db
            .prepare_cached(
                "INSERT INTO warninglist
                     (name, type, description, version, enabled, category, matching)
                 VALUES (?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (name) DO UPDATE SET type = excluded.type,
                     description = excluded.description, version = excluded.version,
                     enabled = excluded.enabled, category = excluded.category,
                     matching = excluded.matching
                 RETURNING id",
            )?
            .query_row(
                (
                    &self.name,
                    self.kind.name(),
                    &self.description,
                    &self.version,
                    self.enabled,
                    &self.category,
                    &self.matching,
                ),
                |row| row.get(0),
            )?;
        db.execute("DELETE FROM warninglist_entry WHERE list = ?", [self.id])?;
        let mut insert = db.prepare_cached(
            "INSERT INTO warninglist_entry (list, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
        )?;
        for entry in entries {
            insert.execute((self.id, entry))?;
        }
        Ok(())
    }

    /// Its entries with their numbers.
    pub(crate) fn entries(&self, db: &Connection) -> Result<Vec<(i64, String)>, StoreError> {
        let sql = "SELECT id, value FROM warninglist_entry WHERE list = ? ORDER BY id";
        let mut query = db.prepare_cached(sql)?;
        let rows = query.query_map([self.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Lists, the newest first: those whose name or description has `part` in it, and that are enabled
/// or not, if that matters.
pub(crate) fn list(
    db: &Connection,
    part: &str,
    enabled: Option<bool>,
) -> Result<Vec<Warninglist>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM warninglist
         WHERE (instr(lower(name), lower(?1)) > 0 OR instr(lower(description), lower(?1)) > 0)
             AND (?2 IS NULL OR enabled = ?2)
         ORDER BY id DESC"
    );
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map((part, enabled), Warninglist::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Enables or disables the lists of that name, in which `%` stands for anything and case does not
/// matter; says how many there are.
pub(crate) fn enable(db: &Connection, name: &str, enabled: bool) -> Result<usize, StoreError> {
    let sql = "UPDATE warninglist SET enabled = ? WHERE lower(name) LIKE lower(?)";
    Ok(db.prepare_cached(sql)?.execute((enabled, name))?)
}

/// Removes the list numbered `id`; `false` when there is none.
pub(crate) fn remove(db: &Connection, id: i64) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("DELETE FROM warninglist WHERE id = ?")?.execute([id])? > 0)
}

/// What the enabled lists say of a value.
pub(crate) fn warnings(db: &Connection, value: &str) -> Result<Vec<Warning>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT warninglist.id, name, warninglist_entry.value
         FROM warninglist_entry JOIN warninglist ON warninglist.id = list
         WHERE enabled AND (
             type = 'cidr' AND value IN (SELECT value FROM json_each(?1))
             OR type = 'string' AND value = ?2
             OR type = 'hostname' AND value IN (SELECT value FROM json_each(?3)))
         ORDER BY warninglist.id",
    )?;
    let as_json = |names: Vec<String>| serde_json::to_string(&names).expect("texts become JSON");
    let rows = query
        .query_map((as_json(networks(value)), value, as_json(names(value))), |row| {
            Ok(Warning { list: row.get(0)?, name: row.get(1)?, entry: row.get(2)? })
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// An address is a network of itself alone.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// All networks that hold the address or network: few enough to ask the index for each.
fn networks(value: &str) -> Vec<String> {
    let first = network(value).map(|it| it.trunc());
    std::iter::successors(first, IpNet::supernet).map(|it| it.to_string()).collect()
}

/// The name and those above it.
fn names(value: &str) -> Vec<String> {
    let name = value.trim_matches('.').to_ascii_lowercase();
    let above = |it: &String| it.split_once('.').map(|(_, above)| above.to_owned());
    std::iter::successors(Some(name), above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_above_it() {
        let all = networks("192.0.2.7");
        assert_eq!((all.len(), &*all[0], &*all[8]), (33, "192.0.2.7/32", "192.0.2.0/24"));
        assert_eq!(networks("2001:db8::/32").len(), 33);
        assert!(networks("dns.example.org").is_empty());
    }

    #[test]
    fn entries_are_kept_in_one_spelling() {
        assert_eq!(Kind::Cidr.entry(" 192.0.2.7/24").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(Kind::Cidr.entry("2001:DB8::1").as_deref(), Some("2001:db8::1/128"));
        assert_eq!(Kind::Cidr.entry("example.org"), None);
        assert_eq!(Kind::Hostname.entry(".Example.org").as_deref(), Some("example.org"));
        assert_eq!(names("a.example.org"), ["a.example.org", "example.org", "org"]);
    }
}
