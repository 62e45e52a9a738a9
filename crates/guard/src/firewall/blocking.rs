//! What a jail's rules in the firewall are: the stock `banaction`s of fail2ban, taken natively.

use jail::config::{Action, Jail};

/// The stock actions that guard does itself, of fail2ban 1.0 to 1.1. `iptables-multiport-log` is not
/// among them, as guard logs no packets, nor is what an administrator calls `nftables-mine`.
const NATIVE: [&str; 12] = [
    "nftables",
    "nftables-multiport",
    "nftables-allports",
    "iptables",
    "iptables-multiport",
    "iptables-allports",
    "iptables-new",
    "iptables-ipset",
    "iptables-ipset-proto4",
    "iptables-ipset-proto6",
    "iptables-ipset-proto6-allports",
    "iptables-ipset-allports",
];

/// The rules of one jail, which all apply to whoever is banned in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blocking {
    /// The jail.
    pub jail: String,
    /// One for each of its native actions; all different.
    pub rules: Vec<Rule>,
}

/// One rule: packets of the banned that match it meet the verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Which packets are looked at.
    pub hook: Hook,
    /// Protocols, by name or number; none means every one.
    pub protocols: Vec<String>,
    /// Their destination ports.
    pub ports: Ports,
    /// What becomes of them.
    pub verdict: Verdict,
}

/// Which packets are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// Those for this host.
    Input,
    /// Those that this host passes on, to containers for example.
    Forward,
}

/// Destination ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ports {
    /// Every one.
    All,
    /// Names, numbers, and ranges as `1000-2000`.
    These(Vec<String>),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It vanishes.
    Drop,
    /// Its sender is told that the port is unreachable.
    Reject,
    /// Its sender's connection is reset; TCP only.
    Reset,
}

/// Why an action cannot be a rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("action `{action}`: {option} `{value}` is not understood; {remedy}")]
pub struct BlockingError {
    /// The action.
    pub action: String,
    /// Which option of it.
    pub option: &'static str,
    /// What it says.
    pub value: String,
    /// What it may say.
    pub remedy: &'static str,
}

