//! The program around guard, as an operator asks guard for it: its configuration and its log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use control::config::ServerOption;
use control::guard::DisabledJail;
use jail::config::{Configuration, Fault, Jail, duration};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::Value;

use crate::jails::{self, Source};
use crate::log::{Log, Target};
use crate::settings;

/// Lines of a ban that fail2ban keeps in its database where nobody says it.
const DB_MAX_MATCHES: i64 = 10;

/// The program around guard.
pub(crate) struct Surroundings {
    pub(crate) source: Source,
    pub(crate) settings: settings::Guard,
    pub(crate) log: Log,
    /// Whether the log stays where it is: our own configuration says where, or a dry run leaves
    /// fail2ban's alone.
    pub(crate) log_stays: bool,
    pub(crate) log_follows: Mutex<LogFollows>,
    /// `[Definition]` of fail2ban.conf, as it was at the start.
    pub(crate) server: BTreeMap<String, String>,
    /// guard.db; `None` where nothing is kept.
    pub(crate) database: Option<PathBuf>,
}

/// fail2ban.conf, as far as the log follows it.
#[derive(Debug, Default)]
pub(crate) struct LogFollows {
    in_force: BTreeMap<String, String>,
    /// As it was read last.
    read: BTreeMap<String, String>,
}

impl LogFollows {
    pub(crate) fn new(in_force: BTreeMap<String, String>) -> Self {
        Self { in_force, read: BTreeMap::new() }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the program that reads {}", self.source)
    }
}

impl Surroundings {
    fn log_follows(&self) -> MutexGuard<'_, LogFollows> {
        self.log_follows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl guard::Program for Surroundings {
    fn jails(&self) -> Result<(Vec<Jail>, Vec<DisabledJail>), String> {
        let Configuration { jails, faults, server, .. } = self.source.read(&self.settings);
        self.log_follows().read = server;
        for fault in faults.iter().filter(|it| it.jail.is_none()) {
            tracing::warn!(target: "fail2misp", "{}", jails::describe(fault));
        }
        Ok((jails, refused(faults)))
    }

    fn follow_jails(&self) {
        let mut follows = self.log_follows();
        let read = std::mem::take(&mut follows.read);
        // What was set by hand stays, unless it is written otherwise now.
        let changed =
            |name: &str| read.get(name).filter(|it| follows.in_force.get(name) != Some(*it));
        let level = changed("loglevel").map(|it| self.log.set_level(it));
        let target = changed("logtarget").filter(|_| !self.log_stays);
        for refused in [level, target.map(|it| self.log.set_target(it))].into_iter().flatten() {
            if let Err(why) = refused {
                tracing::warn!(target: "fail2misp", "the log stays as it is: {why}");
            }
        }
        follows.in_force = read;
    }

    fn option(&self, option: ServerOption) -> Value {
        let written = |name: &str| self.server.get(name).map(String::as_str);
        match option {
            ServerOption::LogLevel => self.log.level().into(),
            ServerOption::LogTarget => self.log.target().to_string().into(),
            ServerOption::SyslogSocket => written("syslogsocket").unwrap_or("auto").into(),
            ServerOption::DbFile => {
                self.database.as_ref().map(|it| it.display().to_string()).into()
            }
            ServerOption::DbMaxMatches => {
                let n = written("dbmaxmatches").and_then(|text| text.trim().parse().ok());
                n.unwrap_or(DB_MAX_MATCHES).into()
            }
            ServerOption::DbPurgeAge => purge_age(&self.server).as_secs().into(),
        }
    }

    fn set_option(&self, option: ServerOption, value: &str) -> Result<(), String> {
        match option {
            ServerOption::LogLevel => self.log.set_level(value),
            ServerOption::LogTarget => self.log.set_target(value),
            ServerOption::SyslogSocket
            | ServerOption::DbFile
            | ServerOption::DbMaxMatches
            | ServerOption::DbPurgeAge => {
                Err("this cannot change while the daemon runs".to_owned())
            }
        }
    }

    fn flush_logs(&self) -> &'static str {
        // Whoever writes looks which file has the name then.
        match self.log.target() {
            Target::Stderr | Target::Stdout | Target::Syslog(_) | Target::Journal(_) => "flushed",
            Target::File(_) => "rolled over",
        }
    }

    fn stop(&self) -> Result<(), String> {
        // As whoever supervises the process would: both halves end.
        rustix::process::kill_process(rustix::process::getpid(), Signal::TERM)
            .map_err(|error| error.to_string())
    }
}

/// `dbpurgeage` of fail2ban.conf.
pub(crate) fn purge_age(server: &BTreeMap<String, String>) -> SignedDuration {
    let seconds = server.get("dbpurgeage").and_then(|text| duration::seconds(text).ok());
    #[expect(clippy::cast_possible_truncation, reason = "an age in whole seconds")]
    seconds.map_or(guard::store::PURGE_AGE, |it| SignedDuration::from_secs(it as i64))
}

/// The jails that faults keep from starting.
pub(crate) fn refused(faults: Vec<Fault>) -> Vec<DisabledJail> {
    let refused = faults.into_iter().filter_map(|fault| {
        let why = jails::placed(fault.place.as_ref(), &fault.problem);
        Some(DisabledJail { jail: fault.jail?, why })
    });
    refused.collect()
}
