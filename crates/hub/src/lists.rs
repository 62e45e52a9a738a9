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
    let render = |how: fn(&[Entry], bool) -> Answer| -> Result<Answer, Fault> {
        let (listed, allowed) = store.read(|db| -> Result<_, StoreError> {
            Ok((listed::addresses(db, &wanted)?, allowed::networks(db)?))
        })?;
        let mut entries: Vec<Entry> = listed.into_iter().filter_map(Entry::of).collect();
        entries.retain(|it| !allowed.touches(it.net));
        entries.sort_by_key(|it| it.net);
        entries.dedup_by_key(|it| it.net);
        Ok(how(&entries, path.query("merge").as_deref() != Some("0")))
    };
    // The router takes `.json` off the end of a path.
    match &*path.action {
        "ipv4.txt" => render(|entries, merge| plain(&networks(entries, merge).0)),
        "ipv6.txt" => render(|entries, merge| plain(&networks(entries, merge).1)),
        "nftables.nft" => render(nftables),
        "ipset.txt" => render(ipset),
        "addresses.csv" => render(|entries, _| table(entries)),
        "addresses" if path.json_suffix => render(|entries, _| objects(entries)),
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

/// A listed address that a firewall may be told.
#[derive(Clone, Debug)]
struct Entry {
    net: IpNet,
    listed: Listed,
}

impl Entry {
    fn of(listed: Listed) -> Option<Self> {
        let net = network(&listed.value)?;
        Some(Self { net, listed })
    }
}

/// The prefix that a value names, if it is narrow enough and of the public internet.
pub(crate) fn network(value: &str) -> Option<IpNet> {
    net::read(value).filter(|net| Widest::default().admits(*net) && net::is_public(*net))
}

/// The prefixes of both families, merged where neighbours make a wider one.
fn networks(entries: &[Entry], merge: bool) -> (Vec<IpNet>, Vec<IpNet>) {
    let (mut v4, mut v6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.net {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    if merge {
        (v4, v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
    }
    (v4.into_iter().map(IpNet::from).collect(), v6.into_iter().map(IpNet::from).collect())
}

fn text(body: String) -> Answer {
    Answer::new(StatusCode::OK, "text/plain; charset=UTF-8", body.into_bytes())
}

fn plain(nets: &[IpNet]) -> Answer {
    text(nets.iter().map(|it| net::write(*it) + "\n").collect())
}

fn nftables(entries: &[Entry], merge: bool) -> Answer {
    let (v4, v6) = networks(entries, merge);
    let mut body = "add table inet fail2misp_hub\n".to_owned();
    for (set, kind, nets) in [("ipv4", "ipv4_addr", v4), ("ipv6", "ipv6_addr", v6)] {
        let set = format!("inet fail2misp_hub {set}");
        body += &format!("add set {set} {{ type {kind}; flags interval; auto-merge; }}\n");
        body += &format!("flush set {set}\n");
        if !nets.is_empty() {
            let nets: Vec<String> = nets.into_iter().map(net::write).collect();
            body += &format!("add element {set} {{ {} }}\n", nets.join(", "));
        }
    }
    text(body)
}

fn ipset(entries: &[Entry], merge: bool) -> Answer {
    let (v4, v6) = networks(entries, merge);
    let mut body = String::new();
    for (set, family, nets) in [("fail2misp-ipv4", "inet", v4), ("fail2misp-ipv6", "inet6", v6)] {
        // Filled aside, then swapped in: no packet meets a half-filled set.
        let fresh = format!("{set}-new");
        let most = nets.len().next_power_of_two().max(65_536);
        for name in [set, &*fresh] {
            body += &format!("create {name} hash:net family {family} maxelem {most} -exist\n");
        }
        body += &format!("flush {fresh}\n");
        for net in nets {
            body += &format!("add {fresh} {} -exist\n", net::write(net));
        }
        body += &format!("swap {fresh} {set}\ndestroy {fresh}\n");
    }
    text(body)
}

fn table(entries: &[Entry]) -> Answer {
    let mut body = b"address,first_seen,last_seen,sightings\n".to_vec();
    for Entry { net, listed } in entries {
        csv::text(&mut body, &net::write(*net));
        for number in [listed.first, listed.last, listed.n_sightings] {
            body.push(b',');
            csv::number(&mut body, number);
        }
        body.push(b'\n');
    }
    Answer::new(StatusCode::OK, "text/csv; charset=UTF-8", body)
}

fn objects(entries: &[Entry]) -> Answer {
    let object = |Entry { net, listed }: &Entry| {
        json!({
            "address": net::write(*net), "first_seen": listed.first, "last_seen": listed.last,
            "sightings": listed.n_sightings,
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
