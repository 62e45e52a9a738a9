//! Decides who is never told to anybody: private, reserved and own addresses, partners.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use jail::Subject;

/// Networks that mean another host everywhere: private ones, those of carriers (RFC 6598), links.
static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    read(&[
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    ])
});

/// Networks that no attacker on the Internet has, by IANA's special-purpose registries, and
/// multicast.
static RESERVED: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    read(&[
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ])
});

fn read(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("the tables hold networks")).collect()
}

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
    /// The ban stands for fewer failures than are asked for.
    #[error("there were fewer failures than `min_failures`")]
    TooFew,
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
            Self::TooFew => "too-few-failures",
        }
    }
}

impl Default for Policy {
    /// Private and reserved addresses are kept, any number of failures is told.
    fn default() -> Self {
        Self { never: Vec::new(), allow: Vec::new(), own: Vec::new(), min_failures: 1 }
    }
}

impl Policy {
    /// Whether a ban of `subject` for `n_failures` may be told, and why not.
    ///
    /// # Errors
    ///
    /// The first reason against it, in the order of [`Kept`].
    pub fn may_share(&self, subject: &Subject, n_failures: u32) -> Result<(), Kept> {
        let net = match subject {
            Subject::Addr(addr) => IpNet::from(addr.to_canonical()),
            Subject::Net(net) => *net,
            Subject::Id(_) => return Err(Kept::NoAddress),
        };
        // A prefix is told about only where all of it is allowed, and kept where any of it is not.
        if self.allow.iter().any(|allowed| allowed.contains(&net)) {
            return Ok(());
        }
        if self.own.iter().any(|own| net.contains(&own.to_canonical())) {
            return Err(Kept::Own);
        }
        let touches = |nets: &[IpNet]| nets.iter().any(|it| it.contains(&net) || net.contains(it));
        if touches(&self.never) {
            return Err(Kept::Never);
        }
        if touches(&PRIVATE) {
            return Err(Kept::Private);
        }
        if touches(&RESERVED) {
            return Err(Kept::Reserved);
        }
        if n_failures < self.min_failures {
            return Err(Kept::TooFew);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("the row holds a network")
    }

    /// Checks whether a subject may be shared, and why not.
    #[track_caller]
    fn check(subject: &str, want: Result<(), Kept>) {
        check_failures(subject, 5, want);
    }

    #[track_caller]
    fn check_failures(subject: &str, n_failures: u32, want: Result<(), Kept>) {
        let policy = Policy {
            never: vec![net("193.0.6.0/24")],
            allow: vec![net("10.9.0.0/16"), net("193.0.6.139/32")],
            own: vec!["81.2.69.142".parse().expect("an address")],
            min_failures: 3,
        };
        assert_eq!(policy.may_share(&Subject::from(subject), n_failures), want, "{subject}");
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
        check("fe80::1", Err(Kept::Reserved));
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
    fn few_failures_are_kept() {
        check_failures("45.33.32.156", 3, Ok(()));
        check_failures("45.33.32.156", 2, Err(Kept::TooFew));
        check_failures("10.9.1.7", 1, Ok(())); // a laboratory wants to see everything
    }
}
