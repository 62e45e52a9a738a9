//! The kernel's firewall, nf_tables: our own table `inet fail2misp`, in it a set for each jail,
//! family and kind of target, and rules that look into them.
//!
//! The table is made by the program `nft`, in one step with all bans; single addresses come and go
//! by `netlink`, which does not start a program. They stand in sets with the kernel's own
//! timeouts: if guard dies, its bans still end. Prefixes stand in small interval sets; because
//! those accept no two that overlap, such a set is written anew by `nft`, as the widest prefixes
//! cover it, whenever one changes.
//!
//! Tried with nft 1.0.6 on Linux 6.18.

mod netlink;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;

use super::{Blocking, Change, Firewall, FirewallError, Hook, Ports, Rule, Verdict};
use netlink::{Batch, Netlink, Verb};

/// Our table; nobody else's is touched.
const TABLE: &str = "inet fail2misp";
/// Its name without its family.
const TABLE_NAME: &str = "fail2misp";

/// Just before the ordinary filter (0), where fail2ban's own nftables action is, too.
const PRIORITY: i32 = -1;

/// Elements of one statement, so that a list of 500,000 does not make one line of 10 MB.
const MAX_ELEMENTS: usize = 1000;

/// What nft says is cut to this in an error; it repeats the whole statement under each complaint.
const MAX_SAID: usize = 300;

/// Where nft is when PATH, as an ordinary user's, lacks it.
const PROGRAMS: [&str; 2] = ["nft", "/usr/sbin/nft"];

/// The table, as this process made it.
#[derive(Debug, Default)]
pub struct Nft {
    /// Opened with the first change.
    netlink: Option<Netlink>,
    /// The prefixes that are banned in each jail, and until when.
    nets: BTreeMap<String, Nets>,
}

type Nets = BTreeMap<IpNet, Option<Instant>>;

impl Nft {
    /// The firewall of the network namespace that this process is in.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Nft {
    fn make(&mut self, batch: Batch) -> Result<(), FirewallError> {
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open()?,
        };
        netlink.make(batch)?;
        self.netlink = Some(netlink);
        Ok(())
    }
}

impl Firewall for Nft {
    fn describe(&self) -> String {
        format!("nftables, table {TABLE}")
    }

    fn blocks(&self) -> bool {
        true
    }

    fn check(&mut self, jails: &[Blocking]) -> Result<(), FirewallError> {
        let mut script = String::new();
        render_table(&mut script, jails);
        run(&["-c", "-f", "-"], &script).map(drop)
    }

    fn rebuild(&mut self, jails: &[Blocking], bans: &[Change]) -> Result<(), FirewallError> {
        // `delete` fails where there is no table, so it is added first. All of this is one
        // transaction of the kernel: a packet meets the old rules or the new ones.
        let mut script = format!("add table {TABLE}\ndelete table {TABLE}\n");
        render_table(&mut script, jails);
        let mut nets = BTreeMap::new();
        render_bans(&mut script, bans, &mut nets);
        run(&["-f", "-"], &script)?;
        self.nets = nets;
        Ok(())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        if changes.iter().all(|change| is_address(change.target())) {
            return self.make(batch(changes));
        }
        let mut nets = self.nets.clone();
        let mut script = String::new();
        render_changes(&mut script, changes, &mut nets);
        run(&["-f", "-"], &script)?;
        self.nets = nets;
        Ok(())
    }

    fn banned(&mut self) -> Result<Vec<(String, IpNet)>, FirewallError> {
        let listing = run(&["-j", "list", "table", "inet", "fail2misp"], "")?;
        let listing: Value = serde_json::from_slice(&listing).map_err(io::Error::from)?;
        let mut banned = elements(&listing);
        let now = Instant::now();
        for (jail, nets) in &self.nets {
            // The set holds only the widest of them; the others are banned all the same.
            let live = nets.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
            banned.extend(live.map(|(net, _)| (jail.clone(), *net)));
        }
        banned.sort();
        banned.dedup();
        Ok(banned)
    }

