//! The log, in fail2ban's own line format, so that recidive and people's scripts work on it.
//!
//! `2026-11-22 06:32:40,943 fail2ban.actions        [6081]: NOTICE  [sshd] Ban 192.0.2.1`

use std::fmt;
use std::fmt::Write as _;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends everything at `level` and above to standard error.
pub(crate) fn to_stderr(level: LevelFilter) {
    // Only the first call of a process counts; a second one changes nothing, and need not.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .event_format(Fail2banLine)
        .try_init();
}

/// fail2ban's levels; `NOTICE`, which tracing lacks, is an information with a field `notice`.
pub(crate) fn level(loglevel: &str) -> Option<LevelFilter> {
    Some(match loglevel.to_ascii_uppercase().as_str() {
        "CRITICAL" | "ERROR" => LevelFilter::ERROR,
        "WARNING" => LevelFilter::WARN,
        "NOTICE" | "INFO" | "MSG" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACEDEBUG" | "HEAVYDEBUG" => LevelFilter::TRACE,
        _ => return None,
    })
}

struct Fail2banLine;

impl<S, N> FormatEvent<S, N> for Fail2banLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let now = Zoned::now();
        writeln!(
            out,
            "{},{:03} {:<24}[{}]: {:<7} {}",
            now.strftime("%Y-%m-%d %H:%M:%S"),
            now.millisecond(),
            event.metadata().target(),
            std::process::id(),
            name(*event.metadata().level(), line.is_notice),
            line.message,
        )
    }
}

fn name(level: Level, is_notice: bool) -> &'static str {
    match level {
        Level::INFO if is_notice => "NOTICE",
        Level::INFO => "INFO",
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// What an event says: its message, then its other fields.
#[derive(Default)]
struct Line {
    message: String,
    is_notice: bool,
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "notice" => self.is_notice = value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.message, " {name}={value:?}"),
        };
    }
}
