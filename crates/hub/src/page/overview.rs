//! The first page: how much there is, how it went, who reports, and what came last.

use std::collections::HashMap;
use std::net::IpAddr;

use askama::Template;
use axum::http::StatusCode;
use ipnet::IpNet;
use rusqlite::Connection;

use super::chart::{self, Chart, Day};
use super::{LINES, Page, Visit, before, html, next, when};
use crate::answer::{Answer, Fault};
use crate::keys::KeyRecord;
use crate::store::event::Event;
use crate::store::overview::{self, Line, Totals, Wanted};
use crate::store::{StoreError, daily, latest};

/// Events on the first page.
const EVENTS: i64 = 12;

/// Letters of a search; no value that is sought is longer.
const MAX_SEARCH: usize = 256;

/// The latest rows that are ranked: enough for a picture, few enough for every look.
const RANKED: i64 = 5_000;

/// Places of a ranking that are shown.
const PLACES: usize = 8;

/// A network is what one attacker is usually given.
const NETWORK_V4: u8 = 24;
const NETWORK_V6: u8 = 48;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    /// What only the page before any search shows.
    front: Option<Front>,
    lines: Vec<Line>,
    /// Where the next lines begin.
    next: Option<i64>,
}

struct Front {
    totals: Totals,
    chart: Chart,
    rankings: Vec<(&'static str, Vec<Place>)>,
    hosts: Vec<Host>,
    events: Vec<Event>,
}

/// A place of a ranking.
#[derive(Debug, Eq, PartialEq)]
struct Place {
    name: String,
    n: usize,
    /// Per cent of the first place.
    share: usize,
}

/// A key that reported of late.
struct Host {
    name: String,
    n_attributes: i64,
    n_sightings: i64,
    last: String,
}

impl Page<'_> {
    /// `/`, and `/?value=…` for a search.
    pub(super) fn overview(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let sought = visit.path.query("value").unwrap_or_default();
        let sought: String = sought.trim().chars().take(MAX_SEARCH).collect();
        let before = before(visit);
        let part = (!sought.is_empty()).then(|| sought.clone());
        let front =
            if part.is_none() && before.is_none() { Some(self.front(visit)?) } else { None };
        let wanted = Wanted { part, before, limit: LINES, ..Wanted::default() };
        let lines = self.store.read(|db| overview::lines(db, &wanted))?;
        let shown = Overview {
            organisation: &self.store.organisation.name,
            holder,
            sought: &sought,
            front,
            next: next(&lines),
            lines,
        };
        Ok(html(StatusCode::OK, &shown))
    }

    fn front(&self, visit: &Visit<'_>) -> Result<Front, Fault> {
        let names = self.names()?;
        let since = chart::first_day(visit.now);
        self.store.read(|db| {
            let day = |(day, n_attributes, n_sightings)| Day { day, n_attributes, n_sightings };
            let days = daily::days(db, since)?.into_iter().map(day);
            let host = |it: daily::Brought| Host {
                name: names.get(&it.reporter).cloned().unwrap_or_default(),
                n_attributes: it.n_attributes,
                n_sightings: it.n_sightings,
                last: when(it.last),
            };
            Ok(Front {
                totals: overview::totals(db, chart::day(visit.now))?,
                chart: Chart::of(days, visit.now),
                rankings: self.rankings(db)?,
                hosts: daily::reporters(db, since)?.into_iter().map(host).collect(),
                events: overview::events(db, EVENTS)?,
            })
        })
    }

    /// Who is named most often among the latest.
    fn rankings(&self, db: &Connection) -> Result<Vec<(&'static str, Vec<Place>)>, StoreError> {
        let values = latest::addresses(db, RANKED)?;
        let networks = values.iter().filter_map(|it| network(it));
        let sources = latest::sources(db, RANKED)?;
        let jails = sources.iter().filter_map(|it| jail(it));
        let mut rankings = vec![
            ("Networks of the latest addresses", ranking(networks)),
            ("Jails of the latest sightings", ranking(jails)),
        ];
        if !self.places.is_empty() {
            let addresses = values.iter().filter_map(|it| it.parse().ok());
            let (countries, systems): (Vec<_>, Vec<_>) = addresses
                .map(|it| self.places.of(it))
                .map(|it| (it.country, it.system.map(|it| it.to_string())))
                .unzip();
            let (countries, systems) =
                (countries.into_iter().flatten(), systems.into_iter().flatten());
            rankings.push(("Countries of the latest addresses", ranking(countries)));
            rankings.push(("Autonomous systems of the latest addresses", ranking(systems)));
        }
        Ok(rankings)
    }

    /// The names of all keys that ever were.
    pub(super) fn names(&self) -> Result<HashMap<u32, String>, Fault> {
        Ok(self.keys.list()?.into_iter().map(|it| (it.id, it.name)).collect())
    }
}

/// The network of an address.
fn network(value: &str) -> Option<String> {
    let address: IpAddr = value.parse().ok()?;
    let length = if address.is_ipv4() { NETWORK_V4 } else { NETWORK_V6 };
    Some(IpNet::new(address, length).ok()?.trunc().to_string())
}

/// The jail of a source: sightings say `site/jail`.
fn jail(source: &str) -> Option<String> {
    source.split_once('/').map(|(_, jail)| jail.to_owned())
}

/// Who is named most often.
fn ranking(names: impl Iterator<Item = String>) -> Vec<Place> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    counts.truncate(PLACES);
    let most = counts.first().map_or(1, |(_, n)| *n);
    counts.into_iter().map(|(name, n)| Place { name, n, share: n * 100 / most }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_network_is_first() {
        let values = ["192.0.2.1", "198.51.100.7", "192.0.2.200", "2001:db8:1:2::3", "no address"];
        let places = ranking(values.iter().filter_map(|it| network(it)));
        let names: Vec<_> = places.iter().map(|it| (&*it.name, it.n, it.share)).collect();
        let want =
            [("192.0.2.0/24", 2, 100), ("198.51.100.0/24", 1, 50), ("2001:db8:1::/48", 1, 50)];
        assert_eq!(names, want);
    }

    #[test]
    fn a_source_names_its_jail() {
        assert_eq!(jail("web-1/nginx-botsearch").as_deref(), Some("nginx-botsearch"));
        assert_eq!(jail("page"), None);
    }
}
