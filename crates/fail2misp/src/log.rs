//! The log, in fail2ban's own line format, so that recidive and people's scripts work on it.
//!
//! `2026-11-22 06:32:40,943 fail2ban.actions        [6081]: NOTICE  [sshd] Ban 192.0.2.1`

use std::fmt;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// What is written where nobody says it; fail2ban's own.
pub(crate) const DEFAULT_LEVEL: &str = "INFO";

/// Where guard's lines go; everything else, exchange's lines among it, goes to standard error.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Target {
    /// To standard error, too.
    #[default]
    Stderr,
    /// To a file, where fail2ban's own filter recidive and people's scripts look for them.
    File(PathBuf),
}

impl Target {
    /// Reads fail2ban's `logtarget`, or ours; `None` where it is none that is known.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text.trim() {
            "stderr" | "STDERR" => Some(Self::Stderr),
            path if path.starts_with('/') => {
                // fail2ban's options of a target are about its own format.
                let path = path.split('[').next().unwrap_or(path);
                Some(Self::File(path.into()))
            }
            _ => None,
        }
    }

    /// Whether lines can be written there.
    ///
    /// # Errors
    ///
    /// What the system says, where they cannot.
    pub(crate) fn try_out(&self) -> io::Result<()> {
        match self {
            Self::Stderr => Ok(()),
            Self::File(path) => open(path).map(drop),
        }
    }
}

impl fmt::Display for Target {
    /// By fail2ban's name for it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => out.write_str("STDERR"),
            Self::File(path) => path.display().fmt(out),
        }
    }
}

/// The log that this process writes, as far as it may change.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    filter: reload::Handle<LevelFilter, Registry>,
    /// fail2ban's name of the level.
    level: Arc<Mutex<String>>,
    target: SharedTarget,
}

/// Begins the log: what is at `level`, fail2ban's name of one, and above.
pub(crate) fn begin(level_name: &str, target: Target) -> Log {
    let name = if level(level_name).is_some() { level_name } else { DEFAULT_LEVEL };
    let (filter, handle) = reload::Layer::new(level(name).unwrap_or(LevelFilter::INFO));
    let target = SharedTarget(Arc::new(RwLock::new(target)));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(target.clone()).event_format(Fail2banLine);
    // Only the first call of a process counts; a second one changes nothing, and need not.
    let _ = Registry::default().with(filter).with(lines).try_init();
    Log { filter: handle, level: Arc::new(Mutex::new(name.to_ascii_uppercase())), target }
}

impl Log {
    /// fail2ban's name of the level.
    pub(crate) fn level(&self) -> String {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what is at this level and above from now on.
    ///
    /// # Errors
    ///
    /// Where fail2ban has no level of that name.
    pub(crate) fn set_level(&self, name: &str) -> Result<(), String> {
        let filter = level(name).ok_or_else(|| {
            format!(
                "`{name}` is no log level; it is one of CRITICAL, ERROR, WARNING, NOTICE, INFO, \
                     DEBUG, TRACEDEBUG, HEAVYDEBUG"
            )
        })?;
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = name.to_ascii_uppercase();
        Ok(())
    }

    /// Where guard's lines go.
    pub(crate) fn target(&self) -> Target {
        self.target.now().clone()
    }

    /// Sends guard's lines there from now on.
    ///
    /// # Errors
    ///
    /// Where nothing can be written there; they go where they went then.
    pub(crate) fn set_target(&self, text: &str) -> Result<(), String> {
        let target = Target::read(text).ok_or_else(|| {
            format!("the log target `{text}` is not known; it can be STDERR or a file")
        })?;
        target.try_out().map_err(|error| format!("`{text}` cannot be written: {error}"))?;
        *self.target.0.write().unwrap_or_else(PoisonError::into_inner) = target;
        Ok(())
    }
}

/// A target that may change while lines are written to it.
#[derive(Clone, Debug)]
struct SharedTarget(Arc<RwLock<Target>>);

impl SharedTarget {
    fn now(&self) -> RwLockReadGuard<'_, Target> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MakeWriter<'_> for SharedTarget {
    type Writer = Box<dyn io::Write>;

    fn make_writer(&self) -> Self::Writer {
        Box::new(io::stderr())
    }

    /// The file is opened for each line: after a rotation the line belongs into the new one, and a
    /// daemon that bans by the thousand still spends far longer on each ban.
    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Self::Writer {
        match &*self.now() {
            Target::File(path) if metadata.target().starts_with(GUARD) => match open(path) {
                Ok(file) => Box::new(file),
                Err(_full_or_gone) => self.make_writer(),
            },
            _ => self.make_writer(),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// fail2ban's levels; `NOTICE`, which tracing lacks, is an information with a field `notice`.
fn level(loglevel: &str) -> Option<LevelFilter> {
    Some(match loglevel.to_ascii_uppercase().as_str() {
        "CRITICAL" | "ERROR" => LevelFilter::ERROR,
        "WARNING" => LevelFilter::WARN,
        "NOTICE" | "INFO" | "MSG" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACEDEBUG" | "HEAVYDEBUG" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// What the targets of guard's lines begin with: they are named as fail2ban's are.
const GUARD: &str = "fail2ban.";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets() {
        let file = |path: &str| Some(Target::File(path.into()));
        assert_eq!(Target::read("STDERR"), Some(Target::Stderr));
        assert_eq!(Target::read("/var/log/fail2ban.log"), file("/var/log/fail2ban.log"));
        assert_eq!(Target::read("/var/log/f.log[format=\"x\"]"), file("/var/log/f.log"));
        assert_eq!(Target::read("SYSLOG"), None);
    }
}
