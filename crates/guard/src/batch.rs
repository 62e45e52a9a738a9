//! What was read of a log, on its way from the thread that reads to the one that has it judged.

use std::time::Instant;

use jail::judge::Reading;
use jail::{Failure, Subject};
use jiff::Timestamp;

use crate::mark::Progress;

/// What was read of a log.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) failures: Failures,
    pub(crate) reading: Reading,
    pub(crate) progress: Option<Progress>,
    /// When it was read.
    pub(crate) read: Instant,
    /// What the filters counted since the batch before.
    pub(crate) counted: Vec<Counted>,
    /// Whether more of the same source is there already and comes next.
    pub(crate) more: bool,
}

/// What the filter of a jail counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) jail: String,
    /// Lines that it looked at.
    pub(crate) n_lines: u64,
    /// Searches that it gave up.
    pub(crate) n_given_up: u64,
    /// Lines that were too long for anybody, and were cut.
    pub(crate) n_cut: u64,
}

/// Failures in few pieces of memory. A burst has ten thousands of them, each with a dozen texts, and
/// an allocator is slow where one thread frees what another one took.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    packed: Vec<Packed>,
    /// The texts of all of them, one behind the other: the jail, the lines, and the name and text of
    /// each field.
    texts: String,
    /// Where each text ends.
    ends: Vec<usize>,
}

/// A failure without its texts.
#[derive(Debug)]
struct Packed {
    subject: Subject,
    time: Timestamp,
    n_attempts: u32,
    n_matches: usize,
    n_fields: usize,
}

impl Failures {
    fn add(&mut self, failure: Failure) {
        let Failure { jail, subject, time, n_attempts, matches, fields } = failure;
        let (n_matches, n_fields) = (matches.len(), fields.len());
        self.packed.push(Packed { subject, time, n_attempts, n_matches, n_fields });
        self.add_text(&jail);
        matches.iter().for_each(|it| self.add_text(it));
        for (name, text) in &fields {
            self.add_text(name);
            self.add_text(text);
        }
    }

    fn add_text(&mut self, text: &str) {
        self.texts.push_str(text);
        self.ends.push(self.texts.len());
    }
}

impl Extend<Failure> for Failures {
    fn extend<I: IntoIterator<Item = Failure>>(&mut self, failures: I) {
        failures.into_iter().for_each(|it| self.add(it));
    }
}

impl FromIterator<Failure> for Failures {
    fn from_iter<I: IntoIterator<Item = Failure>>(failures: I) -> Self {
        let mut all = Self::default();
        all.extend(failures);
        all
    }
}

impl IntoIterator for Failures {
    type Item = Failure;
    type IntoIter = Unpacked;

    fn into_iter(self) -> Unpacked {
        let Self { packed, texts, ends } = self;
        Unpacked { packed: packed.into_iter(), texts, ends: ends.into_iter(), begin: 0 }
    }
}

/// Takes failures out again, in their order.
#[derive(Debug)]
pub(crate) struct Unpacked {
    packed: std::vec::IntoIter<Packed>,
    texts: String,
    ends: std::vec::IntoIter<usize>,
    /// Where the next text begins.
    begin: usize,
}

impl Unpacked {
    fn text(&mut self) -> Option<String> {
        let end = self.ends.next()?;
        let begin = std::mem::replace(&mut self.begin, end);
        self.texts.get(begin..end).map(str::to_owned)
    }
}

impl Iterator for Unpacked {
    type Item = Failure;

    fn next(&mut self) -> Option<Failure> {
        let Packed { subject, time, n_attempts, n_matches, n_fields } = self.packed.next()?;
        let jail = self.text()?;
        let matches = (0..n_matches).map_while(|_| self.text()).collect();
        let fields = (0..n_fields).map_while(|_| self.text().zip(self.text())).collect();
        Some(Failure { jail, subject, time, n_attempts, matches, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_in_its_order() {
        let text = |it: &str| it.to_owned();
        let failure = |jail, subject: &str, matches: &[&str], fields: &[(&str, &str)]| Failure {
            jail: text(jail),
            subject: subject.into(),
            time: Timestamp::UNIX_EPOCH,
            n_attempts: 2,
            matches: matches.iter().map(|it| text(it)).collect(),
            fields: fields.iter().map(|(name, value)| (text(name), text(value))).collect(),
        };
        let all = [
            failure("sshd", "192.0.2.1", &["one", "zwölf"], &[("user", "Zoë"), ("mlfid", "")]),
            failure("", "", &[], &[]),
            failure("web", "2001:db8::1", &[""], &[("user", "x")]),
        ];
        let packed: Failures = all.iter().cloned().collect();
        assert!(packed.into_iter().eq(all));
    }
}
