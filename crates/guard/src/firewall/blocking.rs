//! What a jail's rules in the firewall are: the stock `banaction`s of fail2ban, taken natively.

use std::collections::BTreeMap;

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
            for rule in Rule::all_of(jail, action)? {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        Ok((!rules.is_empty()).then(|| Self { jail: jail.name.clone(), rules }))
    }
}

/// Whether guard does by itself what this action would do. `native=false` in its options leaves it to
/// its commands; so does what guard's rules do not do: another hook, a chain or a match of the
/// administrator's own.
pub fn is_native(action: &Action) -> bool {
    let is_left = action.options.get("native").is_some_and(|_| !action.is("native"));
    NATIVE.contains(&action.name.as_str())
        && !is_left
        && Shape::of(action, &options(action)).is_some()
}

/// Debian's jail.conf says `chain = <known/chain>`: a tag is an answer only when expanded. An action
/// that leads back to itself is taken as it stands, and its faults are named later.
fn options(action: &Action) -> BTreeMap<String, String> {
    action.expanded(None).unwrap_or_else(|_loop| action.options.clone())
}

/// What an action asks for beside ports and protocols.
struct Shape {
    hooks: Vec<Hook>,
    all_ports: bool,
    verdict: Verdict,
}

impl Shape {
    /// Reads the options of one of the [`NATIVE`]; `None` where they ask for what guard does not do.
    fn of(action: &Action, options: &BTreeMap<String, String>) -> Option<Self> {
        let option = |name: &str, usual| options.get(name).map_or(usual, |it| it.trim());
        let usual = if action.name.ends_with("allports") { "allports" } else { "multiport" };
        let all_ports = match option("type", usual) {
            "allports" => true,
            "multiport" | "oneport" => false,
            _ => return None,
        };
        let hooks = match action.name.starts_with("nftables") {
            true => option("chain_hook", "input"),
            false => option("chain", "INPUT"),
        };
        let hooks = hooks.split(',').map(|it| hook(it.trim())).collect::<Option<_>>()?;
        let verdict = verdict(option("blocktype", "drop"))?;
        let is_plain = matches!(option("table_family", "inet"), "inet" | "ip" | "ip6")
            && option("returntype", "RETURN").eq_ignore_ascii_case("return")
            // That connections which are open stay so is not worth commands.
            && (option("pre-rule", "").is_empty() || action.name == "iptables-new");
        is_plain.then_some(Self { hooks, all_ports, verdict })
    }
}

impl Rule {
    /// The rules of a native action: one for each of its hooks.
    fn all_of(jail: &Jail, action: &Action) -> Result<Vec<Self>, BlockingError> {
        let options = options(action);
        let Some(Shape { hooks, all_ports, verdict }) = Shape::of(action, &options) else {
            return Ok(Vec::new());
        };
        let option = |name: &str| options.get(name).map(|value| value.trim());
        let fault = |option, value: &str, remedy| BlockingError {
            action: action.name.clone(),
            option,
            value: value.to_owned(),
            remedy,
        };

        let ports = option("port").unwrap_or(&jail.port);
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
        let rule = |hook| {
            let (protocols, ports) = (protocols.clone(), ports.clone());
            Self { hook, protocols, ports, verdict }
        };
        Ok(hooks.into_iter().map(rule).collect())
    }

