//! The log, in fail2ban's own line format, so that recidive and people's scripts work on it.
//!
//! `2026-11-22 06:32:40,943 fail2ban.actions        [6081]: NOTICE  [sshd] Ban 192.0.2.1`
//!
//! syslog and the journal get a datagram a line, with its level and without what they know
//! themselves: RFC 3164 as syslog(3) writes it to its socket, and systemd's native protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL).

mod file;
mod line;
mod sink;
mod threshold;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::span::Id;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use line::Line;
use sink::Sink;
use threshold::Threshold;

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
            Self::Syslog(socket) | Self::Journal(socket) => sink::connect(socket).map(drop),
            Self::File(path) => file::open(path).map(drop),
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
    filter: reload::Handle<Threshold, Registry>,
    /// fail2ban's name of the level.
    level: Arc<Mutex<String>>,
    lines: Lines,
}

/// Begins the log: what is at `level`, fail2ban's name of one, and above.
pub(crate) fn begin(level_name: &str, target: Target) -> Log {
    let (name, threshold) = match Threshold::read(level_name) {
        Some(threshold) => (level_name, threshold),
        None => (DEFAULT_LEVEL, Threshold::default()),
    };
    let (filter, handle) = reload::Layer::new(threshold);
    let lines = Lines::to(target);
    // Only the first call of a process counts; a second one changes nothing, and need not.
    let _ = Registry::default().with(filter).with(lines.clone()).try_init();
    Log { filter: handle, level: Arc::new(Mutex::new(name.to_ascii_uppercase())), lines }
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
        let filter = Threshold::read(name).ok_or_else(|| {
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
        self.lines.sink().target().clone()
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
        self.lines.sink().turn_to(target);
        Ok(())
    }
}

/// Writes what is told to the target of now: each line at once, and those of a span together at its
/// end.
#[derive(Clone, Debug)]
struct Lines(Arc<Mutex<Sink>>);

impl Lines {
    fn to(target: Target) -> Self {
        Self(Arc::new(Mutex::new(Sink::new(target))))
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        // Whoever panicked with it has at most lost a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // What is told may be long in being written down, and may tell something itself.
        let line = Line::of(event);
        let mut sink = self.sink();
        sink.write(&line);
        if context.lookup_current().is_none() {
            sink.flush();
        }
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.sink().flush();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

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
        tracing::subscriber::with_default(
            Registry::default().with(Lines::to(target(path))),
            || {
                tracing::info!(target: "fail2ban.actions", notice = true, "[sshd] Ban {}", "192.0.2.1");
            },
        );
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
