//! `regex`: what a filter finds in a log, as `fail2ban-regex` tells it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use jail::config::options::Item;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Hit, Outcome, Reach, Scanner, Settings, Told};
use serde_json::{Value, json};

use crate::cli::{self, Folders};
use crate::exit::{Code, Failed, Outcome as Ended, escape};
use crate::jails::{self, Source};
use crate::lines::{self, Piece, Pieces};
use crate::reading;

/// Lines of one kind that are shown unless all are asked for; fail2ban-regex's own number.
const MAX_SHOWN: usize = 20;

/// `regex`
pub(crate) fn run(folders: &Folders, args: &cli::Regex, out: &mut dyn Write) -> Ended {
    let settings = crate::settings::read(&folders.config).map_err(Failed::usage)?;
    let source = Source::find(folders, &settings);
    let spec = spec(&source, args).map_err(Failed::usage)?;
    let now = now(args).map_err(Failed::usage)?;
    let zone = zone(args).map_err(Failed::usage)?;
    let spec = jails::on_this_host(spec, now.to_zoned(zone.clone()).year());
    let filter = Filter::compile(&spec)
        .with_context(|| format!("filter `{}`", escape(&args.filter)))
        .map_err(Failed::usage)?;
    // Lines of a failure of several lines are taken back from those that were missed.
    let evidence = args.format.is_json() || spec.maxlines.is_some_and(|n| n > 1);
    let settings = Settings { zone, raw: args.raw, evidence, ..Settings::default() };
    let scanner = Scanner::new(Arc::new(filter), settings);

    let start = Instant::now();
    let mut report = Report::new(args, scanner.filter(), out);
    scan(args, scanner, now, &mut report).map_err(Failed::other_side)?;
    report.finish(start).map_err(Failed::other_side)?;
    Ok(if report.tally.matched == 0 { Code::No } else { Code::Done })
}

/// The filter that the arguments name: one of the configuration, a file, or an expression.
fn spec(source: &Source, args: &cli::Regex) -> Result<FilterSpec> {
    let mut spec = match Named::of(source, &args.filter) {
        Named::File(path) => source.read_filter_file(Path::new(path), given(args)?)?,
        Named::Filter(item) => source.read_filter(item, given(args)?)?,
        Named::Expression(text) if is_name(text) => {
            return Err(anyhow!(
                "there is no filter `{text}` in {source}, nor a file of that name"
            ));
        }
        Named::Expression(text) => {
            FilterSpec { failregex: vec![text.to_owned()], ..FilterSpec::default() }
        }
    };
    if let Some(text) = &args.ignoreregex {
        spec.ignoreregex = match Named::of(source, text) {
            Named::File(path) => source.read_filter_file(Path::new(path), BTreeMap::new())?,
            Named::Filter(item) => source.read_filter(item, BTreeMap::new())?,
            Named::Expression(text) => {
                FilterSpec { ignoreregex: vec![text.to_owned()], ..FilterSpec::default() }
            }
        }
        .ignoreregex;
    }
    if spec.failregex.is_empty() {
        return Err(anyhow!("`{}` holds no failregex", escape(&args.filter)));
    }
    Ok(spec)
}

