//! A filter: what the configuration says, compiled once and shared by all of its scanners.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::date::{Clock, DatePatterns, Years, offset_minutes};
use crate::dating::{Dating, When};
use crate::encoding::Encoding;
use crate::expression::syntax::{SyntaxError, localise_flags};
use crate::expression::tags::{self, Names};
use crate::expression::{Expression, Subject};
use crate::fields::{FieldNames, Groups, tells_id};
use crate::scanner::without_end;
use crate::sieve::{Needs, Sieve};

/// The year in which filters are compiled where nobody says it: that of this release.
const DEFAULT_YEAR: i16 = 2026;

/// What a filter says, with every tag of the configuration language expanded; `<HOST>` and its
/// kin are still as written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FilterSpec {
    /// `prefregex`.
    pub prefregex: Option<String>,
    /// `failregex`, one expression each.
    pub failregex: Vec<String>,
    /// `ignoreregex`, one expression each.
    pub ignoreregex: Vec<String>,
    /// `maxlines`; 1 where absent.
    pub maxlines: Option<usize>,
    /// `datepattern`, as written; the default templates where absent.
    pub datepattern: Option<String>,
    /// `usedns`, as written; `warn` where absent.
    pub usedns: Option<String>,
    /// `logtimezone`, as written.
    pub logtimezone: Option<String>,
    /// `logencoding`, by a name of Python's; UTF-8 where absent or `auto`, which means the locale's to
    /// whoever knows it.
    pub logencoding: Option<String>,
    /// The year in which the filter is compiled: `%ExY` accepts the years from 2000 to the end of
    /// the decade that begins no later than three years from here. Absent: 2026.
    pub year: Option<i16>,
}

/// The part of a filter that a fault is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// `prefregex`.
    Prefregex,
    /// `failregex`, by its place in the list, from 0.
    Failregex(usize),
    /// `ignoreregex`, by its place in the list, from 0.
    Ignoreregex(usize),
    /// `maxlines`.
    Maxlines,
    /// `datepattern`, by its line, from 0.
    Datepattern(usize),
    /// `logtimezone`.
    Logtimezone,
    /// `logencoding`.
    Logencoding,
}

impl std::fmt::Display for Part {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefregex => out.write_str("prefregex"),
            Self::Failregex(index) => write!(out, "failregex {index}"),
            Self::Ignoreregex(index) => write!(out, "ignoreregex {index}"),
            Self::Maxlines => out.write_str("maxlines"),
            Self::Datepattern(index) => write!(out, "datepattern {index}"),
            Self::Logtimezone => out.write_str("logtimezone"),
            Self::Logencoding => out.write_str("logencoding"),
        }
    }
}

/// Why a filter cannot be compiled, where, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{part}: {reason}{}: {remedy}", at(*offset))]
pub struct FilterError {
    /// The option that is at fault.
    pub part: Part,
    /// The byte of its value, with fail2ban's tags expanded, where the fault is.
    pub offset: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

fn at(offset: Option<usize>) -> String {
    offset.map_or_else(String::new, |byte| format!(" at byte {byte}"))
}

impl FilterError {
    fn of_expression(part: Part, error: SyntaxError) -> Self {
        Self {
            part,
            offset: Some(error.offset),
            reason: error.reason,
            remedy: "correct the expression; it is read as Python's `re` reads it".to_owned(),
        }
    }

    fn of_value(part: Part, reason: String, remedy: &str) -> Self {
        Self { part, offset: None, reason, remedy: remedy.to_owned() }
    }
}

/// One expression of a filter with the groups that matter.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) expression: Arc<Expression>,
    pub(crate) groups: Groups,
}

impl Rule {
    fn compile(
        part: Part,
        text: &str,
        names: Names,
        multiline: bool,
        fields: &mut FieldNames,
    ) -> Result<Self, FilterError> {
        let text = localise_flags(&tags::expand(text, names));
        if text.trim_start().is_empty() {
            let remedy = "write an expression, or leave the option out";
            return Err(FilterError::of_value(part, "the expression is empty".into(), remedy));
        }
        let expression = Expression::compile(&text, multiline)
            .map_err(|error| FilterError::of_expression(part, error))?;
        Ok(Self { groups: Groups::of(&expression, fields), expression: Arc::new(expression) })
    }
}

/// A filter, compiled.
#[derive(Debug)]
pub struct Filter {
    spec: FilterSpec,
    pub(crate) prefix: Option<Rule>,
    pub(crate) failures: Vec<Rule>,
    pub(crate) ignored: Vec<Rule>,
    /// The names of the groups of all expressions.
    pub(crate) fields: FieldNames,
    pub(crate) max_lines: usize,
    pub(crate) dates: DatePatterns,
    /// `logtimezone`, in minutes ahead of UTC.
    pub(crate) offset: Option<i32>,
    /// `usedns = raw`: whatever was caught is the id.
    pub(crate) raw: bool,
    pub(crate) encoding: Encoding,
    pub(crate) sieve: Arc<Sieve>,
}

