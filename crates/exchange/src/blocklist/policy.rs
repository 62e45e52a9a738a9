//! Decides which indicators are blocked: pure, so that `blocklist why` says what the firewall does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use lists::PrefixSet;
use lists::decay::Model;
use lists::net::{self, Widest};
use lists::warninglist::{self, Warninglist};

use crate::pattern::matches;

/// What MISP calls the rule that nobody outside may notice: a block can be noticed.
const PAP: &str = "pap:";
/// The colours of PAP that allow a block.
const ACTIVE: [&str; 3] = ["green", "white", "clear"];

/// What is blocked of all that is pulled.
#[derive(Clone, Debug)]
pub struct BlockPolicy {
    /// One of these tags is asked for, where there are any; `*` and `?` stand for any text and any
    /// character.
    pub require_tags: Vec<String>,
    /// None of these may be there.
    pub refuse_tags: Vec<String>,
    /// Of these organisations alone, where there are any.
    pub organisations: Vec<String>,
    /// Of these types.
    pub types: Vec<String>,
    /// Seen or sighted no longer ago, in seconds.
    pub max_age: i64,
    /// How a score fades.
    pub decay: Model,
    /// Organisations that must call it a false positive to have it withdrawn.
    pub votes: usize,
    /// Organisations whose word alone withdraws, and lifts bans of this host; a hub speaks under the
    /// name that it has in the configuration.
    pub trusted: Vec<String>,
    /// The widest prefix.
    pub widest: Widest,
    /// Own addresses, and those that the administrator never wants blocked.
    pub never: PrefixSet,
    /// What is no indicator, whoever says so.
    pub warninglists: Vec<Arc<Warninglist>>,
    /// The longest list of one source; the best scores stay.
    pub max_entries: usize,
    /// A pull that changes more than this share of the list waits for an administrator.
    pub max_change: f64,
    /// So does one that adds more than this.
    pub max_added: usize,
}

/// Types of attributes that name an address.
pub const ADDRESS_TYPES: [&str; 4] = ["ip-src", "ip-dst", "ip-src|port", "ip-dst|port"];

impl Default for BlockPolicy {
    fn default() -> Self {
        const DAY: i64 = 24 * 60 * 60;
        Self {
            require_tags: Vec::new(),
            refuse_tags: Vec::new(),
            organisations: Vec::new(),
            types: ADDRESS_TYPES.map(str::to_owned).to_vec(),
            max_age: 7 * DAY,
            decay: Model::default(),
            votes: 3,
            trusted: Vec::new(),
            widest: Widest::default(),
            never: PrefixSet::default(),
            warninglists: Vec::new(),
            max_entries: 1_000_000,
            max_change: 0.5,
            max_added: 200_000,
        }
    }
}

/// An indicator, as a source tells of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Indicator {
    pub(crate) net: IpNet,
    /// The type of the attribute.
    pub(crate) kind: String,
    /// The organisation that says so, where the source tells.
    pub(crate) organisation: String,
    pub(crate) to_ids: bool,
    /// When it was seen first, in epoch seconds.
    pub(crate) first: i64,
    /// When it was seen or sighted last, in epoch seconds.
    pub(crate) last: i64,
    pub(crate) tags: Vec<String>,
    /// The organisations that call it a false positive.
    pub(crate) denied_by: BTreeSet<String>,
}

/// That an indicator is blocked, and how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) score: f64,
    /// The last second, if nothing is heard of it any more.
    pub(crate) until: i64,
}

/// Why an indicator is not blocked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kept {
    NotForDetection,
    Type(String),
    Organisation(String),
    Tagged(String),
    Untagged,
    Pap(String),
    TooWide,
    NotPublic,
    Never,
    Warninglist(String),
    FalsePositive(String),
    TooOld,
    Decayed,
}

impl fmt::Display for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotForDetection => out.write_str("it is not for detection (to_ids is not set)"),
            Self::Type(kind) => write!(out, "`types` does not name {kind}"),
            Self::Organisation(name) => write!(out, "`organisations` does not name `{name}`"),
            Self::Tagged(tag) => write!(out, "`refuse_tags` covers its tag `{tag}`"),
            Self::Untagged => out.write_str("it has none of the tags of `require_tags`"),
            Self::Pap(tag) => write!(out, "{tag} forbids what others could notice"),
            Self::TooWide => out.write_str("the prefix is wider than `widest` allows"),
            Self::NotPublic => out.write_str("it is not of the public internet"),
            Self::Never => out.write_str("it holds an own address, or one that `never` covers"),
            Self::Warninglist(name) => write!(out, "it is on the warninglist `{name}`"),
            Self::FalsePositive(who) => write!(out, "it is a false positive ({who})"),
            Self::TooOld => out.write_str("nobody has seen it for `max_age`"),
            Self::Decayed => out.write_str("its score has decayed"),
        }
    }
}

