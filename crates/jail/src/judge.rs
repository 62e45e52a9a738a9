//! The judge: (event, now) to actions, by fail2ban's rules of counting.
//!
//! One [`Judge`] holds the jails' rules, who is failing and who is banned. It knows neither clock
//! nor disk: whoever calls it passes `now`, carries out the actions in their order, and calls again
//! with [`Event::Deadline`] once [`Judge::deadline`] has come. The rules are those of fail2ban 1.x,
//! `server/filter.py` (times, ignored subjects), `server/failmanager.py` (counting) and
//! `server/banmanager.py` (bans).

mod court;
mod failing;
mod history;
mod ignore;
mod standing;
mod together;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::config;
use crate::event::{Ban, BanTime, Failure, Subject};
use crate::increment::Increment;

pub use failing::Ticket;
pub use history::{History, Past};
pub use together::{Crowd, Together};

use court::Court;
use history::NoHistory;

/// Bans lifted in one call, so that a ban never waits for a long queue of unbans.
const MAX_LIFTED: usize = 10_000;

/// How one jail counts and bans.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Its name.
    pub jail: String,
    /// Failures until a ban.
    pub max_retry: u32,
    /// The window that they are counted in.
    pub find_time: SignedDuration,
    /// How long a ban stands.
    pub ban_time: BanTime,
    /// Matched lines that are kept for a ban.
    pub max_matches: u32,
    /// Whether the host's own addresses are never banned.
    pub ignore_self: bool,
    /// Who is never banned: addresses, prefixes, names.
    pub ignore_ip: Vec<String>,
    /// How bans grow of whoever comes back; they do not where `None`.
    pub increment: Option<Increment>,
}

impl From<&config::Jail> for Rules {
    fn from(jail: &config::Jail) -> Self {
        Self {
            jail: jail.name.clone(),
            max_retry: jail.max_retry,
            find_time: jail.find_time,
            ban_time: jail.ban_time,
            max_matches: jail.max_matches,
            ignore_self: jail.ignore_self,
            ignore_ip: jail.ignore_ip.clone(),
            increment: jail.increment.clone(),
        }
    }
}

/// Whether a log has been read to its end at least once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// Not yet: its lines may be old, and are believed.
    CatchingUp,
    /// Yes, but it was empty when it was found, and an old log may be copied to it: dates are
    /// believed, and what bears none was just written.
    Filling,
    /// Yes: its lines were just written, whatever date they bear.
    InOperation,
}

/// Everything that the judge answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A line failed.
    Failure(Failure, Reading),
    /// An operator reports a failure by hand (`set JAIL attempt`); nothing is ignored.
    Attempt {
        /// The jail that counts it.
        jail: String,
        /// Who failed.
        subject: Subject,
        /// The lines that prove it; each counts once, none counts as one.
        matches: Vec<String>,
    },
    /// An operator bans (`set JAIL banip`); nothing is ignored.
    Ban {
        /// The jail that bans.
        jail: String,
        /// Who is banned.
        subject: Subject,
        /// For how long; as the jail does where `None`.
        ban_time: Option<BanTime>,
    },
    /// An operator lifts bans: of the subject and, where it is a prefix, of all that lies in it.
    Unban {
        /// The jail; all of them where `None`.
        jail: Option<String>,
        /// Whose ban is lifted.
        subject: Subject,
    },
    /// An operator lifts every ban of a jail, or of all where `None`.
    UnbanAll {
        /// The jail.
        jail: Option<String>,
    },
    /// A ban of an earlier life.
    Restore(Ban),
    /// Failures of an earlier life that were no ban yet.
    Failing {
        /// The jail that counts them.
        jail: String,
        /// Who failed.
        subject: Subject,
        /// What [`Judge::changed_tickets`] told then.
        ticket: Ticket,
    },
    /// The host's own addresses, whenever they change.
    OwnAddresses(Vec<IpAddr>),
    /// What a name of [`Judge::names`] stands for now.
    Resolved {
        /// The name, as written in `ignoreip`.
        name: String,
        /// Its addresses; none where it does not resolve.
        addrs: Vec<IpAddr>,
    },
    /// What a file of [`Judge::files`] holds now.
    Listed {
        /// The file, as `ignoreip` names it.
        file: String,
        /// Its words: addresses, prefixes, names.
        words: Vec<String>,
    },
    /// New rules, after a reload or a `set`: jails that stay keep their failures and bans, the bans
    /// of the others are lifted.
    Rules(Vec<Rules>),
    /// [`Judge::deadline`] has come.
    Deadline,
}

