//! `/lists/…`: the addresses that are worth blocking, in the words of firewalls.
//!
//! What is listed: attributes of addresses that are meant for detection and not deleted, published
//! or not, so that a ban reaches the others before its event is closed. What is never listed: an
//! address that is not of the public internet, a prefix wider than a list may hold ([`Widest`]),
//! what a curator, or several sensors, called a false positive, and what an administrator allows.
//!
//! | file | for |
//! |---|---|
//! | `ipv4.txt`, `ipv6.txt` | a prefix on each line |
//! | `nftables.nft` | `nft -f`: two sets in a table of their own, replaced at once |
//! | `ipset.txt` | `ipset restore`: two sets, replaced at once |
//! | `addresses.csv`, `addresses.json` | programs: address, first and last seen, sightings |
//!
//! Filters, as a query: `tag=`, `age=7d`, `min_hosts=2`, `published=1`, `merge=0`.

use axum::http::StatusCode;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lists::net::{self, Widest};
use serde_json::{Value, json};

use crate::answer::{Answer, Fault};
use crate::csv;
use crate::instant::instant;
use crate::keys::{Keys, KeysError, Role};
use crate::request::Path;
use crate::store::listed::{self, Listed, Wanted};
use crate::store::search::Terms;
use crate::store::{Store, StoreError, allowed};

/// Answers `/lists/{file}`.
pub(crate) fn answer(store: &Store, keys: &Keys, path: &Path, now: i64) -> Result<Answer, Fault> {
    let wanted = wanted(keys, path, now)?;
    let networks = || Networks::read(store, &wanted, path.query("merge").as_deref() != Some("0"));
    // The router takes `.json` off the end of a path.
    match &*path.action {
        "ipv4.txt" => Ok(plain(&networks()?.v4)),
        "ipv6.txt" => Ok(plain(&networks()?.v6)),
        "nftables.nft" => Ok(nftables(&networks()?)),
        "ipset.txt" => Ok(ipset(&networks()?)),
        "addresses.csv" => Ok(table(&entries(store, &wanted)?)),
        "addresses" if path.json_suffix => Ok(objects(&entries(store, &wanted)?)),
        _ => Err(Fault::refused(StatusCode::NOT_FOUND, "Not Found")),
    }
}

fn wanted(keys: &Keys, path: &Path, now: i64) -> Result<Wanted, Fault> {
    let since = match path.query("age") {
        Some(age) => Some(instant(&Value::from(age), now).ok_or_else(|| {
            Fault::refused(StatusCode::BAD_REQUEST, "`age` is a time as 12h or 7d")
        })?),
        None => None,
    };
    let min_hosts = path.query("min_hosts").map_or(Ok(1), |it| {
        let text = "`min_hosts` is a whole number";
        it.parse().map_err(|_| Fault::refused(StatusCode::BAD_REQUEST, text))
    })?;
    let mut tags = Terms::default();
    for tag in path.query("tag").unwrap_or_default().split(',').filter(|it| !it.is_empty()) {
        match tag.strip_prefix('!') {
            Some(tag) => tags.none.push(tag.to_owned()),
            None => tags.any.push(tag.to_owned()),
        }
    }
    Ok(Wanted {
        tags,
        since,
        min_hosts,
        published: path.query("published").as_deref() == Some("1"),
        curators: curators(keys)?,
    })
}

/// The keys whose false positive counts at once; a revoked one's word still does.
pub(crate) fn curators(keys: &Keys) -> Result<Vec<u32>, KeysError> {
    let curators = keys.list()?.into_iter().filter(|it| it.role >= Role::Curator);
    Ok(curators.map(|it| it.id).collect())
}

/// Whether a list may name `value`: an address or a narrow prefix of the public internet.
pub(crate) fn may_name(value: &str) -> bool {
    network(value).is_some()
}

/// A listed address that a firewall may be told. There may be a million: no text is kept of it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    net: IpNet,
    first: i64,
    last: i64,
    n_sightings: i64,
}

/// Calls `each` with all that is listed, in no order, and some of it perhaps twice.
fn each(store: &Store, wanted: &Wanted, mut each: impl FnMut(Entry)) -> Result<(), StoreError> {
    store.read(|db| {
        let allowed = allowed::networks(db)?;
        listed::addresses(db, wanted, |Listed { value, first, last, n_sightings }| {
            if let Some(net) = network(value).filter(|it| !allowed.touches(*it)) {
                each(Entry { net, first, last, n_sightings });
            }
        })
    })
}

/// All that is listed, by address.
fn entries(store: &Store, wanted: &Wanted) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    each(store, wanted, |it| entries.push(it))?;
    entries.sort_by_key(|it| it.net);
    entries.dedup_by_key(|it| it.net);
    Ok(entries)
}

