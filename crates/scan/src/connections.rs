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

use crate::fields::{Fields, Name};

/// Connections remembered at once; the oldest goes first. fail2ban's own number.
const MOST_CONNECTIONS: usize = 100;
/// How long one is remembered. fail2ban's own number.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// Lines remembered of one connection; the oldest go first. A ban shows a few of them, and whoever
/// keeps a connection open may write as many as he likes.
const MOST_LINES: usize = 200;

/// What is known of one failure, perhaps from several lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) fields: Fields,
    /// The lines that made it.
    pub(crate) matches: Vec<String>,
    /// Lines that are no failure unless another line is.
    kept: Vec<String>,
    /// The first user that the connection tried; empty where it tried none.
    user: String,
    /// Whether it tried another one.
    has_several_users: bool,
    /// A failure whose id is not known yet.
    pub(crate) pending: bool,
}

impl Case {
    fn clear(&mut self) {
        self.fields.clear();
        self.matches.clear();
        self.kept.clear();
        self.user.clear();
        self.has_several_users = false;
        self.pending = false;
    }

    fn add_user(&mut self, user: &str) {
        if self.user.is_empty() {
            self.user.push_str(user);
        } else if !user.is_empty() && self.user != user {
            self.has_several_users = true;
        }
    }

    /// Whether it is only remembered, as no failure by itself.
    pub(crate) fn is_no_failure(&self) -> bool {
        self.fields.is_set(Name::NOFAIL)
    }
}

#[derive(Debug, Default)]
struct Remembered {
    case: Case,
    /// In the order of their coming.
    number: u64,
    until: Timestamp,
}

/// A hash of eight bytes at a time: the ids are short, and so few that nobody gains by making
/// them collide.
#[derive(Debug, Default)]
struct Hash(u64);

impl Hash {
    fn add(&mut self, word: u64) {
        // The odd number nearest to the golden ratio's share of 2^64 spreads all bits.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Hash {
    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_ne_bytes(*word)));
        for &byte in rest {
            self.add(u64::from(byte));
        }
    }
}

/// The connections of one log.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Where in `cases` each of them is.
    known: HashMap<Arc<str>, usize, BuildHasherDefault<Hash>>,
    cases: Vec<Remembered>,
    /// Places in `cases` of those that were forgotten: their memory is used again.
    free: Vec<usize>,
    /// Oldest first; those whose number is not known any more were forgotten.
    order: VecDeque<(u64, Arc<str>)>,
    n_ever: u64,
    /// Kept for its memory.
    room: Fields,
}

impl Connections {
    /// Merges what `lines` of the connection `id` say into what is known of it.
    pub(crate) fn merge(
        &mut self,
        id: &str,
        fields: &mut Fields,
        lines: impl Iterator<Item = String>,
        now: Timestamp,
    ) -> &mut Case {
        let mut gained = fields.is_set(Name::MLFGAINED);
        let mut no_failure = gained || fields.is_set(Name::NOFAIL);
        if gained && !fields.is_set(Name::NOFAIL) {
            let reason = fields.shown(Name::MLFGAINED).unwrap_or_default().into_owned();
            fields.set(Name::NOFAIL, &reason);
        }
        let forget = fields.remove(Name::MLFFORGET);
        let known = self.find(id, now);
        let place = known.unwrap_or_else(|| self.place());
        let case = &mut self.cases[place].case;
        if known.is_some() {
            case.add_user(fields.text(Name::USER).unwrap_or_default());
            let had_no_failure = case.fields.remove(Name::NOFAIL);
            let had_gained = case.fields.remove(Name::MLFGAINED);
            if gained {
                case.pending = false;
            }
            // Without a pending failure its lines were told already.
            if !(had_no_failure || had_gained || case.pending) {
                case.matches.clear();
            }
            case.fields.update(fields, &mut self.room);
        } else {
            case.clear();
            if !forget {
                case.add_user(fields.text(Name::USER).unwrap_or_default());
            }
            std::mem::swap(&mut case.fields, fields);
        }
        if std::mem::take(&mut case.pending) || case.has_several_users {
            case.fields.remove(Name::NOFAIL);
            case.fields.remove(Name::MLFGAINED);
            (gained, no_failure) = (false, false);
        }
        if !no_failure {
            case.kept.append(&mut case.matches);
            std::mem::swap(&mut case.kept, &mut case.matches);
            if !gained {
                case.matches.extend(lines);
            }
            keep_newest(&mut case.matches);
        } else if !forget {
            case.kept.extend(lines);
            keep_newest(&mut case.kept);
        }
        match (known, forget) {
            (Some(_), true) => self.forget(id),
            (None, true) => self.free.push(place),
            (None, false) => self.remember(id, place, now),
            (Some(_), false) => {}
        }
        // What was forgotten stays in its place until another case comes.
        &mut self.cases[place].case
    }

    /// Whether anything is known of the connection `id`.
    pub(crate) fn knows(&mut self, id: &str, now: Timestamp) -> bool {
        self.find(id, now).is_some()
    }

    /// Where the case of a connection is, if it is known and not too old.
    fn find(&mut self, id: &str, now: Timestamp) -> Option<usize> {
        let place = *self.known.get(id)?;
        if self.cases[place].until > now {
            return Some(place);
        }
        self.forget(id);
        None
    }

    /// A place for one more case.
    fn place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.cases.push(Remembered::default());
            self.cases.len() - 1
        })
    }

    fn forget(&mut self, id: &str) {
        self.free.extend(self.known.remove(id));
    }

    fn remember(&mut self, id: &str, place: usize, now: Timestamp) {
        while self.known.len() >= MOST_CONNECTIONS || self.order.len() >= 2 * MOST_CONNECTIONS {
            let Some((number, oldest)) = self.order.pop_front() else { break };
            let Some(&known) = self.known.get(&oldest) else { continue };
            let is_over = self.cases[known].until <= now;
            if self.cases[known].number != number {
                continue;
            }
            self.forget(&oldest);
            // Those that are over go without making room for the new one.
            if !is_over {
                break;
            }
        }
        self.n_ever += 1;
        let id: Arc<str> = id.into();
        self.order.push_back((self.n_ever, Arc::clone(&id)));
        self.known.insert(id, place);
        let slot = &mut self.cases[place];
        slot.number = self.n_ever;
        slot.until = now.saturating_add(REMEMBERED).unwrap_or(Timestamp::MAX);
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
            fields.set(Name::USER, &format!("user{number}"));
            fields.set(Name::NOFAIL, if number % 3 == 0 { "x" } else { "" });
            let lines = std::iter::once(number.to_string());
            let case = connections.merge("1", &mut fields, lines, Timestamp::UNIX_EPOCH);
            assert!(case.matches.len() <= MOST_LINES && case.kept.len() <= MOST_LINES);
        }
    }

    /// However many connections there were, the memory is that of those remembered.
    #[test]
    fn forgotten_connections_leave_their_memory_to_others() {
        let mut connections = Connections::default();
        for number in 0..10 * MOST_CONNECTIONS {
            let mut fields = Fields::default();
            if number % 3 == 0 {
                fields.set(Name::MLFFORGET, "closed");
            }
            let id = (number / 2).to_string();
            connections.merge(&id, &mut fields, std::iter::empty(), Timestamp::UNIX_EPOCH);
            assert!(connections.known.len() <= MOST_CONNECTIONS);
            assert!(connections.cases.len() <= MOST_CONNECTIONS + 1);
        }
    }
}
