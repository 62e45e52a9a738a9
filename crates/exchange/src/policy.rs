//! Decides who is told about, and on what terms: never private, reserved and own addresses, partners,
//! and what MISP itself calls harmless. Pure: what it decides by is an argument.

use std::net::IpAddr;

use ipnet::IpNet;
use jail::Subject;
use lists::net::{NOBODYS, PRIVATE, SPECIAL};

use crate::pattern::matches_any_case;

/// Who may be told about.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Partners and whoever else is never told about.
    pub never: Vec<IpNet>,
    /// Whoever is told about in spite of all other rules, for laboratories.
    pub allow: Vec<IpNet>,
    /// This host's addresses.
    pub own: Vec<IpAddr>,
    /// Failures that a ban must stand for.
    pub min_failures: u32,
    /// Hosts that must have banned an address within a day, where several report to one exchange.
    pub min_hosts: u32,
    /// What MISP's warninglists mean to us.
    pub warninglists: Treatment,
}

/// What becomes of an address that a warninglist names, by patterns of the list's name. The first
/// that fits holds; a list that none fits means nothing.
#[derive(Clone, Debug)]
pub struct Treatment {
    /// Told, for a short while: whoever has the address today has another one tomorrow.
    pub short: Vec<String>,
    /// Told, and not to be blocked: whoever scans for research means no harm.
    pub without_to_ids: Vec<String>,
    /// Not told.
    pub never: Vec<String>,
}

impl Default for Treatment {
    /// Clouds and VPNs for a short while, research without `to_ids`, all others never.
    fn default() -> Self {
        let read = |patterns: &[&str]| patterns.iter().map(|it| (*it).to_owned()).collect();
        Self {
            short: read(&[
                "*vpn*",
                "*amazon*",
                "*aws*",
                "*azure*",
                "*gcp*",
                "*google cloud*",
                "*ovh*",
                "*tor *",
            ]),
            without_to_ids: read(&[
                "*scan*",
                "*censys*",
                "*shodan*",
                "*shadowserver*",
                "*rapid7*",
                "*onyphe*",
                "*stretchoid*",
                "*research*",
            ]),
            never: read(&["*"]),
        }
    }
}

/// What is known of a ban when it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The failures that led to it.
    pub n_failures: u32,
    /// The hosts that banned the address within a day, this one among them.
    pub n_hosts: u32,
    /// Whether it was only set up again after a restart.
    pub is_restored: bool,
    /// Whether the address is one of those that MISP told us.
    pub is_pulled: bool,
    /// The warninglist that names it.
    pub warninglist: Option<&'a str>,
}

/// On what terms somebody is told about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Terms {
    /// As an attacker.
    #[default]
    Full,
    /// Not to be blocked.
    WithoutToIds,
    /// For a short while.
    Short,
}

/// Why somebody is not told about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Kept {
    /// The ban was set up again after a restart, and told before.
    #[error("the ban is a restored one")]
    Restored,
    /// A free-form id is no indicator.
    #[error("it is no address")]
    NoAddress,
    /// It is one of ours.
    #[error("the address is this host's own")]
    Own,
    /// The configuration says never.
    #[error("`never` in the configuration covers it")]
    Never,
    /// It means another host everywhere.
    #[error("the address is private")]
    Private,
    /// Nobody on the Internet has it.
    #[error("the address is reserved")]
    Reserved,
    /// It came from MISP.
    #[error("MISP told us of it")]
    Pulled,
    /// A warninglist names it.
    #[error("a warninglist of MISP names it")]
    Listed,
    /// The ban stands for fewer failures than are asked for.
    #[error("there were fewer failures than `min_failures`")]
    TooFew,
    /// Fewer hosts than are asked for have banned it.
    #[error("fewer hosts than `min_hosts` have banned it within a day")]
    TooFewHosts,
}

impl Kept {
    /// A word for counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::NoAddress => "no-address",
            Self::Own => "own",
            Self::Never => "never",
            Self::Private => "private",
            Self::Reserved => "reserved",
            Self::Pulled => "pulled",
            Self::Listed => "warninglist",
            Self::TooFew => "too-few-failures",
            Self::TooFewHosts => "too-few-hosts",
        }
    }
}

