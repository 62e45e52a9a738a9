//! The names of our sets and chains: `f2m4-2-0-sshd` is the set of the second generation of the first
//! jail, `sshd`.

use super::family::Family;

/// What ipset takes in a name (`IPSET_MAXNAMELEN`, less the zero).
const MAX_NAME: usize = 31;

/// What sets and chains are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// What the jails ban.
    Bans,
    /// What the block lists hold.
    Lists,
}

impl Part {
    /// What its sets of IPv4 and IPv6 begin with.
    fn prefixes(self) -> [(&'static str, Family); 2] {
        match self {
            Self::Bans => [("f2m4", Family::V4), ("f2m6", Family::V6)],
            Self::Lists => [("f2l4", Family::V4), ("f2l6", Family::V6)],
        }
    }

    /// Its chain for packets to this host.
    pub(super) fn input(self) -> &'static str {
        match self {
            Self::Bans => "fail2misp-input",
            Self::Lists => "fail2misp-lists-input",
        }
    }

    /// Its chain for packets that this host passes on.
    pub(super) fn forward(self) -> &'static str {
        match self {
            Self::Bans => "fail2misp-forward",
            Self::Lists => "fail2misp-lists-forward",
        }
    }
}

/// What a name says that is one of ours. The jail in it is for people: it may be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub(super) part: Part,
    pub(super) family: Family,
    pub(super) generation: u32,
    /// The place of the jail among all.
    pub(super) place: usize,
}

impl Name {
    pub(super) fn with(self, jail: &str) -> String {
        let Self { part, family, generation, place } = self;
        let found = part.prefixes().into_iter().find(|(_, it)| *it == family);
        let prefix = found.map_or("", |(prefix, _)| prefix);
        let plain = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
        let jail = jail.chars().map(plain);
        let name = format!("{prefix}-{generation}-{place}-");
        name.chars().chain(jail).take(MAX_NAME).collect()
    }

    pub(super) fn read(part: Part, name: &str) -> Option<Self> {
        let mut words = name.splitn(4, '-');
        let prefix = words.next()?;
        let (_, family) = part.prefixes().into_iter().find(|(it, _)| *it == prefix)?;
        let generation = words.next()?.parse().ok()?;
        Some(Self { part, family, generation, place: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_short_and_read_back() {
        let part = Part::Bans;
        let name = Name { part, family: Family::V6, generation: u32::MAX, place: 1234 };
        for jail in ["sshd", "böse; destroy", "a-very-long-name-that-no-set-can-have"] {
            let text = name.with(jail);
            assert!(
                text.is_ascii() && text.len() <= MAX_NAME && !text.contains([' ', ';']),
                "{text}"
            );
            assert_eq!(Name::read(part, &text), Some(name), "{text}");
        }
        assert_eq!(Name { generation: 2, place: 0, ..name }.with("sshd"), "f2m6-2-0-sshd");
        assert_eq!(Name::read(part, "somebody-elses"), None);
        assert_eq!(Name::read(part, "f2l4-2-0-hub"), None); // a list's
    }
}