    /// The same rule in parts that can be said: as only TCP is reset, what is not is rejected.
    pub(super) fn parts(&self) -> Vec<Self> {
        if self.verdict != Verdict::Reset {
            return vec![self.clone()];
        }
        let (tcp, others): (Vec<String>, Vec<String>) =
            self.protocols.iter().cloned().partition(|it| it == "tcp");
        let of_all = self.protocols.is_empty();
        let part = |protocols, verdict| Self { protocols, verdict, ..self.clone() };
        let mut parts = Vec::new();
        if of_all || !tcp.is_empty() {
            parts.push(part(vec!["tcp".to_owned()], Verdict::Reset));
        }
        if of_all || !others.is_empty() {
            parts.push(part(others, Verdict::Reject));
        }
        parts
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

/// Reads nft's `chain_hook` or a chain of iptables. Docker's own chain is where it asks for rules about
/// what is passed on.
fn hook(chain: &str) -> Option<Hook> {
    match chain.to_ascii_lowercase().as_str() {
        "input" => Some(Hook::Input),
        "forward" | "docker-user" => Some(Hook::Forward),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(name: &str, options: &[(&str, &str)]) -> Action {
        Action {
            name: name.to_owned(),
            act_name: name.to_owned(),
            known: BTreeMap::new(),
            options: options.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        }
    }

    #[track_caller]
    fn check(name: &str, options: &[(&str, &str)], want: Result<&str, &str>) {
        let action = action(name, options);
        assert!(is_native(&action), "{name}");
        let rules = Rule::all_of(&jail("sshd", "ssh"), &action);
        let words = |rules: Vec<Rule>| {
            let words: Vec<String> = rules.iter().map(ToString::to_string).collect();
            words.join("; ")
        };
        let got = rules.map(words).map_err(|error| error.to_string());
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
        check(
            "iptables",
            &[("chain", "INPUT, FORWARD"), ("type", "oneport")],
            Ok("Input tcp ssh Drop; Forward tcp ssh Drop"),
        );
    }

    #[test]
    fn what_guard_does_not_do_is_left_to_commands() {
        for (name, option, value) in [
            ("nftables", "native", "false"),
            ("nftables", "type", "custom"),
            ("nftables-multiport", "chain_hook", "prerouting"),
            ("nftables", "chain_hook", "ingress"),
            ("nftables", "table_family", "bridge"),
            ("nftables", "blocktype", "counter"),
            ("iptables-multiport", "chain", "ufw-before-input"),
            ("iptables-multiport", "chain", "INPUT,MINE"),
            ("iptables", "blocktype", "LOGDROP"),
            ("iptables-allports", "returntype", "ACCEPT"),
            ("iptables", "pre-rule", "-i eth0 "),
        ] {
            assert!(!is_native(&action(name, &[(option, value)])), "{name} {option}={value}");
        }
        // Of nft it is the name of a chain, whatever that be.
        assert!(is_native(&action("nftables", &[("chain", "mine")])));
        assert!(is_native(&action("iptables-new", &[("pre-rule", "-m state --state NEW ")])));
    }

    #[track_caller]
    fn check_parts(protocols: &str, want: &str) {
        let options = [("protocol", protocols), ("blocktype", "reject with tcp reset")];
        let rules = Rule::all_of(&jail("sshd", "ssh"), &action("nftables-allports", &options));
        let parts = rules.iter().flatten().flat_map(Rule::parts);
        let words: Vec<String> = parts.map(|it| it.to_string()).collect();
        assert_eq!(words.join("; "), want);
    }

    #[test]
    fn only_tcp_is_reset() {
        check_parts("tcp", "Input tcp all Reset");
        check_parts("udp", "Input udp all Reject");
        check_parts("tcp,udp", "Input tcp all Reset; Input udp all Reject");
        check_parts("all", "Input tcp all Reset; Input  all Reject");
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
            &[("protocol", "all")],
            Err("action `nftables`: protocol `all` is not understood; name the protocols that \
                 the ports belong to"),
        );
    }

    #[test]
    fn what_a_jail_builds_on_is_the_actions_own() {
        let mut action = action("iptables-multiport", &[("chain", "<known/chain>")]);
        action.known.insert("known/chain".to_owned(), "DOCKER-USER".to_owned());
        let rules = Rule::all_of(&jail("sshd", "ssh"), &action);
        assert_eq!(rules.map(|it| it[0].hook), Ok(Hook::Forward));
    }

    #[test]
    fn knows_its_own() {
        let named = |name| action(name, &[]);
        for name in ["iptables-xt_recent-echo", "iptables-multiport-log", "nftables-mine"] {
            assert!(!is_native(&named(name)), "{name}");
        }
        assert!(!is_native(&named("sendmail-whois")));
        let mut jail = jail("dns", "53");
        assert_eq!(Blocking::of(&jail), Ok(None));
        jail.actions = vec![named("sendmail"), named("nftables"), named("nftables-multiport")];
        let blocking = Blocking::of(&jail).ok().flatten();
        assert_eq!(blocking.map(|it| it.rules.len()), Some(1)); // the same rule twice
    }
}
