//! The filters of one source of lines, each at work with the eye of its jail: many lines at once are
//! skimmed, few are looked at one by one, and what is found is the same.

use std::convert::Infallible;
use std::sync::Arc;

use jail::judge::Reading;
use jiff::Timestamp;
use scan::{Hit, Outcome, Reach, Scanner, Settings, Skimmed, Skimmer, Statistics, Told, Undated};

use crate::batch::Counted;
use crate::clock::Clock;
use crate::docker::{self, Record};
use crate::reader::{Eye, UseDns};

/// As many lines as make a skim worth its memory: some hundred.
const SKIM_BYTES: usize = 16 << 10;

/// The filters of one source of lines.
pub(crate) struct Scanners {
    members: Vec<Member>,
    /// Whether what docker keeps is shown to them as it was written.
    unwraps: bool,
    clock: Clock,
}

/// A jail's filter at work.
struct Member {
    eye: Eye,
    scanner: Scanner,
    /// Made for the first piece that is worth it.
    skimmer: Option<Box<Skimmer>>,
    /// What the filter had counted when that was told last.
    told: Statistics,
}

impl Scanners {
    pub(crate) fn new(eyes: Vec<Eye>, clock: &Clock) -> Self {
        let unwraps = !eyes.iter().any(|eye| docker::is_for_records(eye.filter.spec()));
        let members = eyes.into_iter().map(|eye| Member::new(eye, clock)).collect();
        Self { members, unwraps, clock: clock.clone() }
    }

    /// Whether they look with just these eyes.
    pub(crate) fn have(&self, eyes: &[Eye]) -> bool {
        self.members.len() == eyes.len()
            && self.members.iter().zip(eyes).all(|(it, other)| it.eye.is(other))
    }

    /// The jails that they look for.
    pub(crate) fn jails(&self) -> Vec<String> {
        self.members.iter().map(|it| it.eye.jail.clone()).collect()
    }

    /// Prepares for lines that may be old, or not.
    pub(crate) fn turn_to(&mut self, reading: Reading) -> &mut Self {
        let now = self.clock.now();
        for Member { eye, scanner, .. } in &mut self.members {
            let settings = scanner.settings_mut();
            // A jail that counts over longer than there is time looks at every line.
            let since = now.checked_sub(eye.find_time).ok();
            (settings.since, settings.undated) = match reading {
                Reading::CatchingUp => (since, Undated::Skip),
                Reading::Filling => (since, Undated::Now),
                Reading::InOperation => (None, Undated::Now),
            };
        }
        self
    }

    /// Shows whole lines to all filters, and tells what each found, line after line.
    pub(crate) fn lines(
        &mut self,
        whole: &[u8],
        room: &mut Skimmed,
        mut told: impl FnMut(&Eye, Hit),
    ) {
        let now = self.clock.now();
        if whole.len() < SKIM_BYTES || (self.unwraps && docker::may_keep(whole)) {
            return whole
                .split_inclusive(|&byte| byte == b'\n')
                .for_each(|line| self.line(line, now, &mut told));
        }
        if let [member] = &mut self.members[..] {
            let Member { eye, .. } = member;
            let eye = eye.clone();
            return member.skim(whole, room, now, |_, hit| told(&eye, hit));
        }
        let mut hits = Vec::new();
        for (place, member) in self.members.iter_mut().enumerate() {
            member.skim(whole, room, now, |line, hit| hits.push((line, place, hit)));
        }
        hits.sort_by_key(|(line, ..)| *line);
        hits.into_iter().for_each(|(_, place, hit)| told(&self.members[place].eye, hit));
    }

    /// Shows an entry whose date is known.
    pub(crate) fn dated_line(
        &mut self,
        line: &[u8],
        at: Timestamp,
        mut told: impl FnMut(&Eye, Hit),
    ) {
        let now = self.clock.now();
        for Member { eye, scanner, .. } in &mut self.members {
            if let Outcome::Failure(hit) = scanner.dated_line(line, at, now) {
                told(eye, hit);
            }
        }
    }

    fn line(&mut self, line: &[u8], now: Timestamp, told: &mut impl FnMut(&Eye, Hit)) {
        let record = Record::read(line).filter(|_| self.unwraps);
        for Member { eye, scanner, .. } in &mut self.members {
            let outcome = match &record {
                // Its writer's date is cut out as in any log; where he wrote none, docker's counts.
                Some(Record { log, time }) => {
                    scanner.settings_mut().undated = Undated::Now;
                    scanner.line(log.as_bytes(), *time)
                }
                None => scanner.line(line, now),
            };
            if let Outcome::Failure(hit) = outcome {
                told(eye, hit);
            }
        }
    }