    fn stands(&mut self) -> Result<bool, FirewallError> {
        match run(&["list", "chain", "inet", "fail2misp", "input"], "") {
            // An empty chain is what `nft flush chain` leaves.
            Ok(listing) => Ok(listing.windows(5).any(|it| it == b"saddr")),
            Err(FirewallError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        run(&["-f", "-"], &format!("add table {TABLE}\ndelete table {TABLE}\n"))?;
        self.nets.clear();
        Ok(())
    }
}

/// The table without its elements. Every jail has its rules in both chains that it may need, and
/// each rule its line for IPv4 and IPv6, addresses and prefixes.
fn render_table(out: &mut String, jails: &[Blocking]) {
    line(out, format_args!("table {TABLE} {{"));
    for jail in jails {
        for set in Set::ALL {
            let (name, kind, flags) = (set.name(&jail.jail), set.kind(), set.flags());
            line(out, format_args!("  set {name} {{ type {kind}; flags {flags}; }}"));
        }
    }
    for (hook, name) in [(Hook::Input, "input"), (Hook::Forward, "forward")] {
        line(out, format_args!("  chain {name} {{"));
        line(out, format_args!("    type filter hook {name} priority {PRIORITY}; policy accept;"));
        for jail in jails {
            for rule in jail.rules.iter().filter(|rule| rule.hook == hook) {
                render_rule(out, &jail.jail, rule);
            }
        }
        line(out, format_args!("  }}"));
    }
    line(out, format_args!("}}"));
}

fn render_rule(out: &mut String, jail: &str, rule: &Rule) {
    let matches: Vec<String> = match &rule.ports {
        Ports::All if rule.protocols.is_empty() => vec![String::new()],
        Ports::All => vec![format!("meta l4proto {{ {} }} ", rule.protocols.join(", "))],
        Ports::These(ports) => rule
            .protocols
            .iter()
            .map(|protocol| format!("{protocol} dport {{ {} }} ", ports.join(", ")))
            .collect(),
    };
    let verdict = match rule.verdict {
        Verdict::Drop => "drop",
        Verdict::Reject => "reject",
        Verdict::Reset => "meta l4proto tcp reject with tcp reset",
    };
    for packets in matches {
        for set in Set::ALL {
            let (family, name) = (set.family(), set.name(jail));
            line(out, format_args!("    {packets}{family} saddr @{name} {verdict}"));
        }
    }
}

/// A set of a jail: by family, and by whether it holds addresses or prefixes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Set {
    Addr4,
    Addr6,
    Net4,
    Net6,
}

impl Set {
    const ALL: [Self; 4] = [Self::Addr4, Self::Addr6, Self::Net4, Self::Net6];

    fn of(target: &IpNet) -> Self {
        match (target, is_address(target)) {
            (IpNet::V4(_), true) => Self::Addr4,
            (IpNet::V4(_), false) => Self::Net4,
            (IpNet::V6(_), true) => Self::Addr6,
            (IpNet::V6(_), false) => Self::Net6,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Addr4 => "addr4-",
            Self::Addr6 => "addr6-",
            Self::Net4 => "net4-",
            Self::Net6 => "net6-",
        }
    }

    /// The name in the kernel. nft reads letters, digits, `-`, `.` and `_` in one; any other byte
    /// of a jail's name, and `_` itself, is written as `_` and two digits, so that no two jails
    /// share a set.
    fn name(self, jail: &str) -> String {
        let mut name = self.prefix().to_owned();
        for byte in jail.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => name.push(byte.into()),
                // Writing to a string cannot fail.
                byte => _ = write!(name, "_{byte:02x}"),
            }
        }
        name
    }

    /// The jail in a name of the kernel, where it is one of ours.
    fn jail(name: &str) -> Option<String> {
        let mut rest = Self::ALL.iter().find_map(|set| name.strip_prefix(set.prefix()))?.bytes();
        let mut jail = Vec::new();
        while let Some(byte) = rest.next() {
            jail.push(match byte {
                b'_' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
                byte => byte,
            });
        }
        String::from_utf8(jail).ok()
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Net4 => "ipv4_addr",
            Self::Addr6 | Self::Net6 => "ipv6_addr",
        }
    }

    fn family(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Net4 => "ip",
            Self::Addr6 | Self::Net6 => "ip6",
        }
    }

    fn flags(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Addr6 => "timeout",
            Self::Net4 | Self::Net6 => "interval, timeout",
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

fn is_address(target: &IpNet) -> bool {
    target.prefix_len() == target.max_prefix_len()
}

/// The changes of addresses, for netlink.
fn batch(changes: &[Change]) -> Batch {
    let mut batch = Batch::new(TABLE_NAME);
    for run in runs(changes) {
        let set = run.set();
        let elements = |with_timeouts: bool| -> Vec<(IpAddr, Option<Duration>)> {
            let timeout = |it: &Change| it.timeout().filter(|_| with_timeouts);
            run.0.iter().map(|it| (it.target().addr(), timeout(it))).collect()
        };
        for (verb, with_timeouts) in run.verbs() {
            batch.elements(*verb, &set, &elements(*with_timeouts));
        }
    }
    batch
}

/// The changes as statements; `nets` follows what becomes of the prefixes.
fn render_changes(out: &mut String, changes: &[Change], nets: &mut BTreeMap<String, Nets>) {
    let (addrs, prefixes): (Vec<Change>, Vec<Change>) =
        changes.iter().cloned().partition(|change| is_address(change.target()));
    for run in runs(&addrs) {
        for (verb, with_timeouts) in run.verbs() {
            run.render(out, *verb, *with_timeouts);
        }
    }
    render_prefixes(out, &prefixes, nets);
}

/// The bans as statements, for sets that hold nothing yet.
fn render_bans(out: &mut String, bans: &[Change], nets: &mut BTreeMap<String, Nets>) {
    let (addrs, prefixes): (Vec<Change>, Vec<Change>) =
        bans.iter().cloned().partition(|change| is_address(change.target()));
    for run in runs(&addrs) {
        run.render(out, Verb::Add, true);
    }
    render_prefixes(out, &prefixes, nets);
}

fn render_prefixes(out: &mut String, changes: &[Change], nets: &mut BTreeMap<String, Nets>) {
    let now = Instant::now();
    for change in changes {
        let of_jail = nets.entry(change.jail().to_owned()).or_default();
        match change {
            Change::Ban { target, timeout, .. } => {
                of_jail.insert(*target, timeout.and_then(|it| now.checked_add(it)))
            }
            Change::Unban { target, .. } => of_jail.remove(target),
        };
    }
    let jails: BTreeSet<&str> = changes.iter().map(Change::jail).collect();
    for jail in jails {
        render_nets(out, jail, nets.entry(jail.to_owned()).or_default(), now);
    }
}

/// Changes of one kind in one set, of different addresses: they can share their statements.
struct Run<'a>(&'a [Change]);