impl Blocking {
    /// The rules of `jail`; `None` where no action of it is one that guard does itself.
    ///
    /// # Errors
    ///
    /// When such an action has an option that is not understood.
    pub fn of(jail: &Jail) -> Result<Option<Self>, BlockingError> {
        let mut rules = Vec::new();
        for action in jail.actions.iter().filter(|action| is_native(action)) {
            let rule = Rule::of(jail, action)?;
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Ok((!rules.is_empty()).then(|| Self { jail: jail.name.clone(), rules }))
    }
}

/// Whether guard does by itself what this action would do: `native=false` in its options leaves it to
/// its commands.
pub fn is_native(action: &Action) -> bool {
    let is_left = action.options.get("native").is_some_and(|_| !action.is("native"));
    NATIVE.contains(&action.name.as_str()) && !is_left
}

impl Rule {
    fn of(jail: &Jail, action: &Action) -> Result<Self, BlockingError> {
        // Debian's jail.conf says `chain = <known/chain>`: a tag is an answer only when expanded. An
        // action that leads back to itself is taken as it stands, and its faults are named below.
        let options = action.expanded(None).unwrap_or_else(|_loop| action.options.clone());
        let option = |name: &str| options.get(name).map(|value| value.trim());
        let fault = |option, value: &str, remedy| BlockingError {
            action: action.name.clone(),
            option,
            value: value.to_owned(),
            remedy,
        };

        let ports = option("port").unwrap_or(&jail.port);
        let all_ports = match option("type") {
            Some(kind) => kind == "allports",
            None => action.name.ends_with("allports"),
        };
        let ports = if all_ports {
            Ports::All
        } else {
            Ports::These(words(ports, is_port).ok_or_else(|| {
                fault("port", ports, "use names, numbers and ranges such as `ssh,8000:8100`")
            })?)
        };

        let protocols = option("protocol").unwrap_or(&jail.protocol);
        let protocols = match protocols {
            "all" | "" => Vec::new(),
            these => words(these, is_word).ok_or_else(|| {
                fault("protocol", these, "use names or numbers such as `tcp,udp`")
            })?,
        };
        if protocols.is_empty() && ports != Ports::All {
            return Err(fault("protocol", "all", "name the protocols that the ports belong to"));
        }

        let blocktype = option("blocktype").unwrap_or("drop");
        let verdict = verdict(blocktype).ok_or_else(|| {
            fault("blocktype", blocktype, "use `drop`, `reject` or `reject with tcp reset`")
        })?;

        let hook = option("chain_hook").or_else(|| option("chain")).unwrap_or("input");
        Ok(Self { hook: self::hook(hook), protocols, ports, verdict })
    }
}

/// The words of a list with commas, where all of them are good.
fn words(list: &str, is_good: fn(&str) -> bool) -> Option<Vec<String>> {
    let words: Vec<String> = list.split(',').map(|word| word.trim().replace(':', "-")).collect();
    words.iter().all(|word| is_good(word)).then_some(words)
}

/// A name of services(5), a number, or a range of numbers.
fn is_port(word: &str) -> bool {
    is_word(word) && !word.starts_with('-') && !word.ends_with('-')
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads a `blocktype` in the words of nft or of iptables.
fn verdict(blocktype: &str) -> Option<Verdict> {
    let words = blocktype.to_ascii_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    match words.as_slice() {
        ["drop"] => Some(Verdict::Drop),
        ["reject", "with", "tcp", "reset"] | ["reject", "--reject-with", "tcp-reset"] => {
            Some(Verdict::Reset)
        }
        // The other ways to reject differ in the code of one ICMP message.
        ["reject", ..] => Some(Verdict::Reject),
        _ => None,
    }
}

/// Reads nft's `chain_hook` or a chain of iptables; what is not the host's own input is passed on.
fn hook(chain: &str) -> Hook {
    if chain.eq_ignore_ascii_case("input") || chain.starts_with("f2b") {
        Hook::Input
    } else {
        Hook::Forward
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn check(name: &str, options: &[(&str, &str)], want: Result<&str, &str>) {
        let action = Action {
            name: name.to_owned(),
            act_name: name.to_owned(),
            known: BTreeMap::new(),
            options: options.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        };
        assert!(is_native(&action), "{name}");
        let jail = jail("sshd", "ssh");
        let got = Rule::of(&jail, &action);
        let got = got.as_ref().map(ToString::to_string).map_err(ToString::to_string);
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{name} {options:?}");
    }

    fn jail(name: &str, port: &str) -> Jail {
        Jail {
            name: name.to_owned(),
            filter: scan::FilterSpec::default(),
            backend: jail::config::Backend::Files,
            log_paths: Vec::new(),
            log_encoding: "auto".to_owned(),
            journal_match: Vec::new(),
            max_retry: 5,
            find_time: jiff::SignedDuration::from_secs(600),
            ban_time: jail::BanTime::Seconds(600),
            increment: None,
            max_matches: 5,
            ignore_ip: Vec::new(),
            ignore_self: true,
            ignore_command: None,
            ignore_cache: None,
            without_logs: jail::config::WithoutLogs::Wait,
            port: port.to_owned(),
            protocol: "tcp".to_owned(),
            actions: Vec::new(),
            options: std::collections::BTreeMap::new(),
            places: std::collections::BTreeMap::new(),
        }
    }

    impl std::fmt::Display for Rule {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Self { hook, protocols, ports, verdict } = self;
            let ports = match ports {
                Ports::All => "all".to_owned(),
                Ports::These(ports) => ports.join(","),
            };
            write!(out, "{hook:?} {} {ports} {verdict:?}", protocols.join(","))
        }
    }

    #[test]
    fn reads_stock_actions() {
        check("nftables-multiport", &[], Ok("Input tcp ssh Drop")); // what the jail says
        check(
            "nftables",
            &[("type", "multiport"), ("port", "80,8000:8100"), ("blocktype", "reject")],
            Ok("Input tcp 80,8000-8100 Reject"),
        );
        check("nftables-allports", &[("protocol", "tcp,udp")], Ok("Input tcp,udp all Drop"));
        check("nftables", &[("type", "allports"), ("protocol", "all")], Ok("Input  all Drop"));
        check("nftables", &[("chain_hook", "forward")], Ok("Forward tcp ssh Drop"));
        check(
            "iptables-multiport",
            &[("chain", "INPUT"), ("blocktype", "REJECT --reject-with icmp-port-unreachable")],
            Ok("Input tcp ssh Reject"),
        );
        check(
            "iptables-ipset-proto6",
            &[("chain", "DOCKER-USER"), ("blocktype", "REJECT --reject-with tcp-reset")],
            Ok("Forward tcp ssh Reset"),
        );
    }

    #[test]
    fn refuses_what_is_no_rule() {
        check(
            "nftables",
            &[("port", "ssh } ; flush ruleset")],
            Err("action `nftables`: port `ssh } ; flush ruleset` is not understood; use names, \
                 numbers and ranges such as `ssh,8000:8100`"),
        );
        check(
            "nftables",
            &[("blocktype", "counter")],
            Err("action `nftables`: blocktype `counter` is not understood; use `drop`, `reject` \
                 or `reject with tcp reset`"),
        );
        check(
            "nftables",
            &[("protocol", "all")],
            Err("action `nftables`: protocol `all` is not understood; name the protocols that \
                 the ports belong to"),
        );
    }

    #[test]
    fn what_a_jail_builds_on_is_the_actions_own() {
        let action = Action {
            name: "iptables-multiport".to_owned(),
            act_name: "iptables-multiport".to_owned(),
            options: BTreeMap::from([("chain".into(), "<known/chain>".into())]),
            known: BTreeMap::from([("known/chain".into(), "INPUT".into())]),
        };
        let rule = Rule::of(&jail("sshd", "ssh"), &action).map(|rule| rule.to_string());
        assert_eq!(rule.as_deref(), Ok("Input tcp ssh Drop"));
    }

    #[test]
    fn knows_its_own() {
        let named = |name: &str| Action {
            name: name.to_owned(),
            act_name: String::new(),
            options: BTreeMap::new(),
            known: BTreeMap::new(),
        };
        for name in ["iptables-xt_recent-echo", "iptables-multiport-log", "nftables-mine"] {
            assert!(!is_native(&named(name)), "{name}");
        }
        let mut left = named("nftables");
        left.options.insert("native".to_owned(), "false".to_owned());
        assert!(!is_native(&left));
        assert!(!is_native(&named("sendmail-whois")));
        let mut jail = jail("dns", "53");
        assert_eq!(Blocking::of(&jail), Ok(None));
        jail.actions = vec![named("sendmail"), named("nftables"), named("nftables-multiport")];
        let blocking = Blocking::of(&jail).ok().flatten();
        assert_eq!(blocking.map(|it| it.rules.len()), Some(1)); // the same rule twice
    }
}
