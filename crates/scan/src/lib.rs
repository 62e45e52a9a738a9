//! Bytes in, failures out: lines, dates, filters. Knows no file, no clock, no thread.

use jiff::Timestamp;

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
    /// `usedns`, as written.
    pub usedns: Option<String>,
    /// `logtimezone`, as written.
    pub logtimezone: Option<String>,
}

/// A failure as the filter sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What would be banned: an address or any other id.
    pub id: String,
    /// When, by the line's date.
    pub time: Timestamp,
    /// Which expression found it, from 0 in the filter's own list.
    pub failregex: usize,
    /// Failures that it stands for.
    pub n_attempts: u32,
    /// The other named groups that are not empty, under fail2ban's names.
    pub fields: Vec<(String, String)>,
    /// The lines that made it.
    pub matches: Vec<String>,
}