/// The changes, cut into runs; their order is kept.
fn runs(changes: &[Change]) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let (mut start, mut targets) = (0, HashSet::new());
    for (at, change) in changes.iter().enumerate() {
        let first = &changes[start];
        let fits = std::mem::discriminant(first) == std::mem::discriminant(change)
            && first.jail() == change.jail()
            && Set::of(first.target()) == Set::of(change.target())
            && at - start < MAX_ELEMENTS
            && targets.insert(change.target());
        if !fits {
            runs.push(Run(&changes[start..at]));
            start = at;
            targets = HashSet::from([change.target()]);
        }
    }
    if start < changes.len() {
        runs.push(Run(&changes[start..]));
    }
    runs
}

impl Run<'_> {
    fn set(&self) -> String {
        Set::of(self.0[0].target()).name(self.0[0].jail())
    }

    /// What is done to its elements, one after the other, and whether with their timeouts.
    ///
    /// To delete what is absent would undo the whole batch, so it is added first: nft 1.0.6 and
    /// Linux before 6.3 cannot destroy what may not be there. To add what is there keeps its old
    /// timeout on Linux 6.1, so a ban is deleted before it is added.
    fn verbs(&self) -> &'static [(Verb, bool)] {
        match self.0[0] {
            Change::Ban { .. } => &[(Verb::Add, false), (Verb::Delete, false), (Verb::Add, true)],
            Change::Unban { .. } => &[(Verb::Add, false), (Verb::Delete, false)],
        }
    }

    fn render(&self, out: &mut String, verb: Verb, with_timeouts: bool) {
        let elements: Vec<String> = self
            .0
            .iter()
            .map(|it| element(it.target().addr(), it.timeout().filter(|_| with_timeouts)))
            .collect();
        let (set, elements) = (self.set(), elements.join(", "));
        let verb = match verb {
            Verb::Add => "add",
            Verb::Delete => "delete",
        };
        line(out, format_args!("{verb} element {TABLE} {set} {{ {elements} }}"));
    }
}

/// The sets of a jail's prefixes, anew.
fn render_nets(out: &mut String, jail: &str, nets: &mut Nets, now: Instant) {
    nets.retain(|_, end| end.is_none_or(|end| end > now));
    for set in [Set::Net4, Set::Net6] {
        let name = set.name(jail);
        line(out, format_args!("flush set {TABLE} {name}"));
        let of_set = nets.iter().filter(|(net, _)| Set::of(net) == set);
        let widest = of_set
            .filter(|(net, _)| !nets.keys().any(|other| other != *net && other.contains(*net)));
        for (net, end) in widest {
            let net = element(net, end.map(|end| end - now));
            line(out, format_args!("add element {TABLE} {name} {{ {net} }}"));
        }
    }
}