impl Filter {
    /// Compiles what `spec` says.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be used, and why.
    pub fn compile(spec: &FilterSpec) -> Result<Self, FilterError> {
        let usedns = spec.usedns.as_deref().unwrap_or("warn").to_lowercase();
        // What fail2ban does not know as a value of `usedns` is `no`.
        let names = match usedns.as_str() {
            "yes" | "warn" | "raw" => Names::Taken,
            _ => Names::Refused,
        };
        let max_lines = spec.maxlines.unwrap_or(1);
        if max_lines == 0 {
            let reason = "`maxlines` is 0".to_owned();
            return Err(FilterError::of_value(Part::Maxlines, reason, "give 1 or more lines"));
        }
        let prefix = spec.prefregex.as_deref().filter(|text| !text.is_empty());
        let mut fields = FieldNames::default();
        let prefix = prefix
            .map(|text| Rule::compile(Part::Prefregex, text, names, false, &mut fields))
            .transpose()?;
        let failures = spec.failregex.iter().enumerate().map(|(index, text)| {
            let part = Part::Failregex(index);
            let rule = Rule::compile(part, text, names, max_lines > 1, &mut fields)?;
            let by_prefix = prefix.as_ref().is_some_and(|prefix| tells_id(&prefix.expression));
            if by_prefix || tells_id(&rule.expression) {
                return Ok(rule);
            }
            let reason = "no group tells who failed".to_owned();
            Err(FilterError::of_value(part, reason, "put `<HOST>` where the address stands"))
        });
        let failures = failures.collect::<Result<_, _>>()?;
        let ignored = spec.ignoreregex.iter().enumerate();
        let ignored = ignored
            .map(|(index, text)| {
                Rule::compile(Part::Ignoreregex(index), text, names, false, &mut fields)
            })
            .collect::<Result<_, _>>()?;
        let years = Years::at(spec.year.unwrap_or(DEFAULT_YEAR));
        let dates = DatePatterns::read(spec.datepattern.as_deref(), years)
            .map_err(|(line, reason)| bad_date(line, reason))?;
        let offset = spec.logtimezone.as_deref().map(logtimezone).transpose()?;
        let encoding = encoding(spec.logencoding.as_deref().unwrap_or("auto"))?;
        let raw = usedns == "raw";
        let spec = spec.clone();
        let sieve = Arc::default();
        let mut filter = Self {
            spec,
            prefix,
            failures,
            ignored,
            fields,
            max_lines,
            dates,
            offset,
            raw,
            encoding,
            sieve,
        };
        filter.sieve = Arc::new(Sieve::new(&[filter.required()]));
        Ok(filter)
    }

    /// Whether literals tell which expressions may match a line: not where several lines are
    /// looked at together.
    pub(crate) fn sieves(&self) -> bool {
        self.max_lines == 1
    }

    /// What a line must hold for each expression to matter, `failregex` first, then
    /// `ignoreregex`.
    pub(crate) fn required(&self) -> Vec<Needs> {
        let prefix = self.prefix.as_ref().map(|prefix| prefix.expression.required());
        let prefix = prefix.unwrap_or_default();
        let failures = self.failures.iter();
        let failures = failures.map(|rule| Needs::of(rule.expression.required().to_vec(), prefix));
        // Those that only withdraw a failure are of no interest without one.
        let ignored = self.ignored.iter().filter(|_| self.ignores_first());
        let ignored = ignored.map(|rule| Needs::of(rule.expression.required().to_vec(), &[]));
        failures.chain(ignored).collect()
    }

    /// The date that `line` bears by this filter, whatever lines came before it; `None` where it
    /// bears none. `zone` is that of dates that name none.
    pub fn date(&self, line: &[u8], zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let line = self.encoding.decode(without_end(line));
        let clock = Clock { now, zone, offset: self.offset };
        match Dating::new(&self.dates).date(Subject::new(&line), clock).when {
            When::Own(moment) => moment.resolve(clock),
            When::Last(_) | When::Now | When::Unknown => None,
        }
    }

    /// What the filter was compiled from.
    pub fn spec(&self) -> &FilterSpec {
        &self.spec
    }

    /// The expressions of `failregex` that every line is tried with, because no literal is known
    /// that a match must hold: they make a filter slow.
    pub fn unsieved(&self) -> Vec<usize> {
        let required = self.required();
        (0..self.failures.len()).filter(|&index| required[index].best.is_none()).collect()
    }

    /// Whether `ignoreregex` is looked at before `failregex`, and not after it: where it saves
    /// work, by fail2ban's measure.
    pub(crate) fn ignores_first(&self) -> bool {
        !self.ignored.is_empty() && self.ignored.len() + 2 < self.failures.len()
    }
}

fn bad_date(line: usize, reason: String) -> FilterError {
    let remedy = "correct the pattern; `%` begins a token of strptime, `%%` is a percent sign";
    FilterError::of_value(Part::Datepattern(line), reason, remedy)
}

fn logtimezone(text: &str) -> Result<i32, FilterError> {
    offset_minutes(text).ok_or_else(|| {
        let reason = format!("`{text}` is no zone with a fixed offset");
        let remedy = "write the offset, such as `UTC+0200`, or an abbreviation, such as `CET`";
        FilterError::of_value(Part::Logtimezone, reason, remedy)
    })
}

fn encoding(name: &str) -> Result<Encoding, FilterError> {
    Encoding::named(name).ok_or_else(|| {
        let reason = format!("encoding `{name}` is not supported");
        let remedy = "write the name that Python has for one of bytes, such as `utf-8` or `cp1251`";
        FilterError::of_value(Part::Logencoding, reason, remedy)
    })
}
