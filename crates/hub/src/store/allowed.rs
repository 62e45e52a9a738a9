//! The allow list: addresses and networks that no list names, whoever reports them.

use ipnet::IpNet;
use lists::{PrefixSet, net};
use rusqlite::{Connection, Row};

use super::{StoreError, change};

/// What an administrator allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Allowed {
    pub(crate) net: IpNet,
    pub(crate) reason: String,
    /// The administrator's key.
    pub(crate) key: u32,
    /// Epoch seconds.
    pub(crate) since: i64,
}

impl Allowed {
    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let net: String = row.get(0)?;
        // What this module itself has written.
        let Some(net) = net::read(&net) else { return Ok(None) };
        Ok(Some(Self { net, reason: row.get(1)?, key: row.get(2)?, since: row.get(3)? }))
    }

    /// Allows the network, or says anew why it is allowed.
    pub(crate) fn put(&self, db: &Connection) -> Result<(), StoreError> {
        let sql = "INSERT INTO allowed (net, reason, key, since) VALUES (?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET reason = excluded.reason, key = excluded.key,
                since = excluded.since";
        db.execute(sql, (net::write(self.net), &self.reason, self.key, self.since))?;
        touch(db, self.net)
    }
}

/// Takes the word back.
pub(crate) fn revoke(db: &Connection, net: IpNet) -> Result<(), StoreError> {
    db.execute("DELETE FROM allowed WHERE net = ?", [net::write(net)])?;
    touch(db, net)
}

/// All that is allowed, the latest first.
pub(crate) fn list(db: &Connection) -> Result<Vec<Allowed>, StoreError> {
    let sql = "SELECT net, reason, key, since FROM allowed ORDER BY since DESC, net";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([], Allowed::read)?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// What is said of `net`, or of a part of it.
pub(crate) fn of(db: &Connection, net: IpNet) -> Result<Option<Allowed>, StoreError> {
    Ok(list(db)?.into_iter().find(|it| it.net.contains(&net) || net.contains(&it.net)))
}

/// The networks alone.
pub(crate) fn networks(db: &Connection) -> Result<PrefixSet, StoreError> {
    Ok(list(db)?.into_iter().map(|it| it.net).collect())
}

/// Has the change stream look again at all values that have a part in `net`.
fn touch(db: &Connection, net: IpNet) -> Result<(), StoreError> {
    let net: PrefixSet = [net].into_iter().collect();
    let mut values = db.prepare("SELECT DISTINCT value1 FROM attribute")?;
    let mut rows = values.query([])?;
    let mut touched = Vec::new();
    while let Some(row) = rows.next()? {
        let value = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if net::read(value).is_some_and(|it| net.touches(it)) {
            touched.push(value.to_owned());
        }
    }
    touched.iter().try_for_each(|it| change::touch(db, it))
}