/// The prefixes of both families, in order.
#[derive(Debug, Default)]
struct Networks {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Networks {
    /// All that is listed; `merge` has neighbours become a wider one.
    fn read(store: &Store, wanted: &Wanted, merge: bool) -> Result<Self, StoreError> {
        let mut it = Self::default();
        each(store, wanted, |entry| match entry.net {
            IpNet::V4(net) => it.v4.push(net),
            IpNet::V6(net) => it.v6.push(net),
        })?;
        if merge {
            return Ok(Self { v4: Ipv4Net::aggregate(&it.v4), v6: Ipv6Net::aggregate(&it.v6) });
        }
        it.v4.sort_unstable();
        it.v4.dedup();
        it.v6.sort_unstable();
        it.v6.dedup();
        Ok(it)
    }
}

/// The prefix that a value names, if it is narrow enough and of the public internet.
pub(crate) fn network(value: &str) -> Option<IpNet> {
    net::read(value).filter(|net| Widest::default().admits(*net) && net::is_public(*net))
}

fn text(body: String) -> Answer {
    Answer::new(StatusCode::OK, "text/plain; charset=UTF-8", body.into_bytes())
}

/// As lists write it: a single address without its length.
fn written(net: impl Into<IpNet>) -> String {
    net::write(net.into())
}

fn plain<N: Into<IpNet> + Copy>(nets: &[N]) -> Answer {
    let mut body = String::new();
    for net in nets {
        body += &written(*net);
        body.push('\n');
    }
    text(body)
}

fn nftables(networks: &Networks) -> Answer {
    let mut body = "add table inet fail2misp_hub\n".to_owned();
    let mut set = |name: &str, kind: &str, nets: Vec<String>| {
        let set = format!("inet fail2misp_hub {name}");
        body += &format!("add set {set} {{ type {kind}; flags interval; auto-merge; }}\n");
        body += &format!("flush set {set}\n");
        if !nets.is_empty() {
            body += &format!("add element {set} {{ {} }}\n", nets.join(", "));
        }
    };
    set("ipv4", "ipv4_addr", networks.v4.iter().copied().map(written).collect());
    set("ipv6", "ipv6_addr", networks.v6.iter().copied().map(written).collect());
    text(body)
}

fn ipset(networks: &Networks) -> Answer {
    let mut body = String::new();
    let mut set = |set: &str, family: &str, nets: Vec<String>| {
        // Filled aside, then swapped in: no packet meets a half-filled set.
        let fresh = format!("{set}-new");
        let most = nets.len().next_power_of_two().max(65_536);
        for name in [set, &*fresh] {
            body += &format!("create {name} hash:net family {family} maxelem {most} -exist\n");
        }
        body += &format!("flush {fresh}\n");
        for net in nets {
            body += &format!("add {fresh} {net} -exist\n");
        }
        body += &format!("swap {fresh} {set}\ndestroy {fresh}\n");
    };
    set("fail2misp-ipv4", "inet", networks.v4.iter().copied().map(written).collect());
    set("fail2misp-ipv6", "inet6", networks.v6.iter().copied().map(written).collect());
    text(body)
}

fn table(entries: &[Entry]) -> Answer {
    let mut body = b"address,first_seen,last_seen,sightings\n".to_vec();
    for entry in entries {
        csv::text(&mut body, &net::write(entry.net));
        for number in [entry.first, entry.last, entry.n_sightings] {
            body.push(b',');
            csv::number(&mut body, number);
        }
        body.push(b'\n');
    }
    Answer::new(StatusCode::OK, "text/csv; charset=UTF-8", body)
}

fn objects(entries: &[Entry]) -> Answer {
    let object = |it: &Entry| {
        json!({
            "address": net::write(it.net), "first_seen": it.first, "last_seen": it.last,
            "sightings": it.n_sightings,
        })
    };
    Answer::json(&entries.iter().map(object).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: Option<&str>) {
        assert_eq!(network(value).map(net::write).as_deref(), want, "{value}");
    }

    #[test]
    fn what_may_be_listed() {
        check("192.0.2.7", Some("192.0.2.7"));
        check("198.51.100.64/26", Some("198.51.100.64/26"));
        check("2001:db8::7", Some("2001:db8::7"));
        check("::ffff:192.0.2.7", Some("192.0.2.7"));
        check("0.0.0.0/0", None);
        check("8.0.0.0/15", None); // wider than a /16
        check("::/0", None);
        check("10.1.2.3", None);
        check("100.64.0.1", None);
        check("127.0.0.1", None);
        check("169.254.1.1", None);
        check("224.0.0.1", None);
        check("fe80::1", None);
        check("fd00::1", None);
        check("evil.example", None);
    }
}
