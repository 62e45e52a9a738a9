//! Pulls from a MISP: what changed since the last time, page by page, and now and then all of it.
//!
//! A change raises an attribute's timestamp, also one that takes `to_ids` away or deletes it; so
//! all changes are asked for and judged here. What is deleted for good leaves no trace, and what
//! comes by synchronisation keeps its old timestamp: for both there is the comparison of the whole.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use lists::net;
use misp::pull::Found;
use misp::{Client, MispError};

use super::{Heard, Mouth, PIECE, Progress, PullError, Row, RowChange, Told, Wanted};
use crate::blocklist::Indicator;

/// Attributes of a page: 0.4 s of MISP 2.5.1, and some 5 MB.
const PAGE: u32 = 5_000;
/// Changes are asked for from so long before the last one: they are committed in any order.
const OVERLAP: SignedDuration = SignedDuration::from_secs(120);
/// How often all of it is compared.
const RECONCILE_EVERY: SignedDuration = SignedDuration::from_hours(6);
/// Sightings are asked for from so long ago at first: MISP's own window.
const FIRST_SIGHTINGS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A sighting of this kind says that a value is no indicator.
const FALSE_POSITIVE: u8 = 1;

pub(super) fn pull<M: From<Heard>>(
    client: &Client,
    progress: &mut Progress,
    wanted: &Wanted,
    names: &mut Names,
    mouth: &Mouth<'_, M>,
) -> Result<(), PullError> {
    let began = client.version()?.clock.unwrap_or_else(Timestamp::now);
    let sightings = sightings(client, progress.cursor, began)?;
    match (progress.cursor, progress.reconciled) {
        (Some(cursor), Some(last)) if began.duration_since(last) < RECONCILE_EVERY => {
            changes(client, cursor - OVERLAP, wanted, names, mouth)?;
        }
        _ => {
            whole(client, wanted, names, mouth)?;
            progress.reconciled = Some(began);
            mouth.tell(Told::Whole(*progress))?;
        }
    }
    // What came while the pages were read is asked for again.
    progress.cursor = Some(began);
    mouth.tell(Told::Changes(sightings, *progress))
}

impl Wanted {
    /// Pages that are asked for at most.
    fn pages(&self) -> u32 {
        u32::try_from(self.most.div_ceil(u64::from(PAGE))).unwrap_or(u32::MAX)
    }
}

/// What changed since then.
fn changes<M: From<Heard>>(
    client: &Client,
    since: Timestamp,
    wanted: &Wanted,
    names: &mut Names,
    mouth: &Mouth<'_, M>,
) -> Result<(), PullError> {
    for number in 1..=wanted.pages() {
        let page = client.page(&wanted.kinds, since, number, PAGE)?;
        names.learn(&page.attributes, client)?;
        let changes: Vec<RowChange> =
            page.attributes.into_iter().filter_map(|it| change(it, names)).collect();
        for piece in changes.chunks(PIECE) {
            mouth.tell(Told::Changes(piece.to_vec(), Progress::default()))?;
        }
        if page.is_last {
            return Ok(());
        }
    }
    Err(PullError::TooMany { most: wanted.most })
}

/// All there is.
fn whole<M: From<Heard>>(
    client: &Client,
    wanted: &Wanted,
    names: &mut Names,
    mouth: &Mouth<'_, M>,
) -> Result<(), PullError> {
    mouth.tell(Told::Begin)?;
    for number in 1..=wanted.pages() {
        let page = client.page(&wanted.kinds, Timestamp::UNIX_EPOCH, number, PAGE)?;
        names.learn(&page.attributes, client)?;
        let rows: Vec<Row> = page.attributes.into_iter().filter_map(|it| row(it, names)).collect();
        mouth.tell(Told::Rows(rows))?;
        if page.is_last {
            return Ok(());
        }
    }
    Err(PullError::TooMany { most: wanted.most })
}

/// The names of a MISP's organisations, as far as they were asked for: an attribute tells but the
/// number.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u64, String>);

impl Names {
    /// Asks for the names of those that made `found` and are not known yet. One that MISP does not
    /// tell goes by its number.
    fn learn(&mut self, found: &[Found], client: &Client) -> Result<(), MispError> {
        for id in found.iter().filter_map(|it| it.event.orgc_id) {
            if self.0.contains_key(&id) {
                continue;
            }
            let name = match client.organisation(id) {
                Ok(name) => name,
                Err(MispError::Misconfigured { .. } | MispError::Refused { .. }) => id.to_string(),
                Err(error @ MispError::Later { .. }) => return Err(error),
            };
            self.0.insert(id, name);
        }
        Ok(())
    }

    fn of(&self, id: u64) -> String {
        self.0.get(&id).cloned().unwrap_or_default()
    }
}

fn change(found: Found, names: &Names) -> Option<RowChange> {
    match found.deleted {
        Some(true) => Some(RowChange::Remove { id: found.uuid?.to_string() }),
        _ => row(found, names).map(RowChange::Put),
    }
}

/// A live attribute that names an address.
fn row(found: Found, names: &Names) -> Option<Row> {
    if found.deleted == Some(true) {
        return None;
    }
    let changed = found.timestamp.map_or(0, Timestamp::as_second);
    let seconds = |time: Option<Timestamp>| time.map_or(changed, Timestamp::as_second);
    let organisation = found.event.orgc_id.map(|id| names.of(id)).unwrap_or_default();
    Some(Row {
        id: found.uuid?.to_string(),
        indicator: Indicator {
            net: net::read(&found.value)?,
            kind: found.kind,
            organisation,
            to_ids: found.to_ids == Some(true),
            first: seconds(found.first_seen),
            last: seconds(found.last_seen),
            tags: found.tags.into_iter().map(|tag| tag.name).collect(),
            denied_by: Default::default(),
        },
    })
}

/// Who was sighted, and who was called a false positive. A sighting changes no timestamp.
fn sightings(
    client: &Client,
    cursor: Option<Timestamp>,
    now: Timestamp,
) -> Result<Vec<RowChange>, PullError> {
    let since = cursor.map_or(now - FIRST_SIGHTINGS, |cursor| cursor - OVERLAP);
    let found = client.sightings_since(since)?;
    let change = |it: misp::pull::FoundSighting| {
        let net = net::read(&it.value)?;
        let last = it.date_sighting?.as_second();
        match it.kind? {
            0 => Some(RowChange::Sighted { net, last }),
            FALSE_POSITIVE => Some(RowChange::Denied { net, who: it.organisation.name }),
            _ => None,
        }
    };
    Ok(found.into_iter().filter_map(change).collect())
}