/// An element with its timeout; one that is shorter than the kernel's tick of a millisecond would
/// stand for ever.
fn element(what: impl Display, timeout: Option<Duration>) -> String {
    match timeout {
        Some(timeout) => format!("{what} timeout {}ms", timeout.as_millis().max(1)),
        None => what.to_string(),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// The addresses in a listing of the table by `nft -j`.
fn elements(listing: &Value) -> Vec<(String, IpNet)> {
    let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for set in objects.iter().filter_map(|object| object.get("set")) {
        let Some(jail) = set["name"].as_str().and_then(Set::jail) else { continue };
        let elements = set["elem"].as_array().map(Vec::as_slice).unwrap_or_default();
        // With a timeout it is an object that holds the value, without one the value itself.
        let values = elements.iter().map(|it| it["elem"].get("val").unwrap_or(it));
        let addrs = values.filter_map(|it| it.as_str()?.parse::<std::net::IpAddr>().ok());
        found.extend(addrs.map(|addr| (jail.clone(), IpNet::from(addr))));
    }
    found
}

/// Runs nft with `script` as its standard input, and returns its standard output.
fn run(args: &[&str], script: &str) -> Result<Vec<u8>, FirewallError> {
    let mut child = spawn(args)?;
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    // nft reads the whole script before it answers, so writing first cannot block for ever; if it
    // ended early, its exit status says why.
    let written = stdin.write_all(script.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(written.map(|()| output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") {
        return Err(FirewallError::Denied);
    }
    let said: String = said.lines().next().unwrap_or("nothing").chars().take(MAX_SAID).collect();
    Err(FirewallError::Refused { said })
}

fn spawn(args: &[&str]) -> Result<std::process::Child, FirewallError> {
    for program in PROGRAMS {
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            child => return Ok(child?),
        }
    }
    Err(FirewallError::Missing { program: "nft", package: "nftables" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sets_are_told_apart_and_read_back() {
        for jail in ["sshd", "nginx-http-auth", "a b", "a_b", "a_20b", "böse; drop", "x}"] {
            let name = Set::Addr6.name(jail);
            assert!(name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it)));
            assert_eq!(Set::jail(&name).as_deref(), Some(jail), "{name}");
        }
        assert_ne!(Set::Net4.name("a b"), Set::Net4.name("a_20b"));
        assert_eq!(Set::jail("somebody-elses"), None);
    }

    #[track_caller]
    fn check(changes: &[(&str, Option<u64>)], want: &str) {
        let changes: Vec<Change> = changes
            .iter()
            .map(|&(target, seconds)| {
                let subject = jail::Subject::from(target);
                let target = match subject {
                    jail::Subject::Addr(addr) => addr.into(),
                    jail::Subject::Net(net) => net,
                    jail::Subject::Id(id) => panic!("the row holds an address, not {id}"),
                };
                let jail = "sshd".to_owned();
                match seconds {
                    Some(0) => Change::Unban { jail, target },
                    _ => Change::Ban { jail, target, timeout: seconds.map(Duration::from_secs) },
                }
            })
            .collect();
        let mut script = String::new();
        render_changes(&mut script, &changes, &mut BTreeMap::new());
        assert_eq!(script.replace(" element inet fail2misp", ""), want);
    }

    #[test]
    fn renders_changes() {
        // Bans of one set share their statements.
        check(
            &[("192.0.2.1", Some(60)), ("192.0.2.2", None)],
            "add addr4-sshd { 192.0.2.1, 192.0.2.2 }\n\
             delete addr4-sshd { 192.0.2.1, 192.0.2.2 }\n\
             add addr4-sshd { 192.0.2.1 timeout 60000ms, 192.0.2.2 }\n",
        );
        // The order of changes to one address is kept.
        check(
            &[("192.0.2.1", None), ("192.0.2.1", Some(0))],
            "add addr4-sshd { 192.0.2.1 }\n\
             delete addr4-sshd { 192.0.2.1 }\n\
             add addr4-sshd { 192.0.2.1 }\n\
             add addr4-sshd { 192.0.2.1 }\n\
             delete addr4-sshd { 192.0.2.1 }\n",
        );
        // Of prefixes that overlap, the widest.
        check(
            &[("192.0.2.0/25", None), ("192.0.2.0/24", None), ("2001:db8::/64", None)],
            "flush set inet fail2misp net4-sshd\n\
             add net4-sshd { 192.0.2.0/24 }\n\
             flush set inet fail2misp net6-sshd\n\
             add net6-sshd { 2001:db8::/64 }\n",
        );
    }
}
