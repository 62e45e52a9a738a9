//! The search: all indicators in all logs, on all cores.
//!
//! Each thread takes the next unit of work, reads it block by block, and looks closer only at lines
//! that hold an indicator. A thread for which no unit is left reads ahead for those that still
//! search. What a unit gave is added to the whole when the unit is at its end, so a search that is
//! stopped knows exactly how far it came.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::DateForms;

use crate::ahead::{self, Errand, Log};
use crate::block::Block;
use crate::finding::{Beside, Findings, LogId, Seen};
use crate::indicator::Indicator;
use crate::input::{Input, STDIN, Unread};
use crate::line::{self, LineReader, Said};
use crate::matcher::{Match, Matcher, fingerprints};
use crate::outcome::{Filters, Outcome};
use crate::segment::Segment;
use crate::set::IndicatorSet;
use crate::work::{Done, Part, Queue, Unit};

/// The beginning of a line that is longer than a block, kept for its date.
const HEAD_BYTES: usize = 8 << 10;
/// Lines of an indicator whose surroundings are looked at; who comes that often is known by then.
const MAX_NEARED: u64 = 1_000;

/// What is searched for, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a line came to.
    pub filters: Filters,
    /// Lines dated before are left out.
    pub since: Option<Timestamp>,
    /// Lines dated after are left out.
    pub until: Option<Timestamp>,
    /// The most lines that are kept of an indicator.
    pub max_samples: usize,
    /// Lines that are kept on either side of one that is.
    pub n_context: usize,
    /// Whether addresses are looked for inside the names of hosts, too.
    pub in_names: bool,
    /// The zone of dates that name none, and of days.
    pub zone: TimeZone,
    /// The time that it is.
    pub now: Timestamp,
    /// Threads that search.
    pub n_threads: usize,
    /// Whose company is noted.
    pub company: Company,
}

/// Which addresses are noted beside an indicator: those of which a line says that they failed or got
/// in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Company {
    /// None.
    #[default]
    None,
    /// Those of lines around it that were written within a few seconds.
    NearLines,
    /// Those of its own lines.
    SameLine,
}

impl Options {
    /// A search of all times on one thread that keeps no lines.
    pub fn new(filters: Filters, zone: TimeZone, now: Timestamp) -> Self {
        Self {
            filters,
            since: None,
            until: None,
            max_samples: 0,
            n_context: 0,
            in_names: false,
            zone,
            now,
            n_threads: 1,
            company: Company::None,
        }
    }
}

/// How far a search is, for whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of logs, as they lie on the disk.
    pub bytes: AtomicU64,
    /// Bytes of text in them.
    pub text_bytes: AtomicU64,
    /// Lines.
    pub lines: AtomicU64,
    /// Lines that hold an indicator, once for each of them.
    pub hits: AtomicU64,
    /// Set it, and the search ends soon with what it has.
    pub stop: AtomicBool,
}

/// What a search gave.
#[derive(Debug, Default)]
pub struct Report {
    /// What was found.
    pub findings: Findings,
    /// Logs that could not be read, or not to their end.
    pub unread: Vec<Unread>,
    /// Lines without a date that were left out, because a time was asked for.
    pub undated: u64,
    /// Whether it was stopped.
    pub is_stopped: bool,
    /// Where a stopped search goes on: what was searched to its end, and what that gave.
    pub state: (Vec<Done>, Findings),
}

/// Searches `inputs` for `set`, going on behind what was `done` and found before.
pub fn search(
    inputs: &[Input],
    set: &IndicatorSet,
    options: &Options,
    progress: &Progress,
    (done, found): (Vec<Done>, Findings),
) -> Report {
    let queue = Queue::new(inputs, done);
    let total = Mutex::new(Report { state: (Vec::new(), found), ..Report::default() });
    let forms = Arc::new(DateForms::new(options.zone.to_datetime(options.now).year()));
    thread::scope(|scope| {
        let (idle, errands) = bounded::<Errand<'_>>(0);
        for _ in 0..options.n_threads.max(1) {
            let (idle, errands, forms) = (idle.clone(), errands.clone(), Arc::clone(&forms));
            let (queue, total) = (&queue, &total);
            scope.spawn(move || {
                let matcher = Matcher::new(set, options.in_names);
                let lines = LineReader::new(&options.filters, forms, options.zone.clone());
                let found = Unfinished::default();
                Worker { inputs, options, progress, idle, matcher, lines, found }
                    .work(queue, total);
                errands.iter().for_each(Errand::run);
            });
        }
    });
    let mut report = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.is_stopped = progress.stop.load(Ordering::Relaxed);
    let finished = match report.is_stopped {
        true => report.state.1.clone(),
        false => std::mem::take(&mut report.state.1),
    };
    report.findings.merge(finished, options.max_samples);
    report.state.0 = queue.into_done();
    report
}

/// What a unit gave so far.
#[derive(Default)]
struct Unfinished {
    findings: Findings,
    undated: u64,
    matches: Vec<Match>,
    /// The line that is looked at: its indicators are counted once.
    line: CurrentLine,
}

#[derive(Default)]
struct CurrentLine {
    said: Said,
    counted: Vec<Indicator>,
    /// The beginning of a line that goes on in the next block; empty for all others.
    head: Vec<u8>,
}

struct Worker<'s> {
    inputs: &'s [Input],
    options: &'s Options,
    progress: &'s Progress,
    /// Threads that are out of work, which end when no worker has this any more.
    idle: Sender<Errand<'s>>,
    matcher: Matcher<'s>,
    lines: LineReader,
    found: Unfinished,
}

