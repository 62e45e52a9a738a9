//! The memory of connections: failures whose lines share an `<F-MLFID>`.
//!
//! One line of a connection may tell the address, another the user, a third that it failed.
//! Fields of all of them are merged; `nofail` waits for a failure, `mlfforget` ends the
//! connection, `mlfgained` clears it of what is pending. Followed step by step from fail2ban's
//! `server/filter.py`, `_mergeFailure`.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::fields::{Fields, Value};

/// Connections remembered at once; the oldest goes first. fail2ban's own number.
const MOST_CONNECTIONS: usize = 100;
/// How long one is remembered. fail2ban's own number.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);

/// What is known of one failure, perhaps from several lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) fields: Fields,
    /// The lines that made it.
    pub(crate) matches: Vec<String>,
    /// Lines that are no failure unless another line is.
    kept: Vec<String>,
    /// All users that the connection tried.
    users: BTreeSet<String>,
    /// A failure whose id is not known yet.
    pub(crate) pending: bool,
}

impl Case {
    /// What one match caught on `lines`.
    pub(crate) fn new(fields: Fields, lines: Vec<String>) -> Self {
        Self { fields, matches: lines, ..Self::default() }
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

/// The connections of one log.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    known: HashMap<String, Remembered>,
    n_ever: u64,
}

impl Connections {
    /// Merges what `lines` of the connection `id` say into what is known of it.
    ///
    /// The result is remembered, too, unless the connection ended: changes to it go back by
    /// `keep`.
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
            let reason = fields.get("mlfgained").cloned();
            fields.set("nofail", reason);
        }
        let forget = fields.remove("mlfforget");
        let user = fields.text("user").filter(|user| !user.is_empty()).map(str::to_owned);
        let mut users_matter = true;
        let mut case = if let Some(mut case) = self.get(id, now) {
            case.users.extend(user);
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
                case.users.extend(user);
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
            case.matches = matches;
        } else if !forget {
            case.kept.extend(lines);
        }
        self.keep(id, &case);
        case
    }

    /// Remembers a changed case, if its connection is remembered at all.
    pub(crate) fn keep(&mut self, id: &str, case: &Case) {
        if let Some(known) = self.known.get_mut(id) {
            known.case = case.clone();
        }
    }

    fn get(&mut self, id: &str, now: Timestamp) -> Option<Case> {
        let known = self.known.get_mut(id)?;
        if known.until > now {
            return Some(std::mem::take(&mut known.case));
        }
        self.known.remove(id);
        None
    }

    fn insert(&mut self, id: &str, now: Timestamp) {
        while self.known.len() >= MOST_CONNECTIONS {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.number);
            let Some((oldest, until)) = oldest.map(|(id, known)| (id.clone(), known.until)) else {
                break;
            };
            self.known.remove(&oldest);
            if until > now {
                break;
            }
        }
        self.n_ever += 1;
        let until = now.saturating_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        let known = Remembered { case: Case::default(), number: self.n_ever, until };
        self.known.insert(id.to_owned(), known);
    }
}

/// The text of a field that names a connection; a tuple as Python writes it.
pub(crate) fn connection_id(fields: &Fields) -> Option<String> {
    fields.get("mlfid").cloned().map(Value::into_text)
}
