//! Rules of iptables: what is written, and what a listing says of ours.

use std::fmt::{Display, Write as _};

use super::family::Family;
use super::name::{Name, Part};
use crate::firewall::{Blocking, Dropped, Hook, Ports, Rule, Verdict};

/// Our chains, and from where packets get there.
fn chains(part: Part) -> [(Hook, &'static str, &'static str); 2] {
    [(Hook::Input, "INPUT", part.input()), (Hook::Forward, "FORWARD", part.forward())]
}

/// Ports of one rule (`XT_MULTI_PORTS`); a range counts twice.
const MAX_PORTS: usize = 15;

/// The rules of one family that look into the sets of `generation`, in the place of those that are
/// there; `listing` tells which.
pub(super) fn render(
    part: Part,
    family: Family,
    jails: &[Blocking],
    generation: u32,
    listing: &[String],
) -> String {
    let mut out = "*filter\n".to_owned();
    for (hook, base, chain) in chains(part) {
        line(&mut out, format_args!(":{chain} - [0:0]"));
        for (place, jail) in jails.iter().enumerate() {
            let set = Name { part, family, generation, place }.with(&jail.jail);
            let rules = jail.rules.iter().filter(|rule| rule.hook == hook);
            for rule in rules.flat_map(Rule::parts) {
                for packets in packets(&rule) {
                    let verdict = verdict(rule.verdict, family);
                    let matches = format_args!("{packets}-m set --match-set {set} src");
                    line(&mut out, format_args!("-A {chain} {matches} -j {verdict}"));
                }
            }
        }
        let jump = format!("{base} -j {chain}");
        if !listing.iter().any(|it| *it == format!("-A {jump}")) {
            line(&mut out, format_args!("-I {jump}"));
        }
    }
    out.push_str("COMMIT\n");
    out
}

/// The rules of one family without the sets, which are not there yet, to be tried out.
pub(super) fn trial(part: Part, family: Family, jails: &[Blocking]) -> String {
    let chain = format!("{}-trial", part.input());
    let mut out = format!("*filter\n:{chain} - [0:0]\n");
    for rule in jails.iter().flat_map(|jail| &jail.rules).flat_map(Rule::parts) {
        for packets in packets(&rule) {
            let verdict = verdict(rule.verdict, family);
            line(&mut out, format_args!("-A {chain} {packets}-j {verdict}"));
        }
    }
    out.push_str("COMMIT\n");
    out
}

/// What takes away our rules of one family that `listing` shows.
pub(super) fn removal(listing: &[String]) -> String {
    let mut out = "*filter\n".to_owned();
    for jump in listing.iter().filter_map(|it| it.strip_prefix("-A ")) {
        if !jump.starts_with("fail2misp-") {
            line(&mut out, format_args!("-D {jump}"));
        }
    }
    let chains = || listing.iter().filter_map(|it| it.strip_prefix(':')?.split(' ').next());
    for verb in ["-F", "-X"] {
        chains().for_each(|chain| line(&mut out, format_args!("{verb} {chain}")));
    }
    out.push_str("COMMIT\n");
    out
}

/// Which packets a rule is for, in as many lines as iptables needs for them.
fn packets(rule: &Rule) -> Vec<String> {
    let protocols = &rule.protocols;
    match &rule.ports {
        Ports::All if protocols.is_empty() => vec![String::new()],
        Ports::All => protocols.iter().map(|it| format!("-p {it} ")).collect(),
        Ports::These(ports) => {
            let parts = parts(ports);
            let of_protocol = |protocol: &String| {
                let parts = parts.iter();
                parts
                    .map(|ports| format!("-p {protocol} -m multiport --dports {ports} "))
                    .collect::<Vec<_>>()
            };
            protocols.iter().flat_map(of_protocol).collect()
        }
    }
}

