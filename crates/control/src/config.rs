//! What is configured, as an operator may ask for it and change it while guard runs: the options that
//! fail2ban-client knows, under its names.

use serde::{Deserialize, Serialize};

/// A question about what is configured, or a change of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConfigRequest {
    /// Reads the configuration again and changes what changed.
    Reload(Reload),
    /// Ends a jail until the configuration is read again.
    StopJail {
        /// The jail; all of them where it is missing.
        jail: Option<String>,
    },
    /// One option of a jail as it is in force.
    Get {
        /// The jail.
        jail: String,
        /// Which option.
        option: JailOption,
    },
    /// Changes one option of a jail until the configuration is read again.
    Set {
        /// The jail.
        jail: String,
        /// What changes.
        change: JailChange,
    },
    /// One option of the daemon as it is in force.
    GetServer {
        /// Which option.
        option: ServerOption,
    },
    /// Changes one option of the daemon until it ends.
    SetServer {
        /// Which option.
        option: ServerOption,
        /// Its value, as in `fail2ban.conf`.
        value: String,
    },
    /// Opens the log's file anew, after a rotation.
    FlushLogs,
    /// Ends the daemon.
    Stop,
}

/// How the configuration is read again.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// This jail alone; all of them where it is missing.
    pub jail: Option<String>,
    /// Lift the bans first.
    pub unban: bool,
    /// Stop and start jails that stay, too: their failures are forgotten, their bans restored.
    pub restart: bool,
    /// A jail that does not run yet is started and no fault.
    pub if_exists: bool,
}

/// An option of a jail that may be asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JailOption {
    /// Whether its logs are left alone.
    Idle,
    /// The files that are followed.
    LogPath,
    /// `logencoding`.
    LogEncoding,
    /// `journalmatch`: groups of terms.
    JournalMatch,
    /// Whether the host's own addresses are never banned.
    IgnoreSelf,
    /// Who is never banned.
    IgnoreIp,
    /// The command that says whom to ignore.
    IgnoreCommand,
    /// How its answers are kept.
    IgnoreCache,
    /// `prefregex`.
    PrefRegex,
    /// `failregex`, one by one.
    FailRegex,
    /// `ignoreregex`, one by one.
    IgnoreRegex,
    /// `datepattern`.
    DatePattern,
    /// `usedns`.
    UseDns,
    /// `logtimezone`.
    LogTimeZone,
    /// `maxlines`.
    MaxLines,
    /// The window of failures, in seconds.
    FindTime,
    /// Failures until a ban.
    MaxRetry,
    /// Lines that are kept of them.
    MaxMatches,
    /// How long a ban stands, in seconds.
    BanTime,
    /// An option of growing bans: `increment`, `factor`, `formula`, `multipliers`, `maxtime`,
    /// `rndtime`, `overalljails`.
    BanTimeExtra(String),
    /// The names of its actions.
    Actions,
    /// The names of what an action was given.
    ActionProperties(String),
    /// One of those.
    Action {
        /// fail2ban's name for the action in this jail.
        name: String,
        /// The option of it.
        property: String,
    },
}

/// A change of an option of a jail.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JailChange {
    /// Leaves its logs alone, or goes on where they were left.
    Idle(bool),
    /// Follows another file, or pattern of files.
    AddLogPath {
        /// The path.
        path: String,
        /// Whether only what is written from now on counts.
        from_end: bool,
    },
    /// Follows a file no more.
    DelLogPath(String),
    /// `logencoding`.
    LogEncoding(String),
    /// Reads a further group of terms from the journal.
    AddJournalMatch(Vec<String>),
    /// Reads a group no more; none where there are no terms.
    DelJournalMatch(Vec<String>),
    /// Whether the host's own addresses are never banned.
    IgnoreSelf(bool),
    /// Never bans these.
    AddIgnoreIp(Vec<String>),
    /// May ban this one again.
    DelIgnoreIp(String),
    /// The command that says whom to ignore.
    IgnoreCommand(String),
    /// How its answers are kept.
    IgnoreCache(String),
    /// `prefregex`.
    PrefRegex(String),
    /// Adds an expression.
    AddFailRegex(String),
    /// Takes one away, by its number.
    DelFailRegex(usize),
    /// Adds an expression.
    AddIgnoreRegex(String),
    /// Takes one away, by its number.
    DelIgnoreRegex(usize),
    /// `datepattern`.
    DatePattern(String),
    /// `usedns`.
    UseDns(String),
    /// `logtimezone`.
    LogTimeZone(String),
    /// `maxlines`.
    MaxLines(usize),
    /// The window of failures, as fail2ban writes times: `600`, `10m`.
    FindTime(String),
    /// Failures until a ban.
    MaxRetry(u32),
    /// Lines that are kept of them.
    MaxMatches(u32),
    /// How long a ban stands, as fail2ban writes times; negative for ever.
    BanTime(String),
    /// An option of growing bans, by its name behind `bantime.`.
    BanTimeExtra {
        /// `increment`, `factor` and so on.
        option: String,
        /// Its value, as in the configuration; none where it is empty.
        value: String,
    },
    /// Adds an action that does nothing yet.
    AddAction(String),
    /// Takes an action away.
    DelAction(String),
    /// A property of an action.
    Action {
        /// fail2ban's name for the action in this jail.
        name: String,
        /// The option of it.
        property: String,
        /// Its value.
        value: String,
    },
}

impl JailChange {
    /// The option that is answered with once it is made.
    pub fn option(&self) -> JailOption {
        match self {
            Self::Idle(_) => JailOption::Idle,
            Self::AddLogPath { .. } | Self::DelLogPath(_) => JailOption::LogPath,
            Self::LogEncoding(_) => JailOption::LogEncoding,
            Self::AddJournalMatch(_) | Self::DelJournalMatch(_) => JailOption::JournalMatch,
            Self::IgnoreSelf(_) => JailOption::IgnoreSelf,
            Self::AddIgnoreIp(_) | Self::DelIgnoreIp(_) => JailOption::IgnoreIp,
            Self::IgnoreCommand(_) => JailOption::IgnoreCommand,
            Self::IgnoreCache(_) => JailOption::IgnoreCache,
            Self::PrefRegex(_) => JailOption::PrefRegex,
            Self::AddFailRegex(_) | Self::DelFailRegex(_) => JailOption::FailRegex,
            Self::AddIgnoreRegex(_) | Self::DelIgnoreRegex(_) => JailOption::IgnoreRegex,
            Self::DatePattern(_) => JailOption::DatePattern,
            Self::UseDns(_) => JailOption::UseDns,
            Self::LogTimeZone(_) => JailOption::LogTimeZone,
            Self::MaxLines(_) => JailOption::MaxLines,
            Self::FindTime(_) => JailOption::FindTime,
            Self::MaxRetry(_) => JailOption::MaxRetry,
            Self::MaxMatches(_) => JailOption::MaxMatches,
            Self::BanTime(_) => JailOption::BanTime,
            Self::BanTimeExtra { option, .. } => JailOption::BanTimeExtra(option.clone()),
            Self::AddAction(_) | Self::DelAction(_) => JailOption::Actions,
            Self::Action { name, property, .. } => {
                JailOption::Action { name: name.clone(), property: property.clone() }
            }
        }
    }
}

/// An option of the daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerOption {
    /// What is logged.
    LogLevel,
    /// Where to.
    LogTarget,
    /// Where syslog listens.
    SyslogSocket,
    /// The database.
    DbFile,
    /// Lines of a ban that are kept there.
    DbMaxMatches,
    /// How long it remembers.
    DbPurgeAge,
}
