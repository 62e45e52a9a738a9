//! What a jail watches for, as far as it matters to who reads our events: by the jail's name.

use crate::pattern::matches;

/// What kind of offence a jail bans for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JailKind {
    /// Guessing at passwords, which most jails watch for.
    Login,
    /// Looking for what may be exploited.
    Scan,
    /// Knocking where nobody has business.
    Decoy,
}

/// The names of fail2ban's own jails for scans, and what such jails are usually called.
const SCANS: [&str; 14] = [
    "*scan*",
    "*botsearch*",
    "*badbots*",
    "*bots",
    "*noscript*",
    "*nohome*",
    "*overflows*",
    "*fakegooglebot*",
    "*shellshock*",
    "*modsecurity*",
    "*url-fopen*",
    "*bad-request*",
    "*forbidden*",
    "portsentry",
];

/// Decoys report to jails of this name; `honeypot` is what others call theirs.
const DECOYS: [&str; 2] = ["decoy-*", "*honeypot*"];

impl JailKind {
    pub(crate) const ALL: [Self; 3] = [Self::Login, Self::Scan, Self::Decoy];

    /// The kind of a jail.
    pub(crate) fn of(jail: &str) -> Self {
        let is_one_of = |patterns: &[&str]| patterns.iter().any(|it| matches(it, jail));
        if is_one_of(&DECOYS) {
            Self::Decoy
        } else if is_one_of(&SCANS) {
            Self::Scan
        } else {
            Self::Login
        }
    }

    /// Its word in the name of a period; most events are of the first kind, and need none.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Login => "",
            Self::Scan => "scan",
            Self::Decoy => "decoy",
        }
    }

    /// A jail of this kind, where the jail itself is not known.
    fn any_jail(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Scan => "scan",
            Self::Decoy => "honeypot",
        }
    }

    /// The kind of a word that [`Self::group`] gave.
    pub(crate) fn of_group(group: &str) -> Self {
        match group {
            "scan" => Self::Scan,
            "decoy" => Self::Decoy,
            _ => Self::Login,
        }
    }

    /// What its events tell of.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Login => "Login attempts",
            Self::Scan => "Scans",
            Self::Decoy => "Honeypot contacts",
        }
    }

    /// The tags of its events: RSIT, ATT&CK, and for decoys the taxonomy of honeypots.
    pub(crate) fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Login => &[
                "rsit:intrusion-attempts=\"brute-force\"",
                "misp-galaxy:mitre-attack-pattern=\"Brute Force - T1110\"",
            ],
            Self::Scan => &[
                "rsit:information-gathering=\"scanner\"",
                "misp-galaxy:mitre-attack-pattern=\"Active Scanning - T1595\"",
            ],
            Self::Decoy => &[
                "rsit:intrusion-attempts=\"brute-force\"",
                "cssa:origin=\"honeypot\"",
                "honeypot-basic:interaction-level=\"low\"",
                "honeypot-basic:data-capture=\"attacks\"",
            ],
        }
    }
}

/// What stands for the jail, where an event with these tags is all that is known of a ban.
pub fn jail_of_event(tags: &[String]) -> &'static str {
    // The last tag of a kind is no other one's.
    let is_of =
        |kind: &JailKind| kind.tags().last().is_some_and(|it| tags.iter().any(|tag| tag == it));
    JailKind::ALL.into_iter().find(is_of).unwrap_or(JailKind::Login).any_jail()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(jail: &str, want: JailKind) {
        assert_eq!(JailKind::of(jail), want, "{jail}");
        assert_eq!(JailKind::of_group(want.group()), want);
    }

    #[test]
    fn the_kind_of_an_event_stays() {
        for kind in JailKind::ALL {
            let tags: Vec<String> = kind.tags().iter().map(|tag| (*tag).to_owned()).collect();
            assert_eq!(JailKind::of(jail_of_event(&tags)), kind);
        }
        assert_eq!(jail_of_event(&[]), "login");
    }

    #[test]
    fn kinds() {
        check("sshd", JailKind::Login);
        check("dovecot", JailKind::Login);
        check("recidive", JailKind::Login);
        check("nginx-botsearch", JailKind::Scan);
        check("apache-badbots", JailKind::Scan);
        check("portscan", JailKind::Scan);
        check("decoy-ssh", JailKind::Decoy);
        check("ssh-honeypot", JailKind::Decoy);
    }
}