impl BlockPolicy {
    /// Whether `indicator` is blocked at `now`, how well, and until when.
    ///
    /// # Errors
    ///
    /// The first reason against it, in the order of [`Kept`].
    pub(crate) fn judge(&self, indicator: &Indicator, now: i64) -> Result<Listed, Kept> {
        self.judge_claim(indicator)?;
        self.judge_net(indicator.net)?;
        self.judge_denial(&indicator.denied_by)?;
        let last = indicator.last.min(now);
        if now - last >= self.max_age {
            return Err(Kept::TooOld);
        }
        let score = self.decay.score(last, now);
        if score <= self.decay.threshold {
            return Err(Kept::Decayed);
        }
        Ok(Listed { score, until: last + self.max_age.min(self.decay.alive_for()) })
    }

    /// Who says what of it.
    fn judge_claim(&self, indicator: &Indicator) -> Result<(), Kept> {
        if !indicator.to_ids {
            return Err(Kept::NotForDetection);
        }
        if !self.types.contains(&indicator.kind) {
            return Err(Kept::Type(indicator.kind.clone()));
        }
        if !self.organisations.is_empty() && !self.organisations.contains(&indicator.organisation) {
            return Err(Kept::Organisation(indicator.organisation.clone()));
        }
        let covered = |tag: &&String| self.refuse_tags.iter().any(|it| matches(it, tag));
        if let Some(tag) = indicator.tags.iter().find(covered) {
            return Err(Kept::Tagged(tag.clone()));
        }
        let asked = |tag: &String| self.require_tags.iter().any(|it| matches(it, tag));
        if !self.require_tags.is_empty() && !indicator.tags.iter().any(asked) {
            return Err(Kept::Untagged);
        }
        match indicator.tags.iter().find(|tag| forbids_action(tag)) {
            Some(tag) => Err(Kept::Pap(tag.clone())),
            None => Ok(()),
        }
    }

