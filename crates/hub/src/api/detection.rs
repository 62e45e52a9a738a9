//! What is meant for detection, in the languages of what detects: rules for Suricata and Snort,
//! names for a file of hosts, names and addresses for the response policy zone of a resolver.
//!
//! A value is written only as the address or the name that was read from it: nothing of what a log
//! brought gets to speak that language itself.

use std::net::IpAddr;

use ipnet::IpNet;
use lists::net;
use misp::value::Value;

/// The first number of the rules: those below are other publishers'.
const FIRST_RULE: i64 = 4_000_000;

/// Letters of a name, RFC 1035.
const MAX_NAME: usize = 253;

/// Types of attributes that rules speak of.
pub(super) const ADDRESSES: &[&str] = &["ip-src", "ip-dst", "ip-src|port", "ip-dst|port"];
/// Types that a file of hosts speaks of.
pub(super) const NAMES: &[&str] = &["domain", "hostname", "domain|ip"];
/// Types that a resolver decides on.
pub(super) const RESOLVED: &[&str] = &["ip-src", "ip-dst", "domain", "hostname", "domain|ip"];

/// An attribute, as far as rules tell of it.
#[derive(Clone, Debug)]
pub(super) struct Indicator {
    pub(super) id: i64,
    pub(super) event: i64,
    pub(super) kind: String,
    pub(super) value: Value,
}

impl Indicator {
    /// A rule that Suricata and Snort both understand.
    pub(super) fn rule(&self) -> Option<String> {
        let peer = net::write(net::read(&self.value.first)?);
        let port = match &*self.value.second {
            "" => "any".to_owned(),
            port => port.parse::<u16>().ok()?.to_string(),
        };
        let (ways, word) = match self.kind.starts_with("ip-src") {
            true => (format!("{peer} {port} -> $HOME_NET any"), "from"),
            false => (format!("$HOME_NET any -> {peer} {port}"), "to"),
        };
        let (event, number) = (self.event, FIRST_RULE + self.id);
        Some(format!(
            "alert ip {ways} (msg:\"Event {event}: traffic {word} {peer}\"; \
             classtype:misc-attack; sid:{number}; rev:1;)"
        ))
    }

    /// A line of a file of hosts that leads nowhere.
    pub(super) fn host(&self) -> Option<String> {
        Some(format!("0.0.0.0 {}", self.name()?))
    }

    /// Records of a response policy zone: what is named does not exist.
    pub(super) fn record(&self) -> Option<String> {
        if let Some(net) = net::read(&self.value.first) {
            return Some(format!("{}.rpz-ip CNAME .", reversed(net)));
        }
        let name = self.name()?;
        Some(match &*self.kind {
            "hostname" => format!("{name} CNAME ."),
            _ => format!("{name} CNAME .\n*.{name} CNAME ."),
        })
    }

    /// The value, if it is a name as resolvers know them.
    fn name(&self) -> Option<&str> {
        let name = self.value.first.trim_end_matches('.');
        let is_letter = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
        let is_label = |it: &str| !it.is_empty() && it.bytes().all(is_letter);
        (name.len() <= MAX_NAME && name.split('.').all(is_label)).then_some(name)
    }
}

/// The head of a response policy zone that was made at `now`.
pub(super) fn zone(now: i64) -> String {
    format!("$TTL 1h\n@ SOA localhost. root.localhost. ({now} 2h 30m 30d 1h)\n@ NS localhost.\n")
}

/// A network as a response policy zone names it: its length, then its parts from the last one on.
fn reversed(net: IpNet) -> String {
    let length = net.prefix_len();
    let (text, mark) = match net.addr() {
        IpAddr::V4(addr) => (addr.to_string(), '.'),
        IpAddr::V6(addr) => (addr.to_string(), ':'),
    };
    let mut parts: Vec<&str> =
        text.rsplit(mark).map(|it| if it.is_empty() { "zz" } else { it }).collect();
    parts.dedup_by(|a, b| (*a, *b) == ("zz", "zz"));
    format!("{length}.{}", parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indicator(kind: &str, first: &str, second: &str) -> Indicator {
        let value = Value { first: first.to_owned(), second: second.to_owned() };
        Indicator { id: 61, event: 6, kind: kind.to_owned(), value }
    }

    #[track_caller]
    fn rule(kind: &str, first: &str, second: &str, want: Option<&str>) {
        let rule = indicator(kind, first, second).rule();
        let ways = rule.as_deref().and_then(|it| Some(it.split_once(" (")?.0));
        assert_eq!(ways, want, "{kind} {first}");
    }

    #[test]
    fn rules() {
        let whole = indicator("ip-src", "192.0.2.1", "").rule();
        let want = "alert ip 192.0.2.1 any -> $HOME_NET any (msg:\"Event 6: traffic from \
                    192.0.2.1\"; classtype:misc-attack; sid:4000061; rev:1;)";
        assert_eq!(whole.as_deref(), Some(want));
        rule("ip-dst", "192.0.2.3", "", Some("alert ip $HOME_NET any -> 192.0.2.3 any"));
        rule("ip-src|port", "192.0.2.4", "22", Some("alert ip 192.0.2.4 22 -> $HOME_NET any"));
        rule("ip-src", "2001:db8:5::1", "", Some("alert ip 2001:db8:5::1 any -> $HOME_NET any"));
        rule("ip-src", "192.0.2.64/26", "", Some("alert ip 192.0.2.64/26 any -> $HOME_NET any"));
        rule("ip-src", "192.0.2.1 any -> any any (", "", None);
        rule("ip-src|port", "192.0.2.4", "22; drop", None);
    }

    #[track_caller]
    fn record(kind: &str, value: &str, want: Option<&str>) {
        assert_eq!(indicator(kind, value, "").record().as_deref(), want, "{kind} {value}");
    }

    #[test]
    fn records() {
        record("ip-src", "192.0.2.1", Some("32.1.2.0.192.rpz-ip CNAME ."));
        record("ip-src", "192.0.2.64/26", Some("26.64.2.0.192.rpz-ip CNAME ."));
        record("ip-src", "2001:db8:5::1", Some("128.1.zz.5.db8.2001.rpz-ip CNAME ."));
        record("ip-src", "2001:db8::/32", Some("32.zz.db8.2001.rpz-ip CNAME ."));
        record("ip-src", "::1", Some("128.1.zz.rpz-ip CNAME ."));
        record("domain", "bad.example", Some("bad.example CNAME .\n*.bad.example CNAME ."));
        record("hostname", "www.bad.example.", Some("www.bad.example CNAME ."));
        record("domain", "bad.example CNAME .\n*", None);
        record("domain", "bad..example", None);
    }

    #[test]
    fn hosts() {
        let host = |value: &str| indicator("domain", value, "").host();
        assert_eq!(host("bad.example").as_deref(), Some("0.0.0.0 bad.example"));
        assert_eq!(host("bad.example\n127.0.0.1 bank.example"), None);
    }
}