/// The ports in lists that are short enough.
fn parts(ports: &[String]) -> Vec<String> {
    let mut parts: Vec<(usize, String)> = Vec::new();
    for port in ports {
        let port = port.replace('-', ":");
        let n = 1 + port.matches(':').count();
        match parts.last_mut() {
            Some((n_ports, part)) if *n_ports + n <= MAX_PORTS => {
                *n_ports += n;
                part.push(',');
                part.push_str(&port);
            }
            _ => parts.push((n, port)),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

fn verdict(verdict: Verdict, family: Family) -> String {
    match verdict {
        Verdict::Drop => "DROP".to_owned(),
        Verdict::Reject => format!("REJECT --reject-with {}", family.unreachable()),
        Verdict::Reset => "REJECT --reject-with tcp-reset".to_owned(),
    }
}

fn line(out: &mut String, text: impl Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Our chains, rules and jumps in a listing of one family.
pub(super) fn ours(part: Part, listing: &[u8]) -> Vec<String> {
    let listing = String::from_utf8_lossy(listing);
    let ours = listing.lines().filter(|line| {
        chains(part).iter().any(|(_, _, chain)| line.split([' ', ':']).any(|word| word == *chain))
    });
    ours.map(str::to_owned).collect()
}

/// What each of our rules has dropped, by the place of its jail, in a listing with counters:
/// `[packets:bytes] -A fail2misp-input … --match-set f2m4-1-0-sshd src -j DROP`.
pub(super) fn dropped(part: Part, listing: &[u8]) -> Vec<(usize, Dropped)> {
    let listing = String::from_utf8_lossy(listing);
    let read = |line: &str| {
        let (counters, rule) = line.strip_prefix('[')?.split_once("] -A ")?;
        let (packets, bytes) = counters.split_once(':')?;
        let (_, set) = rule.split_once("--match-set ")?;
        let name = Name::read(part, set.split(' ').next()?)?;
        let (n_packets, n_bytes) = (packets.parse().ok()?, bytes.parse().ok()?);
        Some((name.place, Dropped { by: String::new(), n_packets, n_bytes }))
    };
    listing.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jail(ports: &[&str], verdict: Verdict) -> Blocking {
        let ports = match ports {
            [] => Ports::All,
            these => Ports::These(these.iter().map(|&it| it.to_owned()).collect()),
        };
        let protocols = vec!["tcp".to_owned(), "udp".to_owned()];
        let rule = Rule { hook: Hook::Input, protocols, ports, verdict };
        Blocking { jail: "sshd".to_owned(), rules: vec![rule] }
    }

    #[track_caller]
    fn check(family: Family, ports: &[&str], verdict: Verdict, want: &[&str]) {
        let script = render(Part::Bans, family, &[jail(ports, verdict)], 1, &[]);
        let rules: Vec<&str> =
            script.lines().filter_map(|it| it.strip_prefix("-A fail2misp-input ")).collect();
        assert_eq!(rules, want);
    }

    #[test]
    fn writes_rules() {
        check(
            Family::V4,
            &["ssh", "8000-8100"],
            Verdict::Drop,
            &[
                "-p tcp -m multiport --dports ssh,8000:8100 -m set --match-set f2m4-1-0-sshd src -j DROP",
                "-p udp -m multiport --dports ssh,8000:8100 -m set --match-set f2m4-1-0-sshd src -j DROP",
            ],
        );
        check(
            Family::V6,
            &[],
            Verdict::Reset,
            &[
                "-p tcp -m set --match-set f2m6-1-0-sshd src -j REJECT --reject-with tcp-reset",
                "-p udp -m set --match-set f2m6-1-0-sshd src -j REJECT --reject-with icmp6-port-unreachable",
            ],
        );
        let fifteen: Vec<String> = (1..=14).map(|it| it.to_string()).collect();
        assert_eq!(parts(&[fifteen, vec!["20-30".into()]].concat()).len(), 2); // a range is two
    }

    #[test]
    fn knows_its_own_and_jumps_once() {
        let listing =
            b"*filter\n:INPUT ACCEPT [1:2]\n:fail2misp-input - [0:0]\n:fail2misp-forward - [0:0]\n\
            -A INPUT -j fail2misp-input\n-A INPUT -j others\n-A fail2misp-input -j DROP\nCOMMIT\n";
        let ours = ours(Part::Bans, listing);
        assert_eq!(ours.len(), 4);
        let script = render(Part::Bans, Family::V4, &[], 1, &ours);
        assert!(!script.contains("-I INPUT") && script.contains("-I FORWARD"), "{script}");
        assert_eq!(
            removal(&ours),
            "*filter\n-D INPUT -j fail2misp-input\n-F fail2misp-input\n-F fail2misp-forward\n\
             -X fail2misp-input\n-X fail2misp-forward\nCOMMIT\n"
        );
    }

    #[test]
    fn reads_what_was_dropped() {
        let listing =
            b"[3:180] -A fail2misp-input -p tcp -m set --match-set f2m4-2-1-web src -j DROP\n\
            [9:9] -A INPUT -j fail2misp-input\n";
        let dropped = dropped(Part::Bans, listing);
        let want = Dropped { by: String::new(), n_packets: 3, n_bytes: 180 };
        assert_eq!(dropped, [(1, want)]);
    }
}
