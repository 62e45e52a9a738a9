//! A pass: all filters of one log, and each of its lines read once.
//!
//! Filters that look for dates in the same way share them, and one sieve holds the literals of
//! all: each filter sees what it would see alone.

use std::sync::Arc;

use jiff::Timestamp;

use crate::dating::{Dated, Dating};
use crate::expression::Subject;
use crate::filter::Filter;
use crate::scanner::{Member, Outcome, Settings, Statistics, without_end};
use crate::search::Reach;
use crate::sieve::{Rules, Sieve, Wanted};

/// Several filters at work on one log.
#[derive(Debug)]
pub struct Pass {
    members: Vec<Member>,
    groups: Vec<Group>,
}

/// Filters that date lines in the same way.
#[derive(Debug)]
struct Group {
    dating: Dating,
    /// Places in `Pass::members`; the first one says how lines are dated.
    members: Vec<usize>,
    sieve: Sieve,
    wanted: Wanted,
    /// The line without its date; kept for its memory.
    text: String,
    /// What became of the line in one filter; kept for its memory.
    found: Vec<Outcome>,
}

impl Pass {
    /// A pass of filters that have seen nothing yet.
    pub fn new(filters: Vec<(Arc<Filter>, Settings)>) -> Self {
        let members: Vec<_> =
            filters.into_iter().map(|(filter, settings)| Member::new(filter, settings)).collect();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, member) in members.iter().enumerate() {
            match groups.iter_mut().find(|group| dates_alike(&members[group[0]], member)) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        let groups = groups.into_iter().map(|places| Group::new(&members, places)).collect();
        Self { members, groups }
    }

    /// Looks at a line, with or without its end, and calls `told` with the place of each filter
    /// in the list that the pass was made of and with what it found; not where it missed.
    pub fn line(&mut self, line: &[u8], now: Timestamp, told: impl FnMut(usize, Outcome)) {
        self.look(line, None, now, told);
    }

    /// The same for an entry whose date is known, as a journal's is.
    pub fn dated_line(
        &mut self,
        line: &[u8],
        at: Timestamp,
        now: Timestamp,
        told: impl FnMut(usize, Outcome),
    ) {
        self.look(line, Some(at), now, told);
    }

    /// How a filter looks at the log; may be changed between lines, but for the zone, which
    /// filters may share.
    pub fn settings_mut(&mut self, place: usize) -> &mut Settings {
        &mut self.members[place].settings
    }

    /// What a filter counted.
    pub fn statistics(&self, place: usize) -> Statistics {
        let mut groups = self.groups.iter();
        let group = groups.find(|group| group.members.contains(&place));
        let group = group.expect("every member is in a group");
        self.members[place].statistics(&group.dating)
    }

    fn look(
        &mut self,
        line: &[u8],
        at: Option<Timestamp>,
        now: Timestamp,
        mut told: impl FnMut(usize, Outcome),
    ) {
        let Self { members, groups } = self;
        members.iter_mut().for_each(Member::begin);
        for group in groups {
            let leader = &members[group.members[0]];
            let encoding = leader.filter.encoding;
            let decoded = encoding.decode(without_end(line));
            let dated = match at {
                Some(at) => group.dating.known(&decoded, at, now),
                None => group.dating.date(Subject::new(&decoded), leader.clock(now)),
            };
            group.find(members, dated, now, &mut told);
        }
    }
}

/// Whether two filters find the same dates in the same lines, and read them as the same times.
fn dates_alike(one: &Member, other: &Member) -> bool {
    let (a, b) = (&one.filter, &other.filter);
    a.spec().datepattern == b.spec().datepattern
        && a.spec().year == b.spec().year
        && a.offset == b.offset
        && a.encoding == b.encoding
        && one.settings.zone == other.settings.zone
}

impl Group {
    fn new(all: &[Member], members: Vec<usize>) -> Self {
        let required: Vec<_> = members.iter().map(|&place| all[place].filter.required()).collect();
        Self {
            dating: Dating::new(&all[members[0]].filter.dates),
            sieve: Sieve::new(&required),
            wanted: Wanted::all(members.len()),
            members,
            text: String::new(),
            found: Vec::new(),
        }
    }

    /// Shows a dated line to all filters that may want it.
    fn find(
        &mut self,
        all: &mut [Member],
        dated: Dated<'_>,
        now: Timestamp,
        told: &mut impl FnMut(usize, Outcome),
    ) {
        self.text.clear();
        self.text.extend([dated.before, dated.after, "\n"]);
        self.sieve.sift(self.text.as_bytes(), &mut self.wanted);
        for (&place, &wanted) in self.members.iter().zip(&self.wanted.rules) {
            let member = &mut all[place];
            let wanted = if member.filter.sieves() { wanted } else { Rules::ALL };
            if wanted.is_empty() {
                continue;
            }
            let last_text = self.dating.last_text();
            let moment = (now, Reach::First);
            member.find(dated, last_text, &self.text, wanted, moment, &mut self.found);
            self.found.drain(..).for_each(|outcome| told(place, outcome));
        }
    }
}
