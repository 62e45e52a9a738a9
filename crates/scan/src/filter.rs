//! A filter: what the configuration says, compiled once and shared by all of its scanners.

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
    /// `logencoding`, as written; UTF-8 where absent or `auto`.
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

/// A filter, compiled.
#[derive(Debug)]
pub struct Filter {
    spec: FilterSpec,
}

impl Filter {
    /// Compiles what `spec` says.
    ///
    /// # Errors
    ///
    /// Names the first option that fail2ban would refuse, too.
    pub fn compile(spec: &FilterSpec) -> Result<Self, FilterError> {
        Ok(Self { spec: spec.clone() })
    }

    /// What the filter was compiled from.
    pub fn spec(&self) -> &FilterSpec {
        &self.spec
    }
}