/// What an argument of fail2ban-regex may be.
enum Named<'a> {
    File(&'a str),
    Filter(Item),
    Expression(&'a str),
}

impl<'a> Named<'a> {
    fn of(source: &Source, text: &'a str) -> Self {
        if Path::new(text).is_file() {
            return Self::File(text);
        }
        match Item::parse(text) {
            Ok(item) if source.has_filter(&item.name) => Self::Filter(item),
            _ => Self::Expression(text),
        }
    }
}

/// Whether text can only be meant as a name: no expression without a tag or a group finds anybody.
fn is_name(text: &str) -> bool {
    !text.contains(['<', '(']) && Item::parse(text).is_ok()
}

/// The options of `--option k=v`.
fn given(args: &cli::Regex) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("--option `{text}`; write it as mode=aggressive"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    args.option.iter().map(pair).collect()
}

fn now(args: &cli::Regex) -> Result<Timestamp> {
    match args.now {
        None => Ok(Timestamp::now()),
        Some(epoch) => Timestamp::from_millisecond((epoch * 1000.0) as i64)
            .with_context(|| format!("--now {epoch}")),
    }
}

fn zone(args: &cli::Regex) -> Result<TimeZone> {
    match &args.timezone {
        None => Ok(TimeZone::system()),
        Some(name) => {
            TimeZone::get(name).or_else(|_unknown| TimeZone::posix(name)).with_context(|| {
                format!(
                    "--timezone `{name}`; write it as Europe/Vienna or CET-01CEST-02,M3.5.0,M10.5.0"
                )
            })
        }
    }
}

/// Feeds the log to the scanner: a file, standard input, or the argument itself as one line.
fn scan(
    args: &cli::Regex,
    mut scanner: Scanner,
    now: Timestamp,
    report: &mut Report<'_>,
) -> Result<()> {
    let input = open(&args.log)?;
    if args.dated {
        let (mut pieces, mut piece) = (Pieces::new(input), Piece::default());
        while pieces.read(&mut piece)? {
            for line in piece.lines() {
                let (at, text) = dated(line).unwrap_or((now, line));
                report.line(line, &scanner.every(text, Some(at), now))?;
            }
        }
    } else {
        reading::through(input, &mut scanner, Reach::Every, now, |told| match told {
            Told::Missed { lines, n_lines } => {
                report.missed(lines, n_lines);
                Ok(())
            }
            Told::Line { line, outcomes } => report.line(line, outcomes),
        })?;
    }
    report.dates = scanner.dates().map(|(n, pattern)| (n, pattern.to_owned())).collect();
    report.n_exceeded = scanner.statistics().n_exceeded;
    Ok(())
}

fn open(log: &str) -> Result<Box<dyn Read>> {
    if log == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let path = Path::new(log);
    if path.is_dir() {
        return Err(anyhow!("`{}` is a folder; name a log in it", escape(log)));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        // What names no file is a line to try.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(Box::new(Cursor::new(log.as_bytes().to_vec())))
        }
        Err(error) => Err(error).with_context(|| format!("read `{}`", escape(log))),
    }
}

/// The date and the text of a line that begins with `@EPOCH `.
fn dated(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let rest = line.strip_prefix(b"@")?;
    let end = memchr::memchr(b' ', rest)?;
    let epoch: f64 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let at = Timestamp::from_microsecond((epoch * 1e6) as i64).ok()?;
    Some((at, &rest[end + 1..]))
}

/// How many lines became what.
#[derive(Default)]
struct Tally {
    lines: u64,
    matched: u64,
    ignored: u64,
    missed: u64,
}

/// Counts, and tells.
struct Report<'a> {
    args: &'a cli::Regex,
    filter: Arc<Filter>,
    out: &'a mut dyn Write,
    tally: Tally,
    /// Lines that each failregex matched.
    hits: Vec<u64>,
    /// Dates that each pattern read.
    dates: Vec<(u32, String)>,
    n_exceeded: u64,
    matched: Shown,
    ignored: Shown,
    missed: Shown,
}

impl<'a> Report<'a> {
    fn new(args: &'a cli::Regex, filter: &Arc<Filter>, out: &'a mut dyn Write) -> Self {
        let shown = |all: bool, none: bool| {
            Shown::new(match (args.format.is_json() || none, all) {
                (true, _) => 0,
                (_, true) => usize::MAX,
                _ => MAX_SHOWN,
            })
        };
        Self {
            filter: Arc::clone(filter),
            out,
            tally: Tally::default(),
            hits: vec![0; filter.spec().failregex.len()],
            dates: Vec::new(),
            n_exceeded: 0,
            matched: shown(args.print_all_matched, !args.print_all_matched),
            ignored: shown(args.print_all_ignored, args.print_no_ignored),
            missed: shown(args.print_all_missed, args.print_no_missed),
            args,
        }
    }

    /// Lines in a row of which nothing came.
    fn missed(&mut self, lines: &[u8], n_lines: u32) {
        self.tally.lines += u64::from(n_lines);
        self.tally.missed += u64::from(n_lines);
        for line in lines::of(lines) {
            if !self.missed.push(line) {
                break;
            }
        }
    }