    /// What each filter counted since this was asked last.
    pub(crate) fn counted(&mut self) -> Vec<Counted> {
        let counted = self.members.iter_mut().map(|Member { eye, scanner, told, .. }| {
            let now = scanner.statistics();
            let before = std::mem::replace(told, now);
            Counted {
                jail: eye.jail.clone(),
                n_lines: now.n_lines - before.n_lines,
                n_given_up: now.n_exceeded - before.n_exceeded,
                n_cut: 0,
            }
        });
        counted.collect()
    }
}

impl Member {
    fn new(eye: Eye, clock: &Clock) -> Self {
        let settings = Settings {
            zone: clock.zone.clone(),
            raw: eye.use_dns == UseDns::Raw,
            ..Settings::default()
        };
        let scanner = Scanner::new(Arc::clone(&eye.filter), settings);
        Self { eye, scanner, skimmer: None, told: Statistics::default() }
    }

    /// Looks at a piece, and tells what is found with the number of its line.
    fn skim(
        &mut self,
        piece: &[u8],
        room: &mut Skimmed,
        now: Timestamp,
        mut told: impl FnMut(u32, Hit),
    ) {
        let Self { scanner, skimmer, .. } = self;
        let skimmer = skimmer.get_or_insert_with(|| Box::new(scanner.skimmer(Reach::First)));
        skimmer.settings_mut().since = scanner.settings_mut().since;
        skimmer.skim(piece, scanner.form(), now, room);
        let mut number = 0;
        let settled = scanner.settle::<Infallible>(piece, room, |it| {
            match it {
                Told::Missed { n_lines, .. } => number += n_lines,
                Told::Line { outcomes, .. } => {
                    number += 1;
                    for outcome in outcomes.drain(..) {
                        if let Outcome::Failure(hit) = outcome {
                            told(number, hit);
                        }
                    }
                }
            }
            Ok(())
        });
        let Ok(()) = settled;
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::tz::TimeZone;
    use scan::{Filter, FilterSpec};

    use super::*;

    fn eye(jail: &str, failregex: &[&str]) -> Eye {
        let failregex = failregex.iter().map(|&it| it.to_owned()).collect();
        let spec = FilterSpec { failregex, ..FilterSpec::default() };
        let filter = Arc::new(Filter::compile(&spec).expect("it is sound"));
        let find_time = SignedDuration::from_secs(600);
        Eye { jail: jail.to_owned(), filter, find_time, use_dns: UseDns::No }
    }

    /// A log with everything that a skim leaves for later: dates of another form, of the line before,
    /// of a day that is not, text that is not ASCII, connections.
    fn log() -> String {
        let line = |n: u32| {
            let (time, who) = (format!("2026-11-22 06:{:02}:{:02}", n / 60 % 60, n % 60), n % 19);
            match n % 11 {
                0 | 7 => format!("{time} web conn {who} opened from 192.0.2.{who}\n"),
                1 | 2 => format!("{time} web conn {who} failed\n"),
                3 => format!("{time} web login of root from 192.0.2.{who} failed\r\n"),
                4 => format!("Nov 22 06:59:59 web login of root from 192.0.2.{who} failed\n"),
                5 => format!("login of a line without a date from 192.0.2.{who} failed\n"),
                6 => format!("{time} web login of Zoë from 2001:db8::{who} failed\n"),
                8 => format!("2026-02-30 06:00:00 login of root from 192.0.2.{who} failed\n"),
                _ => format!("{time} web session of somebody: {n}\n"),
            }
        };
        (0..3000).map(line).collect()
    }

    /// All failures of the log, shown in pieces of as many lines.
    fn failures(reading: Reading, n_lines: usize) -> (Vec<(String, Hit)>, Vec<u64>) {
        let now = || "2026-11-22T06:55:00Z".parse().expect("a time");
        let clock = Clock { now, zone: TimeZone::UTC };
        let conn = r"^\s*web <F-MLFID>conn \d+</F-MLFID>";
        let connections = [
            &format!("{conn} <F-NOFAIL>opened</F-NOFAIL> from <HOST>$")[..],
            &format!("{conn} failed$"),
        ];
        let eyes =
            vec![eye("web", &["login of .* from <HOST> failed$"]), eye("conn", &connections)];
        let mut scanners = Scanners::new(eyes, &clock);
        let (log, mut room, mut found) = (log(), Skimmed::default(), Vec::new());
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        for piece in lines.chunks(n_lines) {
            scanners.turn_to(reading).lines(piece.concat().as_bytes(), &mut room, |eye, hit| {
                found.push((eye.jail.clone(), hit));
            });
        }
        (found, scanners.counted().iter().map(|it| it.n_lines).collect())
    }

    #[test]
    fn many_lines_at_once_are_what_they_are_one_by_one() {
        for reading in [Reading::CatchingUp, Reading::Filling, Reading::InOperation] {
            let one_by_one = failures(reading, 1);
            assert!(one_by_one.0.len() > 500, "{}", one_by_one.0.len());
            for n_lines in [700, 3000] {
                assert_eq!(failures(reading, n_lines), one_by_one, "{reading:?} {n_lines}");
            }
        }
    }
}
