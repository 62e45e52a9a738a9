//! Who is banned, since when and until when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::event::{Ban, BanTime, Subject};

/// A ban ends once more than its time is over; this is the step after it.
const AFTER: SignedDuration = SignedDuration::from_nanos(1);

/// The bans of one jail.
#[derive(Debug, Default)]
pub(super) struct Standing {
    bans: HashMap<Subject, Entry>,
    /// When to look at which ban. Each timed ban has one entry here, at its end or, once it was
    /// prolonged, at an earlier one; an entry whose number is gone is of a ban that was lifted.
    ends: BinaryHeap<Reverse<(Timestamp, u64, Subject)>>,
    /// Bans since the start; also the number of the last one.
    total: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    since: Timestamp,
    bantime: BanTime,
}

/// What becomes of a new ban.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It stands from now on.
    New,
    /// It would be over already.
    Expired,
    /// Another one stands since then; its new length, where the new one would end later.
    Standing { since: Timestamp, prolonged: Option<BanTime> },
}

impl Standing {
    /// Makes a ban stand.
    pub(super) fn add(&mut self, ban: &Ban, now: Timestamp) -> Verdict {
        let until = ban.until();
        if until.is_some_and(|until| until < now) {
            return Verdict::Expired;
        }
        if let Some(old) = self.bans.get_mut(&ban.subject) {
            let is_longer = match (old.until(), until) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(old), Some(new)) => new > old,
            };
            if is_longer {
                old.bantime = match ban.bantime {
                    BanTime::Seconds(seconds) => {
                        let later = ban.time.duration_since(old.since).as_secs().max(0);
                        BanTime::from(i64::from(seconds).saturating_add(later))
                    }
                    BanTime::Permanent => BanTime::Permanent,
                };
            }
            return Verdict::Standing {
                since: old.since,
                prolonged: is_longer.then_some(old.bantime),
            };
        }
        self.total += 1;
        let entry = Entry { number: self.total, since: ban.time, bantime: ban.bantime };
        self.bans.insert(ban.subject.clone(), entry);
        if let Some(until) = until {
            self.ends.push(Reverse((until, self.total, ban.subject.clone())));
        }
        Verdict::New
    }

    /// The moment to look again; bans may turn out to have been prolonged then.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        let Reverse((end, ..)) = self.ends.peek()?;
        Some(end.checked_add(AFTER).unwrap_or(Timestamp::MAX))
    }

    /// Takes out at most `limit` bans that are over.
    pub(super) fn lift_expired(&mut self, now: Timestamp, limit: usize) -> Vec<Subject> {
        let mut lifted = Vec::new();
        while lifted.len() < limit {
            let Some(top) = self.ends.peek_mut() else { break };
            if top.0.0 >= now {
                break;
            }
            let Reverse((_, number, subject)) = std::collections::binary_heap::PeekMut::pop(top);
            let Some(entry) = self.bans.get(&subject).filter(|entry| entry.number == number) else {
                continue;
            };
            match entry.until() {
                None => {}
                Some(end) if end >= now => self.ends.push(Reverse((end, number, subject))),
                Some(_) => {
                    self.bans.remove(&subject);
                    lifted.push(subject);
                }
            }
        }
        lifted
    }

    /// Takes out the ban of `subject`; of all that lies in it, where it is a prefix that is not
    /// banned as such.
    pub(super) fn lift(&mut self, subject: &Subject) -> Vec<Subject> {
        if self.bans.remove(subject).is_some() {
            return vec![subject.clone()];
        }
        let Subject::Net(net) = subject else { return Vec::new() };
        let mut inside: Vec<(u64, Subject)> = self
            .bans
            .extract_if(|banned, _| lies_in(banned, net))
            .map(|(banned, entry)| (entry.number, banned))
            .collect();
        inside.sort_unstable();
        inside.into_iter().map(|(_, banned)| banned).collect()
    }

    /// Takes out every ban.
    pub(super) fn lift_all(&mut self) -> Vec<Subject> {
        let banned = self.list();
        self.bans.clear();
        self.ends.clear();
        banned
    }

    /// When a ban began, and how long it stands.
    pub(super) fn get(&self, subject: &Subject) -> Option<(Timestamp, BanTime)> {
        self.bans.get(subject).map(|entry| (entry.since, entry.bantime))
    }

    /// Who is banned, in the order of the bans.
    pub(super) fn list(&self) -> Vec<Subject> {
        let mut banned: Vec<(u64, &Subject)> =
            self.bans.iter().map(|(subject, entry)| (entry.number, subject)).collect();
        banned.sort_unstable();
        banned.into_iter().map(|(_, subject)| subject.clone()).collect()
    }

    /// How many bans stand.
    pub(super) fn n_banned(&self) -> usize {
        self.bans.len()
    }

    /// How many bans lie in `net`.
    pub(super) fn n_in(&self, net: &IpNet) -> usize {
        self.bans.keys().filter(|it| lies_in(it, net)).count()
    }

    /// Bans since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

impl Entry {
    fn until(&self) -> Option<Timestamp> {
        self.bantime.after(self.since)
    }
}

fn lies_in(subject: &Subject, net: &IpNet) -> bool {
    match subject {
        Subject::Addr(addr) => net.contains(addr),
        Subject::Net(inner) => net.contains(inner),
        Subject::Id(_) => false,
    }
}