    /// Who it is.
    fn judge_net(&self, net: IpNet) -> Result<(), Kept> {
        if !self.widest.admits(net) {
            return Err(Kept::TooWide);
        }
        if !net::is_public(net) {
            return Err(Kept::NotPublic);
        }
        if self.never.touches(net) {
            return Err(Kept::Never);
        }
        match warninglist::hit(&self.warninglists, net) {
            Some(name) => Err(Kept::Warninglist(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Who denies it.
    fn judge_denial(&self, denied_by: &BTreeSet<String>) -> Result<(), Kept> {
        if let Some(who) = denied_by.iter().find(|it| self.trusted.contains(it)) {
            return Err(Kept::FalsePositive(who.clone()));
        }
        match denied_by.len() {
            n if n >= self.votes => Err(Kept::FalsePositive(format!("{n} organisations"))),
            _ => Ok(()),
        }
    }
}

/// Whether a tag of MISP's taxonomy PAP forbids what the other side could notice.
fn forbids_action(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    tag.strip_prefix(PAP).is_some_and(|colour| !ACTIVE.contains(&colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_328_739;
    const DAY: i64 = 24 * 60 * 60;

    fn net(text: &str) -> IpNet {
        net::read(text).expect("the row holds a prefix")
    }

    fn indicator(value: &str) -> Indicator {
        Indicator {
            net: net(value),
            kind: "ip-src".to_owned(),
            organisation: "CIRCL".to_owned(),
            to_ids: true,
            first: NOW - DAY,
            last: NOW - DAY,
            tags: vec!["tlp:green".to_owned()],
            denied_by: BTreeSet::new(),
        }
    }

    fn policy() -> BlockPolicy {
        let list = r#"{"name":"resolvers","type":"cidr","list":["8.8.8.0/24"]}"#;
        BlockPolicy {
            never: [net("45.33.33.0/24"), net("81.2.69.142")].into_iter().collect(),
            warninglists: vec![Warninglist::read(list.as_bytes()).expect("a list").into()],
            trusted: vec!["CERT".to_owned()],
            votes: 2,
            ..BlockPolicy::default()
        }
    }

    #[track_caller]
    fn check(policy: &BlockPolicy, indicator: &Indicator, want: Result<(), Kept>) {
        let got = policy.judge(indicator, NOW).map(drop);
        assert_eq!((got, indicator), (want, indicator));
    }

    #[test]
    fn addresses() {
        let check = |value: &str, want| check(&policy(), &indicator(value), want);
        check("45.33.32.156", Ok(()));
        check("2606:4700::1111", Ok(()));
        check("45.33.0.0/24", Ok(()));
        check("0.0.0.0/0", Err(Kept::TooWide));
        check("45.32.0.0/15", Err(Kept::TooWide));
        check("10.1.2.3", Err(Kept::NotPublic));
        check("::ffff:10.1.2.3", Err(Kept::NotPublic)); // mapped, and still private
        check("224.0.0.1", Err(Kept::NotPublic));
        check("81.2.69.142", Err(Kept::Never)); // this host's own
        check("81.2.0.0/16", Err(Kept::Never)); // a prefix that holds it
        check("45.33.33.7", Err(Kept::Never));
        check("8.8.8.8", Err(Kept::Warninglist("resolvers".to_owned())));
        check("8.8.0.0/16", Err(Kept::Warninglist("resolvers".to_owned())));
    }

    #[track_caller]
    fn check_claim(change: impl FnOnce(&mut BlockPolicy, &mut Indicator), want: Result<(), Kept>) {
        let (mut policy, mut indicator) = (policy(), indicator("45.33.32.156"));
        change(&mut policy, &mut indicator);
        check(&policy, &indicator, want);
    }

    #[test]
    fn claims() {
        check_claim(|_, it| it.to_ids = false, Err(Kept::NotForDetection));
        check_claim(|_, it| it.kind = "domain|ip".into(), Err(Kept::Type("domain|ip".into())));
        check_claim(|policy, _| policy.organisations = vec!["CIRCL".into()], Ok(()));
        let other = Kept::Organisation("CIRCL".into());
        check_claim(|policy, _| policy.organisations = vec!["CERT".into()], Err(other));
        check_claim(|policy, _| policy.require_tags = vec!["tlp:*".into()], Ok(()));
        check_claim(|policy, _| policy.require_tags = vec!["rsit:*".into()], Err(Kept::Untagged));
        let refused = Kept::Tagged("tlp:green".into());
        check_claim(|policy, _| policy.refuse_tags = vec!["tlp:*".into()], Err(refused));
        let tag = |it: &mut Indicator, tag: &str| it.tags.push(tag.to_owned());
        check_claim(move |_, it| tag(it, "PAP:RED"), Err(Kept::Pap("PAP:RED".into())));
        check_claim(move |_, it| tag(it, "pap:amber"), Err(Kept::Pap("pap:amber".into())));
        check_claim(move |_, it| tag(it, "PAP:GREEN"), Ok(()));
        check_claim(move |_, it| tag(it, "PAP:CLEAR"), Ok(()));
    }

    #[test]
    fn false_positives() {
        let deny = |it: &mut Indicator, who: &str| it.denied_by.extend([who.to_owned()]);
        check_claim(move |_, it| deny(it, "one"), Ok(())); // a vote
        let trusted = Kept::FalsePositive("CERT".into());
        check_claim(move |_, it| deny(it, "CERT"), Err(trusted));
        let two = Kept::FalsePositive("2 organisations".into());
        let both = move |_: &mut BlockPolicy, it: &mut Indicator| {
            deny(it, "one");
            deny(it, "two");
        };
        check_claim(both, Err(two));
    }

    #[test]
    fn age_and_decay() {
        check_claim(|_, it| it.last = NOW - 7 * DAY, Err(Kept::TooOld));
        check_claim(|_, it| it.last = NOW - 7 * DAY + 1, Ok(()));
        check_claim(|_, it| it.last = NOW + DAY, Ok(())); // a clock that is ahead
        check_claim(
            |policy, it| (policy.max_age, it.last) = (1_000 * DAY, NOW - 60 * DAY),
            Err(Kept::Decayed),
        );
        let listed = policy().judge(&indicator("45.33.32.156"), NOW).expect("listed");
        assert_eq!(listed.until, NOW + 6 * DAY);
        let policy = BlockPolicy { max_age: 1_000 * DAY, ..policy() };
        let listed = policy.judge(&indicator("45.33.32.156"), NOW).expect("listed");
        let last = Indicator { last: NOW - DAY, ..indicator("45.33.32.156") };
        assert!(policy.judge(&last, listed.until - 1).is_ok());
        assert_eq!(policy.judge(&last, listed.until + 1), Err(Kept::Decayed));
    }
}
