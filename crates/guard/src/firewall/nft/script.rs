//! What `nft` is told, and what it tells: statements for our table, and its listing.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::batch::{MAX_ELEMENTS, Operation, Verb};
use super::set::{Set, counter};
use super::{Table, message};
use crate::firewall::{Blocking, Dropped, FirewallError, Hook, Ports, Rule, Verdict, is_address};

/// The base chains of our table.
const CHAINS: [(Hook, &str); 2] = [(Hook::Input, "input"), (Hook::Forward, "forward")];

/// The table and its chains, as they stand before everything else.
pub(super) fn base(table: Table) -> String {
    let mut out = format!("add table {table}\n");
    for (_, name) in CHAINS {
        let priority = table.priority;
        let base = format_args!("type filter hook {name} priority {priority}; policy accept;");
        line(&mut out, format_args!("add chain {table} {name} {{ {base} }}"));
    }
    out
}

/// The sets of a generation, without elements and without rules that look into them.
pub(super) fn sets(table: Table, jails: &[Blocking], generation: u32) -> String {
    let mut out = String::new();
    for jail in jails {
        for set in Set::ALL {
            let (name, kind, flags) = (set.name(&jail.jail, generation), set.kind(), set.flags());
            line(
                &mut out,
                format_args!("add set {table} {name} {{ type {kind}; flags {flags}; }}"),
            );
        }
    }
    out
}

/// The rules that look into the sets of a generation, in the place of those that are there.
pub(super) fn rules(table: Table, jails: &[Blocking], generation: u32) -> String {
    let mut out = String::new();
    for jail in jails {
        line(&mut out, format_args!("add counter {table} {}", counter(&jail.jail)));
    }
    for (hook, name) in CHAINS {
        line(&mut out, format_args!("flush chain {table} {name}"));
        for jail in jails {
            let rules = jail.rules.iter().filter(|rule| rule.hook == hook);
            for rule in rules.flat_map(Rule::parts) {
                let chain = format!("{table} {name}");
                render_rule(&mut out, &chain, &jail.jail, &rule, generation);
            }
        }
    }
    out
}

/// Each rule has its line for IPv4 and IPv6, addresses and prefixes.
fn render_rule(out: &mut String, chain: &str, jail: &str, rule: &Rule, generation: u32) {
    let matches: Vec<String> = match &rule.ports {
        Ports::All if rule.protocols.is_empty() => vec![String::new()],
        Ports::All => vec![format!("meta l4proto {{ {} }} ", rule.protocols.join(", "))],
        Ports::These(ports) => rule
            .protocols
            .iter()
            .map(|protocol| format!("{protocol} dport {{ {} }} ", ports.join(", ")))
            .collect(),
    };
    let counter = counter(jail);
    let counter = format_args!("counter name \"{counter}\"");
    let verdict = match rule.verdict {
        Verdict::Drop => format!("{counter} drop"),
        Verdict::Reject => format!("{counter} reject"),
        Verdict::Reset => format!("meta l4proto tcp {counter} reject with tcp reset"),
    };
    for packets in matches {
        for set in Set::ALL {
            let (family, name) = (set.family(), set.name(jail, generation));
            let rule = format_args!("{packets}{family} saddr @{name} {verdict}");
            line(out, format_args!("add rule {chain} {rule}"));
        }
    }
}

/// The operations as statements.
pub(super) fn operations(table: Table, operations: &[Operation]) -> String {
    let mut out = String::new();
    for Operation { verb, set, elements, .. } in operations {
        let verb = match verb {
            Verb::Flush => {
                line(&mut out, format_args!("flush set {table} {set}"));
                continue;
            }
            Verb::Add => "add",
            Verb::Delete => "delete",
        };
        for elements in elements.chunks(MAX_ELEMENTS) {
            let words: Vec<String> =
                elements.iter().map(|(net, time)| element(net, *time)).collect();
            let words = words.join(", ");
            line(&mut out, format_args!("{verb} element {table} {set} {{ {words} }}"));
        }
    }
    out
}

fn element(net: &IpNet, timeout: Option<Duration>) -> String {
    let what = if is_address(net) { net.addr().to_string() } else { net.to_string() };
    match timeout {
        Some(timeout) => format!("{what} timeout {}ms", message::milliseconds(timeout)),
        None => what,
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// What one of our sets holds, in a listing of it by `nft -j`.
pub(super) fn elements(listing: &[u8]) -> Result<Vec<IpNet>, FirewallError> {
    let sets = objects(listing, "set")?;
    let elements = sets.iter().filter_map(|set| set["elem"].as_array()).flatten();
    // With a timeout it is an object that holds the value, without one the value itself.
    let values = elements.map(|it| it["elem"].get("val").unwrap_or(it));
    Ok(values.filter_map(net).collect())
}

/// What the counters of a table have counted, in a listing of all by `nft -j`.
pub(super) fn counters(listing: &[u8], table: &str) -> Result<Vec<Dropped>, FirewallError> {
    let mut counters = objects(listing, "counter")?;
    counters.retain(|it| it["table"] == table);
    let count = |it: &Value, what: &str| it[what].as_u64().unwrap_or(0);
    let read = |it: &Value| Dropped {
        by: it["name"].as_str().unwrap_or_default().to_owned(),
        n_packets: count(it, "packets"),
        n_bytes: count(it, "bytes"),
    };
    Ok(counters.iter().map(read).collect())
}

/// The objects of one kind in a listing by `nft -j`.
fn objects(listing: &[u8], kind: &str) -> Result<Vec<Value>, FirewallError> {
    let mut listing: Value = serde_json::from_slice(listing).map_err(std::io::Error::from)?;
    let Value::Array(objects) = listing["nftables"].take() else { return Ok(Vec::new()) };
    Ok(objects.into_iter().filter_map(|mut it| it.get_mut(kind).map(Value::take)).collect())
}

/// An address, or a prefix as an object of its own.
fn net(value: &Value) -> Option<IpNet> {
    if let Some(addr) = value.as_str() {
        return addr.parse::<IpAddr>().ok().map(IpNet::from);
    }
    let prefix = value.get("prefix")?;
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    IpNet::new(prefix["addr"].as_str()?.parse().ok()?, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listings() {
        let listing = br#"{"nftables": [{"metainfo": {}}, {"set": {"name": "x", "elem": [
            {"elem": {"val": "192.0.2.1", "timeout": 60, "expires": 59}},
            {"elem": {"val": {"prefix": {"addr": "198.51.100.0", "len": 24}}, "timeout": 60}},
            {"prefix": {"addr": "2001:db8::", "len": 32}}, "2001:db8::1"]}}]}"#;
        let nets: Vec<String> =
            elements(listing).into_iter().flatten().map(|it| it.to_string()).collect();
        assert_eq!(nets, ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32", "2001:db8::1/128"]);
    }
}
