//! A line of the log as it was told: by whom, at which level, what.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// What the targets of guard's lines begin with: they are named as fail2ban's are.
const GUARD: &str = "fail2ban.";

/// What most messages are shorter than.
const USUAL_BYTES: usize = 120;

/// What an event says.
pub(super) struct Line {
    /// Who says it.
    pub(super) source: &'static str,
    level: Level,
    is_notice: bool,
    /// Its message, then its other fields.
    pub(super) message: String,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let (source, level) = (metadata.target(), *metadata.level());
        let message = String::with_capacity(USUAL_BYTES);
        let mut line = Self { source, level, is_notice: false, message };
        event.record(&mut line);
        line
    }

    /// Whether guard says it.
    pub(super) fn is_guards(&self) -> bool {
        self.source.starts_with(GUARD)
    }

    /// fail2ban's name of its level, and syslog's number for it.
    pub(super) fn level(&self) -> (&'static str, u8) {
        match self.level {
            Level::INFO if self.is_notice => ("NOTICE", 5),
            Level::INFO => ("INFO", 6),
            Level::ERROR => ("ERROR", 3),
            Level::WARN => ("WARNING", 4),
            Level::DEBUG => ("DEBUG", 7),
            Level::TRACE => ("TRACE", 7),
        }
    }
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