/// Who asked that a subject be ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IgnoredBy {
    /// `ignoreself`.
    OwnAddress,
    /// An address, a prefix or an id of `ignoreip`.
    Address,
    /// A name of `ignoreip`.
    Name,
    /// What `ignorecommand` said to whoever runs it.
    Command,
}

/// Why a ban was lifted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifted {
    /// Its time is over.
    Expired,
    /// An operator said so.
    ByOperator,
    /// Its jail is no more.
    JailRemoved,
}

/// What is to be done, or to be said, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A failure counted.
    Found {
        /// The jail that counted it.
        jail: String,
        /// Who failed.
        subject: Subject,
        /// The time that it counts for.
        time: Timestamp,
    },
    /// A failure, or a restored ban, did not count.
    Ignored {
        /// The jail that ignored it.
        jail: String,
        /// Who is ignored.
        subject: Subject,
        /// By what.
        by: IgnoredBy,
    },
    /// Lines that were just written bear a wrong date; said once a day.
    OddTime {
        /// The jail that read them.
        jail: String,
        /// How far from now: negative for the past.
        off: SignedDuration,
    },
    /// Lines older than `findtime` are ignored while catching up; said once a day.
    TooOld {
        /// The jail that read them.
        jail: String,
    },
    /// Ban.
    Ban(Ban),
    /// The ban before this is longer than usual, because its subject was banned before.
    Increased {
        /// The ban.
        ban: Ban,
        /// Which of its subject's bans it is.
        n_bans: u32,
    },
    /// Ban again what was banned in an earlier life.
    Restored(Ban),
    /// A standing ban lasts longer now: `time` is its old beginning, `bantime` its new length, the
    /// failures are those that made it longer.
    Prolong(Ban),
    /// Whoever is banned goes on failing.
    AlreadyBanned {
        /// The jail.
        jail: String,
        /// Who.
        subject: Subject,
        /// How long after the ban; more than a moment means that the firewall lets it through.
        after: SignedDuration,
    },
    /// A ban that would be over already is not made.
    Expired {
        /// The jail.
        jail: String,
        /// Who.
        subject: Subject,
    },
    /// Lift a ban.
    Unban {
        /// The jail.
        jail: String,
        /// Who.
        subject: Subject,
        /// Why.
        why: Lifted,
    },
    /// An operator asked to lift what is not banned.
    NotBanned {
        /// The subject as it was given.
        subject: Subject,
    },
    /// An event named a jail that is not there.
    NoSuchJail {
        /// The name.
        jail: String,
    },
}

/// The counters of a jail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Subjects that failed within `findtime` and are not banned for it.
    pub currently_failed: usize,
    /// Failures counted since the start.
    pub total_failed: u64,
    /// Bans that stand.
    pub currently_banned: usize,
    /// Bans since the start, restored ones among them.
    pub total_banned: u64,
}

/// Decides who is banned, where, and for how long.
#[derive(Debug)]
pub struct Judge {
    jails: HashMap<String, Court>,
    known: Known,
}

/// What all jails know.
#[derive(Debug)]
struct Known {
    /// The host's own addresses.
    own: Vec<IpAddr>,
    /// What the names in `ignoreip` stand for.
    resolved: HashMap<String, Vec<IpAddr>>,
    history: Box<dyn History>,
    together: Together,
}

impl Judge {
    /// A judge for these jails, before whom nobody has failed yet.
    pub fn new(rules: Vec<Rules>) -> Self {
        let jails =
            rules.into_iter().map(|rules| (rules.jail.clone(), Court::new(rules))).collect();
        let (own, resolved) = (Vec::new(), HashMap::new());
        Self {
            jails,
            known: Known {
                own,
                resolved,
                history: Box::new(NoHistory),
                together: Together::default(),
            },
        }
    }