impl Default for Policy {
    /// Private and reserved addresses are kept, any number of failures is told.
    fn default() -> Self {
        Self {
            never: Vec::new(),
            allow: Vec::new(),
            own: Vec::new(),
            min_failures: 1,
            min_hosts: 1,
            warninglists: Treatment::default(),
        }
    }
}

impl Policy {
    /// Whether a ban may be told, and on what terms.
    ///
    /// # Errors
    ///
    /// The first reason against it, in the order of [`Kept`].
    pub fn judge(&self, subject: &Subject, facts: Facts<'_>) -> Result<Terms, Kept> {
        if facts.is_restored {
            return Err(Kept::Restored);
        }
        if net(subject).is_some_and(|net| self.is_allowed(net)) {
            return Ok(Terms::Full);
        }
        self.may_name(subject)?;
        if facts.is_pulled {
            return Err(Kept::Pulled);
        }
        let terms = facts.warninglist.map_or(Ok(Terms::Full), |list| self.warninglists.of(list))?;
        if facts.n_failures < self.min_failures {
            return Err(Kept::TooFew);
        }
        if facts.n_hosts < self.min_hosts {
            return Err(Kept::TooFewHosts);
        }
        Ok(terms)
    }

    /// Whether an address may be named to anybody, whatever is said of it.
    ///
    /// # Errors
    ///
    /// The first reason against it.
    pub fn may_name(&self, subject: &Subject) -> Result<(), Kept> {
        let net = net(subject).ok_or(Kept::NoAddress)?;
        if self.is_allowed(net) {
            return Ok(());
        }
        if self.own.iter().any(|own| net.contains(&own.to_canonical())) {
            return Err(Kept::Own);
        }
        if self.never.iter().any(|it| it.contains(&net) || net.contains(it)) {
            return Err(Kept::Never);
        }
        if PRIVATE.touches(net) {
            return Err(Kept::Private);
        }
        if NOBODYS.touches(net) || SPECIAL.touches(net) {
            return Err(Kept::Reserved);
        }
        Ok(())
    }

    /// A prefix is told about only where all of it is allowed, and kept where any of it is not.
    fn is_allowed(&self, net: IpNet) -> bool {
        self.allow.iter().any(|allowed| allowed.contains(&net))
    }
}

impl Treatment {
    /// Whether no list has a say.
    pub(crate) fn is_empty(&self) -> bool {
        self.short.is_empty() && self.without_to_ids.is_empty() && self.never.is_empty()
    }

    /// Whether an address may be blocked that the list of this name names.
    pub(crate) fn may_block(&self, list: &str) -> bool {
        matches!(self.of(list), Ok(Terms::Full | Terms::Short))
    }

    /// What the list of this name does to an address that it names.
    fn of(&self, list: &str) -> Result<Terms, Kept> {
        let fits = |patterns: &[String]| patterns.iter().any(|it| matches_any_case(it, list));
        if fits(&self.short) {
            Ok(Terms::Short)
        } else if fits(&self.without_to_ids) {
            Ok(Terms::WithoutToIds)
        } else if fits(&self.never) {
            Err(Kept::Listed)
        } else {
            Ok(Terms::Full)
        }
    }
}