    fn line(&mut self, line: &[u8], outcomes: &[Outcome]) -> Result<()> {
        self.tally.lines += 1;
        let mut is_ignored = false;
        let mut hit = None;
        for outcome in outcomes {
            match outcome {
                Outcome::Failure(found) => {
                    self.hits[found.failregex] += 1;
                    hit = hit.or(Some(found));
                }
                Outcome::Pending { failregex } => self.hits[*failregex] += 1,
                Outcome::Remembered { failregex } => {
                    self.hits[*failregex] += 1;
                    is_ignored = true;
                }
                Outcome::Ignored(_) => is_ignored = true,
                Outcome::Missed => {}
            }
        }
        let is_missed = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Missed));
        let (count, shown) = if is_ignored {
            (&mut self.tally.ignored, &mut self.ignored)
        } else if is_missed {
            (&mut self.tally.missed, &mut self.missed)
        } else {
            (&mut self.tally.matched, &mut self.matched)
        };
        *count += 1;
        shown.push(line);
        let Some(hit) = hit else { return Ok(()) };
        if self.filter.spec().maxlines.is_some_and(|n| n > 1) {
            self.take_back(hit);
        }
        if self.args.format.is_json() {
            writeln!(self.out, "{}", as_json(self.tally.lines, hit))?;
        }
        Ok(())
    }

    /// Lines of a failure of several lines counted as missed when they came.
    fn take_back(&mut self, hit: &Hit) {
        for line in hit.matches.iter().rev().skip(1) {
            if self.missed.remove(line.as_bytes()) {
                self.tally.missed -= 1;
                self.tally.matched += 1;
                self.matched.push(line.as_bytes());
            }
        }
    }

    fn finish(&mut self, start: Instant) -> Result<()> {
        let Tally { lines, matched, ignored, missed } = self.tally;
        if self.args.format.is_json() {
            let summary = json!({
                "lines": lines, "matched": matched, "ignored": ignored, "missed": missed
            });
            writeln!(self.out, "{}", json!({"summary": summary}))?;
            return Ok(());
        }
        let out = &mut *self.out;
        let n_hits: u64 = self.hits.iter().sum();
        writeln!(out, "Failregex: {n_hits} total")?;
        writeln!(out, "|-  #) [# of hits] regular expression")?;
        for (index, n) in self.hits.iter().enumerate().filter(|(_, n)| **n > 0) {
            let expression = escape(&self.filter.spec().failregex[index]);
            writeln!(out, "|  {:2}) [{n}] {expression}", index + 1)?;
        }
        writeln!(out, "`-\n")?;
        if !self.dates.is_empty() {
            writeln!(out, "Date template hits:\n|- [# of hits] date format")?;
            for (n, pattern) in &self.dates {
                writeln!(out, "|  [{n}] {}", escape(pattern))?;
            }
            writeln!(out, "`-\n")?;
        }
        if self.n_exceeded > 0 {
            let n = self.n_exceeded;
            writeln!(
                out,
                "Given up: {n} searches exceeded the match limit; did an attacker mean it?\n"
            )?;
        }
        writeln!(
            out,
            "Lines: {lines} lines, {ignored} ignored, {matched} matched, {missed} missed\n\
             [processed in {:.2} sec]",
            start.elapsed().as_secs_f64()
        )?;
        self.matched.print(out, "Matched", matched, "--print-all-matched")?;
        self.ignored.print(out, "Ignored", ignored, "--print-all-ignored")?;
        self.missed.print(out, "Missed", missed, "--print-all-missed")?;
        Ok(())
    }
}

/// Lines of one kind that are kept to be shown, as many as anybody wants to see.
struct Shown {
    limit: usize,
    lines: VecDeque<Vec<u8>>,
}

impl Shown {
    fn new(limit: usize) -> Self {
        Self { limit, lines: VecDeque::new() }
    }

    /// Keeps a line, and one more than is shown, to know that there are too many; false where no
    /// further one is kept.
    fn push(&mut self, line: &[u8]) -> bool {
        let is_kept = self.limit > 0 && self.lines.len() <= self.limit;
        if is_kept {
            self.lines.push_back(line.to_vec());
        }
        is_kept
    }

    fn remove(&mut self, line: &[u8]) -> bool {
        let place = self.lines.iter().rposition(|it| it.trim_ascii_end() == line.trim_ascii_end());
        place.and_then(|at| self.lines.remove(at)).is_some()
    }

    fn print(&self, out: &mut dyn Write, kind: &str, n: u64, flag: &str) -> Result<()> {
        if self.limit == 0 || n == 0 {
            return Ok(());
        }
        if self.lines.len() > self.limit {
            writeln!(out, "{kind} line(s): too many to print. Use {flag} to print all {n} lines")?;
            return Ok(());
        }
        writeln!(out, "\n|- {kind} line(s):")?;
        for line in &self.lines {
            writeln!(out, "|  {}", escape(&String::from_utf8_lossy(line)))?;
        }
        writeln!(out, "`-")?;
        Ok(())
    }
}

fn as_json(line: u64, hit: &Hit) -> Value {
    let fields: serde_json::Map<_, _> =
        hit.fields.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "line": line,
        "id": hit.id,
        "time": hit.time.as_microsecond() as f64 / 1e6,
        "failregex": hit.failregex,
        "fields": fields,
    })
}