    /// The same judge, with somebody to ask about earlier bans; without, none grows.
    pub fn with_history(mut self, history: Box<dyn History>) -> Self {
        self.known.history = history;
        self
    }

    /// The same judge, who counts and bans these addresses together; without, each for itself.
    #[must_use]
    pub fn with_together(mut self, together: Together) -> Self {
        self.count_together(together);
        self
    }

    /// Counts and bans these addresses together from now on.
    pub fn count_together(&mut self, together: Together) {
        self.known.together = together;
    }

    /// Answers one event, and lifts what bans are over.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        self.answer(event, now, &mut actions);
        if self.deadline().is_some_and(|due| due <= now) {
            for (jail, court) in &mut self.jails {
                let lifted =
                    court.standing.lift_expired(now, MAX_LIFTED - MAX_LIFTED.min(actions.len()));
                actions.extend(
                    lifted.into_iter().map(|subject| unban(jail, subject, Lifted::Expired)),
                );
            }
        }
        actions
    }

    /// When [`Event::Deadline`] is due at the latest; `None` while no timed ban stands.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.jails.values().filter_map(|court| court.standing.next_end()).min()
    }

    /// The names in `ignoreip` of all jails, for whoever can resolve them.
    pub fn names(&self) -> Vec<String> {
        let names = self.jails.values().flat_map(|court| court.ignore.names());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Every address and prefix in `ignoreip` of any jail, as far as its names are resolved and its
    /// files are read.
    pub fn ignored(&self) -> Vec<IpNet> {
        let nets = self.jails.values().flat_map(|court| court.ignore.nets(&self.known.resolved));
        nets.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The files in `ignoreip` of all jails (`file:/path`), for whoever can read them. After new
    /// rules they are to be read again.
    pub fn files(&self) -> Vec<String> {
        let files = self.jails.values().flat_map(|court| court.ignore.files());
        let files: BTreeSet<&str> = files.collect();
        files.into_iter().map(str::to_owned).collect()
    }

    /// Whether `jail`, or any jail where `None`, would never ban `subject`.
    pub fn ignores(&self, jail: Option<&str>, subject: &Subject) -> Option<IgnoredBy> {
        match jail {
            Some(jail) => self.jails.get(jail)?.ignores(subject, &self.known),
            None => self.jails.values().find_map(|court| court.ignores(subject, &self.known)),
        }
    }

    /// When the ban of `subject` in `jail` ends, where there is one.
    pub fn ban_of(&self, jail: &str, subject: &Subject) -> Option<(Timestamp, BanTime)> {
        self.jails.get(jail)?.standing.get(subject)
    }

    /// Whose failures changed since [`Judge::changes_written`], with the rules of the jail that counts
    /// them: their ticket, or none where they are a ban by now.
    pub fn changed_tickets(&self) -> impl Iterator<Item = (&Rules, &Subject, Option<&Ticket>)> {
        self.jails.values().flat_map(|court| {
            court.failing.changed().map(|(subject, ticket)| (&court.rules, subject, ticket))
        })
    }

    /// Takes note that what [`Judge::changed_tickets`] told is on the disk.
    pub fn changes_written(&mut self) {
        self.jails.values_mut().for_each(|court| court.failing.written());
    }

    /// The counters of a jail; `None` where there is no such jail.
    pub fn status(&self, jail: &str, now: Timestamp) -> Option<Status> {
        let court = self.jails.get(jail)?;
        Some(Status {
            currently_failed: court.failing.n_live(court.rules.find_time, now),
            total_failed: court.failing.total(),
            currently_banned: court.standing.n_banned(),
            total_banned: court.standing.total(),
        })
    }

    /// Who is banned in a jail, in the order of the bans.
    pub fn banned(&self, jail: &str) -> Vec<Subject> {
        self.jails.get(jail).map(|court| court.standing.list()).unwrap_or_default()
    }

    /// The rules that a jail counts and bans by; `None` where there is no such jail.
    pub fn rules(&self, jail: &str) -> Option<&Rules> {
        self.jails.get(jail).map(|court| &court.rules)
    }

    fn answer(&mut self, event: Event, now: Timestamp, out: &mut Vec<Action>) {
        match event {
            Event::Failure(failure, reading) => match self.jails.get_mut(&failure.jail) {
                Some(court) => court.failure(failure, reading, &self.known, now, out),
                None => out.push(Action::NoSuchJail { jail: failure.jail }),
            },
            Event::Attempt { jail, subject, matches } => match self.jails.get_mut(&jail) {
                Some(court) => court.attempt(subject, matches, &self.known, now, out),
                None => out.push(Action::NoSuchJail { jail }),
            },
            Event::Ban { jail, subject, ban_time } => match self.jails.get_mut(&jail) {
                Some(court) => court.ban_by_hand(subject, ban_time, &self.known, now, out),
                None => out.push(Action::NoSuchJail { jail }),
            },
            Event::Unban { jail, subject } => self.unban(jail, subject, out),
            Event::UnbanAll { jail } => self.unban_all(jail, out),
            Event::Restore(ban) => match self.jails.get_mut(&ban.jail) {
                Some(court) => court.restore(ban, &self.known, now, out),
                None => out.push(Action::NoSuchJail { jail: ban.jail }),
            },
            Event::Failing { jail, subject, ticket } => match self.jails.get_mut(&jail) {
                Some(court) => court.failing.restore(subject, ticket),
                None => out.push(Action::NoSuchJail { jail }),
            },
            Event::OwnAddresses(addrs) => {
                self.known.own = addrs.into_iter().map(|addr| addr.to_canonical()).collect();
            }
            Event::Resolved { name, addrs } => {
                let addrs = addrs.into_iter().map(|addr| addr.to_canonical()).collect();
                self.known.resolved.insert(name, addrs);
            }
            Event::Listed { file, words } => {
                self.jails.values_mut().for_each(|court| court.ignore.fill(&file, &words));
            }
            Event::Rules(rules) => self.replace_rules(rules, out),
            Event::Deadline => {}
        }
    }

    fn unban(&mut self, jail: Option<String>, subject: Subject, out: &mut Vec<Action>) {
        let before = out.len();
        for (name, court) in &mut self.jails {
            if jail.as_ref().is_none_or(|jail| jail == name) {
                let lifted = court.standing.lift(&subject);
                out.extend(lifted.into_iter().map(|it| unban(name, it, Lifted::ByOperator)));
            }
        }
        match jail {
            Some(jail) if !self.jails.contains_key(&jail) => out.push(Action::NoSuchJail { jail }),
            _ if out.len() == before => out.push(Action::NotBanned { subject }),
            _ => {}
        }
    }

    fn unban_all(&mut self, jail: Option<String>, out: &mut Vec<Action>) {
        for (name, court) in &mut self.jails {
            if jail.as_ref().is_none_or(|jail| jail == name) {
                let lifted = court.standing.lift_all();
                out.extend(lifted.into_iter().map(|it| unban(name, it, Lifted::ByOperator)));
            }
        }
        if let Some(jail) = jail.filter(|jail| !self.jails.contains_key(jail)) {
            out.push(Action::NoSuchJail { jail });
        }
    }

    fn replace_rules(&mut self, rules: Vec<Rules>, out: &mut Vec<Action>) {
        let mut old = std::mem::take(&mut self.jails);
        for rules in rules {
            let name = rules.jail.clone();
            let court = match old.remove(&name) {
                Some(court) => court.under(rules),
                None => Court::new(rules),
            };
            self.jails.insert(name, court);
        }
        for (name, mut court) in old {
            let lifted = court.standing.lift_all();
            out.extend(lifted.into_iter().map(|it| unban(&name, it, Lifted::JailRemoved)));
        }
        let names = self.names();
        self.known.resolved.retain(|name, _| names.contains(name));
    }
}

fn unban(jail: &str, subject: Subject, why: Lifted) -> Action {
    Action::Unban { jail: jail.to_owned(), subject, why }
}

#[cfg(test)]
mod tests;