/// The network that a subject is.
pub(crate) fn net(subject: &Subject) -> Option<IpNet> {
    match subject {
        Subject::Addr(addr) => Some(IpNet::from(addr.to_canonical())),
        Subject::Net(net) => Some(*net),
        Subject::Id(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Facts<'_> = Facts {
        n_failures: 5,
        n_hosts: 2,
        is_restored: false,
        is_pulled: false,
        warninglist: None,
    };

    fn net(text: &str) -> IpNet {
        text.parse().expect("the row holds a network")
    }

    /// Checks whether a subject may be shared, and why not.
    #[track_caller]
    fn check(subject: &str, want: Result<(), Kept>) {
        check_facts(subject, USUAL, want.map(|()| Terms::Full));
    }

    #[track_caller]
    fn check_facts(subject: &str, facts: Facts<'_>, want: Result<Terms, Kept>) {
        let policy = Policy {
            never: vec![net("193.0.6.0/24")],
            allow: vec![net("10.9.0.0/16"), net("193.0.6.139/32")],
            own: vec!["81.2.69.142".parse().expect("an address")],
            min_failures: 3,
            min_hosts: 2,
            warninglists: Treatment::default(),
        };
        assert_eq!(policy.judge(&Subject::from(subject), facts), want, "{subject} {facts:?}");
    }

    #[test]
    fn shares() {
        check("45.33.32.156", Ok(()));
        check("2606:4700::1111", Ok(()));
        check("192.168.1.7", Err(Kept::Private));
        check("10.9.1.7", Ok(())); // `allow` beats the built-in list
        check("193.0.6.139", Ok(())); // and `never`
        check("193.0.6.140", Err(Kept::Never));
        check("::ffff:192.168.1.7", Err(Kept::Private)); // mapped, and still private
        check("100.64.0.1", Err(Kept::Private)); // shared by carriers, RFC 6598
        check("127.0.0.1", Err(Kept::Private));
        check("169.254.169.254", Err(Kept::Private));
        check("fd00::1", Err(Kept::Private));
        check("198.51.100.7", Err(Kept::Reserved)); // documentation, RFC 5737
        check("2001:db8::7", Err(Kept::Reserved));
        check("224.0.0.251", Err(Kept::Reserved));
        check("0.0.0.0", Err(Kept::Reserved));
        check("255.255.255.255", Err(Kept::Reserved));
        check("64:ff9b::c000:221", Err(Kept::Reserved)); // NAT64 means the translator's host
        check("fe80::1", Err(Kept::Private)); // of a link, as 169.254.0.0/16
        check("81.2.69.142", Err(Kept::Own));
        check("mallory", Err(Kept::NoAddress));
        check("192.0.2.300", Err(Kept::NoAddress));
    }

    #[test]
    fn a_prefix_is_kept_where_any_of_it_is() {
        check("45.33.32.0/24", Ok(()));
        check("81.2.69.0/24", Err(Kept::Own)); // our own address is in it
        check("193.0.0.0/16", Err(Kept::Never)); // a partner is in it
        check("10.9.0.0/24", Ok(()));
        check("10.0.0.0/8", Err(Kept::Private)); // only a part of it is allowed
        check("0.0.0.0/0", Err(Kept::Own));
    }

    #[test]
    fn few_failures_and_few_hosts_are_kept() {
        let facts = |n_failures, n_hosts| Facts { n_failures, n_hosts, ..USUAL };
        check_facts("45.33.32.156", facts(3, 2), Ok(Terms::Full));
        check_facts("45.33.32.156", facts(2, 2), Err(Kept::TooFew));
        check_facts("45.33.32.156", facts(3, 1), Err(Kept::TooFewHosts));
        check_facts("10.9.1.7", facts(1, 1), Ok(Terms::Full)); // a laboratory wants to see everything
    }

    #[test]
    fn what_is_known_already_is_kept() {
        check_facts("45.33.32.156", Facts { is_restored: true, ..USUAL }, Err(Kept::Restored));
        check_facts("10.9.1.7", Facts { is_restored: true, ..USUAL }, Err(Kept::Restored));
        check_facts("45.33.32.156", Facts { is_pulled: true, ..USUAL }, Err(Kept::Pulled));
        check_facts("10.9.1.7", Facts { is_pulled: true, ..USUAL }, Ok(Terms::Full));
    }

    #[test]
    fn warninglists() {
        let check = |list: &str, want| {
            check_facts("45.33.32.156", Facts { warninglist: Some(list), ..USUAL }, want);
        };
        check("List of known IPv4 public DNS resolvers", Err(Kept::Listed));
        check("List of known googlebot IP ranges", Err(Kept::Listed));
        check("List of known Stretchoid scanning addresses", Ok(Terms::WithoutToIds));
        check("List of known Amazon AWS IP address ranges", Ok(Terms::Short));
        check("Specialized list of vpn-ipv4 addresses", Ok(Terms::Short));
        let may_block = |list: &str| Treatment::default().may_block(list);
        assert!(may_block("List of known Amazon AWS IP address ranges"));
        assert!(!may_block("List of known Stretchoid scanning addresses"));
        assert!(!may_block("List of known IPv4 public DNS resolvers"));
        let none = Treatment { never: Vec::new(), ..Treatment::default() };
        assert_eq!(none.of("List of known IPv4 public DNS resolvers"), Ok(Terms::Full));
    }
}
