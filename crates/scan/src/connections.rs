//! The memory of connections: failures whose lines share an `<F-MLFID>`.
//!
//! One line of a connection may tell the address, another the user, a third that it failed.
//! Fields of all of them are merged; `nofail` waits for a failure, `mlfforget` ends the
//! connection, `mlfgained` clears it of what is pending. Followed step by step from fail2ban's
//! `server/filter.py`, `_mergeFailure`.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::fields::Fields;

/// Connections remembered at once; the oldest goes first. fail2ban's own number.
const MOST_CONNECTIONS: usize = 100;
/// How long one is remembered. fail2ban's own number.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// Lines remembered of one connection; the oldest go first. A ban shows a few of them, and whoever
/// keeps a connection open may write as many as he likes.
const MOST_LINES: usize = 200;
/// Users remembered of one connection: one, or several.
const MOST_USERS: usize = 2;

/// What is known of one failure, perhaps from several lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) fields: Fields,
    /// The lines that made it.
    pub(crate) matches: Vec<String>,
    /// Lines that are no failure unless another line is.
    kept: Vec<String>,
    /// Users that the connection tried.
    users: Vec<String>,
    /// A failure whose id is not known yet.
    pub(crate) pending: bool,
}

impl Case {
    /// What one match caught on `lines`.
    pub(crate) fn new(fields: Fields, lines: Vec<String>) -> Self {
        Self { fields, matches: lines, ..Self::default() }
    }

    fn add_user(&mut self, user: Option<String>) {
        if let Some(user) = user.filter(|user| !self.users.contains(user))
            && self.users.len() < MOST_USERS
        {
            self.users.push(user);
        }
    }

    /// Whether it is only remembered, as no failure by itself.
    pub(crate) fn is_no_failure(&self) -> bool {
        self.fields.is_set("nofail")
    }
}

#[derive(Debug)]
struct Remembered {
    case: Case,
    /// In the order of their coming.
    number: u64,
    until: Timestamp,
}

/// FNV-1a: the ids are short, and so few that nobody gains by making them collide.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The connections of one log.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    known: HashMap<Arc<str>, Remembered, BuildHasherDefault<Fnv>>,
    /// Oldest first; those whose number is not known any more were forgotten.
    order: VecDeque<(u64, Arc<str>)>,
    n_ever: u64,
}

impl Connections {
    /// Merges what `lines` of the connection `id` say into what is known of it.
    ///
    /// The result is to be given back by `keep`.
    pub(crate) fn merge(
        &mut self,
        id: &str,
        mut fields: Fields,
        lines: Vec<String>,
        now: Timestamp,
    ) -> Case {
        let mut gained = fields.is_set("mlfgained");
        let mut no_failure = gained || fields.is_set("nofail");
        if gained && !fields.is_set("nofail") {
            let reason = fields.shown("mlfgained").map(|reason| reason.into_owned());
            fields.set("nofail", &reason.unwrap_or_default());
        }
        let forget = fields.remove("mlfforget");
        let user = fields.text("user").filter(|user| !user.is_empty()).map(str::to_owned);
        let mut users_matter = true;
        let mut case = if let Some(mut case) = self.take(id, now) {
            case.add_user(user);
            let had_no_failure = case.fields.remove("nofail");
            let had_gained = case.fields.remove("mlfgained");
            if gained {
                case.pending = false;
            }
            // Without a pending failure its lines were told already.
            if !(had_no_failure || had_gained || case.pending) {
                case.matches.clear();
            }
            case.fields.update(fields);
            if forget {
                self.known.remove(id);
            }
            case
        } else {
            let mut case = Case { fields, ..Case::default() };
            if forget {
                users_matter = false;
            } else {
                case.add_user(user);
                self.insert(id, now);
            }
            case
        };
        let several_users = users_matter && case.users.len() > 1;
        if std::mem::take(&mut case.pending) || several_users {
            case.fields.remove("nofail");
            case.fields.remove("mlfgained");
            (gained, no_failure) = (false, false);
        }
        if !no_failure {
            let mut matches = std::mem::take(&mut case.kept);
            matches.append(&mut case.matches);
            if !gained {
                matches.extend(lines);
            }
            keep_newest(&mut matches);
            case.matches = matches;
        } else if !forget {
            case.kept.extend(lines);
            keep_newest(&mut case.kept);
        }
        case
    }

    /// Remembers a case, if its connection is remembered at all.
    pub(crate) fn keep(&mut self, id: &str, case: Case) {
        if let Some(known) = self.known.get_mut(id) {
            known.case = case;
        }
    }

    fn take(&mut self, id: &str, now: Timestamp) -> Option<Case> {
        let known = self.known.get_mut(id)?;
        if known.until > now {
            return Some(std::mem::take(&mut known.case));
        }
        self.known.remove(id);
        None
    }

    fn insert(&mut self, id: &str, now: Timestamp) {
        while self.known.len() >= MOST_CONNECTIONS || self.order.len() >= 2 * MOST_CONNECTIONS {
            let Some((number, oldest)) = self.order.pop_front() else { break };
            if self.known.get(&oldest).is_none_or(|known| known.number != number) {
                continue;
            }
            // Those that are over go without making room for the new one.
            let gone = self.known.remove(&oldest);
            if gone.is_some_and(|gone| gone.until > now) {
                break;
            }
        }
        self.n_ever += 1;
        let id: Arc<str> = id.into();
        self.order.push_back((self.n_ever, Arc::clone(&id)));
        let until = now.saturating_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        self.known.insert(id, Remembered { case: Case::default(), number: self.n_ever, until });
    }
}

/// Drops the oldest of too many lines.
fn keep_newest(lines: &mut Vec<String>) {
    lines.drain(..lines.len().saturating_sub(MOST_LINES));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever keeps a connection open fills no memory: not by what is remembered, not by what it
    /// is told with.
    #[test]
    fn a_connection_without_end_stays_small() {
        let mut connections = Connections::default();
        for number in 0..10 * MOST_LINES {
            let mut fields = Fields::default();
            fields.set("user", &format!("user{number}"));
            fields.set("nofail", if number % 3 == 0 { "x" } else { "" });
            let case =
                connections.merge("1", fields, vec![number.to_string()], Timestamp::UNIX_EPOCH);
            assert!(case.matches.len() <= MOST_LINES && case.kept.len() <= MOST_LINES);
            assert!(case.users.len() <= MOST_USERS);
            connections.keep("1", case);
        }
    }
}