impl<'s> Worker<'s> {
    fn work(mut self, queue: &Queue<'_>, total: &Mutex<Report>) {
        while let Some(unit) = queue.next() {
            let unit = match unit {
                Ok(unit) => unit,
                Err((log, error)) => {
                    lock(total).unread.push(Unread::new(&self.inputs[log as usize].path, &error));
                    continue;
                }
            };
            let read = self.search(&unit);
            let is_stopped = self.progress.stop.load(Ordering::Relaxed);
            let findings = std::mem::take(&mut self.found.findings);
            let mut total = lock(total);
            total.undated += std::mem::take(&mut self.found.undated);
            match read {
                Ok(()) if !is_stopped => {
                    queue.finish(&unit);
                    total.state.1.merge(findings, self.options.max_samples);
                }
                read => {
                    total.findings.merge(findings, self.options.max_samples);
                    if let Err(error) = read {
                        let path = &self.inputs[unit.log as usize].path;
                        total.unread.push(Unread::new(path, &error));
                    }
                }
            }
            if is_stopped {
                return;
            }
        }
    }

    fn search(&mut self, unit: &Unit) -> io::Result<()> {
        let input = &self.inputs[unit.log as usize];
        self.lines.begin(input.written(self.options.now));
        let bytes = &self.progress.bytes;
        match &unit.part {
            Part::Segment(file, from, to) => {
                let segment = Segment::new(Arc::clone(file), *from, *to)?;
                self.read(unit.log, Box::new(Counted { from: segment, bytes }))
            }
            Part::Whole => {
                let from: Box<dyn Read + Send> = match input.path.as_os_str() == STDIN {
                    true => Box::new(io::stdin()),
                    false => Box::new(input.open()?),
                };
                self.read(unit.log, input.unpacked(Counted { from, bytes })?)
            }
        }
    }

    fn read(&mut self, log: LogId, from: Log<'s>) -> io::Result<()> {
        let idle = self.idle.clone();
        ahead::read(from, &idle, |block| {
            self.block(log, block);
            match self.progress.stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    }

    fn block(&mut self, log: LogId, block: &Block) {
        let text = block.text();
        let n_lines = memchr::memchr_iter(b'\n', text).count();
        let last = usize::from(!text.ends_with(b"\n") && !block.is_cut);
        self.progress.lines.fetch_add((n_lines + last) as u64, Ordering::Relaxed);
        self.progress.text_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        let mut matches = std::mem::take(&mut self.found.matches);
        self.matcher.find(text, &mut matches);
        // What was said of a line that began in a block before holds to its end.
        let mut known_until = if block.goes_on { line::around(text, 0).1 + 1 } else { 0 };
        for (at, indicator) in matches.drain(..) {
            let (start, end) = line::around(text, at);
            let line = &mut self.found.line;
            if at >= known_until {
                known_until = end + 1;
                line.counted.clear();
                line.said = self.lines.read(text, start, end);
            } else if !line.head.is_empty() && line.counted.is_empty() {
                line.said = self.lines.read(&line.head, 0, line.head.len());
                line.head.clear();
            }
            self.hit(log, text, (start, at, end), indicator);
        }
        self.found.matches = matches;
        if block.is_cut {
            let start = line::around(text, text.len()).0;
            if !(block.goes_on && start == 0) {
                self.found.line.head = text[start..text.len().min(start + HEAD_BYTES)].to_vec();
                if known_until <= start {
                    self.found.line.counted.clear();
                }
            }
        }
    }

    fn hit(&mut self, log: LogId, text: &[u8], place: (usize, usize, usize), indicator: Indicator) {
        let Unfinished { findings, line, undated, .. } = &mut self.found;
        if line.counted.contains(&indicator) {
            return;
        }
        let Options { since, until, max_samples, n_context, .. } = self.options;
        let said = &line.said;
        let is_wanted = match said.time {
            Some(time) => {
                since.is_none_or(|since| since <= time) && until.is_none_or(|until| time <= until)
            }
            None => since.is_none() && until.is_none(),
        };
        if is_wanted {
            let (outcome, user) = said.of(&indicator);
            let seen = Seen { log, time: said.time, day: said.day, outcome, user };
            let finding =
                findings.add(&indicator, &seen, *max_samples, || crate::finding::Sample {
                    outcome,
                    time: said.time,
                    log,
                    ..line::sample(text, place, *n_context)
                });
            let (start, _, end) = place;
            match self.options.company {
                Company::None => {}
                Company::SameLine => {
                    let of_it = said.verdicts.iter().filter(|it| it.is_of(&indicator));
                    for (addr, verdict) in of_it.filter_map(|it| Some((it.addr?, it))) {
                        finding.meet(addr, &Beside::once(said.time, verdict.outcome));
                    }
                }
                Company::NearLines if finding.count <= MAX_NEARED => {
                    if outcome > Outcome::Probed {
                        fingerprints(&text[start..end]).for_each(|it| finding.note_key(it));
                    }
                    for (addr, seen) in self.lines.near(text, (start, end), said.time) {
                        finding.meet(addr, &seen);
                    }
                }
                Company::NearLines => {}
            }
            self.progress.hits.fetch_add(1, Ordering::Relaxed);
        } else if said.time.is_none() {
            *undated += 1;
        }
        line.counted.push(indicator);
    }
}

fn lock(total: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts what is read.
struct Counted<'p, R> {
    from: R,
    bytes: &'p AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.from.read(into)?;
        self.bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
        Ok(n_bytes)
    }
}
