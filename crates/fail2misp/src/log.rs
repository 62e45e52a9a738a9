//! The log, in fail2ban's own line format, so that recidive and people's scripts work on it.
//!
//! `2026-11-22 06:32:40,943 fail2ban.actions        [6081]: NOTICE  [sshd] Ban 192.0.2.1`
//!
//! syslog and the journal get a datagram a line, with its level and without what they know
//! themselves: RFC 3164 as syslog(3) writes it to its socket, and systemd's native protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::fmt;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
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
    /// To standard output.
    Stdout,
    /// To syslog, by its socket.
    Syslog(PathBuf),
    /// To the journal of systemd, by its socket.
    Journal(PathBuf),
    /// To a file, where fail2ban's own filter recidive and people's scripts look for them.
    File(PathBuf),
}

/// Where syslog and the journal take their datagrams.
const SYSLOG_SOCKET: &str = "/dev/log";
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// What is known of a log target, for who names another one.
pub(crate) const TARGETS: &str =
    "it can be STDERR, STDOUT, SYSLOG, SYSTEMD-JOURNAL or a file with its whole path";

impl Target {
    /// Reads fail2ban's `logtarget`, or ours; `None` where it is none that is known.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // fail2ban's options of a target are about its own format.
        let name = text.split('[').next().unwrap_or(text).trim();
        match name.to_ascii_uppercase().as_str() {
            "STDERR" | "SYSERR" => Some(Self::Stderr),
            "STDOUT" | "SYSOUT" => Some(Self::Stdout),
            "SYSLOG" => Some(Self::Syslog(SYSLOG_SOCKET.into())),
            "SYSTEMD-JOURNAL" | "JOURNAL" => Some(Self::Journal(JOURNAL_SOCKET.into())),
            _ if name.starts_with('/') => Some(Self::File(name.into())),
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
            Self::Stderr | Self::Stdout => Ok(()),
            Self::Syslog(socket) | Self::Journal(socket) => Datagram::to(socket).map(drop),
            Self::File(path) => open(path).map(drop),
        }
    }
}

impl fmt::Display for Target {
    /// By fail2ban's name for it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => out.write_str("STDERR"),
            Self::Stdout => out.write_str("STDOUT"),
            Self::Syslog(_) => out.write_str("SYSLOG"),
            Self::Journal(_) => out.write_str("SYSTEMD-JOURNAL"),
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
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(target.clone())
        .event_format(Fail2banLine(target.clone()));
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
        let target = Target::read(text)
            .ok_or_else(|| format!("the log target `{text}` is not known; {TARGETS}"))?;
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

    /// Where a line goes.
    fn of(&self, metadata: &Metadata<'_>) -> Target {
        match metadata.target().starts_with(GUARD) {
            true => self.now().clone(),
            false => Target::Stderr,
        }
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
        let boxed = |outcome: io::Result<Box<dyn io::Write>>| match outcome {
            Ok(writer) => writer,
            Err(_full_or_gone) => self.make_writer(),
        };
        match self.of(metadata) {
            Target::Stderr => self.make_writer(),
            Target::Stdout => Box::new(io::stdout()),
            Target::Syslog(socket) | Target::Journal(socket) => boxed(Datagram::to(&socket)),
            Target::File(path) => boxed(open(&path).map(|file| Box::new(file) as _)),
        }
    }
}

/// Sends each line as a datagram.
struct Datagram(UnixDatagram);

impl Datagram {
    fn to(socket: &Path) -> io::Result<Box<dyn io::Write>> {
        let datagram = UnixDatagram::unbound()?;
        datagram.connect(socket)?;
        // A log that nobody takes away must not hold up a ban.
        datagram.set_nonblocking(true)?;
        Ok(Box::new(Self(datagram)))
    }
}

impl io::Write for Datagram {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.send(line) {
            Ok(_) => Ok(line.len()),
            Err(_full_or_gone) => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

struct Fail2banLine(SharedTarget);

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
        let metadata = event.metadata();
        let (name, severity) = name(*metadata.level(), line.is_notice);
        let (source, pid, message) = (metadata.target(), std::process::id(), &line.message);
        match self.0.of(metadata) {
            Target::Stderr | Target::Stdout | Target::File(_) => {
                let now = Zoned::now();
                let (date, ms) = (now.strftime("%Y-%m-%d %H:%M:%S"), now.millisecond());
                writeln!(out, "{date},{ms:03} {source:<24}[{pid}]: {name:<7} {message}")
            }
            Target::Syslog(_) => {
                let priority = DAEMON * 8 + severity;
                write!(out, "<{priority}>{source}[{pid}]: {name:<7} {message}")
            }
            Target::Journal(_) => {
                // A line end would begin another field.
                let message = message.replace('\n', " ");
                writeln!(out, "PRIORITY={severity}\nSYSLOG_IDENTIFIER={source}")?;
                writeln!(out, "SYSLOG_PID={pid}\nMESSAGE={name:<7} {message}")
            }
        }
    }
}

/// syslog's facility of daemons.
const DAEMON: u8 = 3;

/// fail2ban's name of a level, and syslog's number for it.
fn name(level: Level, is_notice: bool) -> (&'static str, u8) {
    match level {
        Level::INFO if is_notice => ("NOTICE", 5),
        Level::INFO => ("INFO", 6),
        Level::ERROR => ("ERROR", 3),
        Level::WARN => ("WARNING", 4),
        Level::DEBUG => ("DEBUG", 7),
        Level::TRACE => ("TRACE", 7),
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
        let syslog = Some(Target::Syslog("/dev/log".into()));
        assert_eq!(Target::read("SYSLOG[facility=auth]"), syslog);
        let journal = Some(Target::Journal("/run/systemd/journal/socket".into()));
        assert_eq!(Target::read("SYSTEMD-JOURNAL"), journal);
        assert_eq!(Target::read("journal"), journal);
        assert_eq!(Target::read("STDOUT"), Some(Target::Stdout));
        assert_eq!(Target::read("var/log/fail2ban.log"), None);
    }

    /// What arrives at a socket for the line of a ban.
    fn datagram(target: fn(PathBuf) -> Target) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let target = SharedTarget(Arc::new(RwLock::new(target(path))));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(target.clone())
            .event_format(Fail2banLine(target));
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            tracing::info!(target: "fail2ban.actions", notice = true, "[sshd] Ban {}", "192.0.2.1");
        });
        let mut room = [0; 1000];
        let n_bytes = socket.recv(&mut room).expect("a datagram");
        String::from_utf8_lossy(&room[..n_bytes]).into_owned()
    }

    #[test]
    fn syslog_and_the_journal_get_a_datagram_a_line() {
        let pid = std::process::id();
        let ban = "NOTICE  [sshd] Ban 192.0.2.1";
        assert_eq!(datagram(Target::Syslog), format!("<29>fail2ban.actions[{pid}]: {ban}"));
        let fields = "PRIORITY=5\nSYSLOG_IDENTIFIER=fail2ban.actions\n";
        assert_eq!(datagram(Target::Journal), format!("{fields}SYSLOG_PID={pid}\nMESSAGE={ban}\n"));
    }
}
