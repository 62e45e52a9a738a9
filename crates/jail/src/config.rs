//! What a folder of fail2ban configuration says, read once into types that cannot be wrong.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::event::BanTime;

/// Where configuration is read from: a folder on disk, or the one embedded in the binary.
pub trait Files {
    /// The bytes of `path`; `None` where there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// The names of the files in `dir`, in any order; empty where there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
}

/// A line of a file of configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file, as it was asked for.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Where, as near as is known.
    pub place: Option<Place>,
    /// The jail that cannot start for it; `None` where it only deserves a word.
    pub jail: Option<String>,
    /// What is wrong, with the value as written, and the remedy.
    pub problem: String,
}

/// All that the folder says.
#[derive(Debug, Default)]
pub struct Configuration {
    /// The enabled jails that can start, in the order of the files.
    pub jails: Vec<Jail>,
    /// Everything that is wrong, jails that cannot start among it.
    pub faults: Vec<Fault>,
    /// `[Definition]` of fail2ban.conf, interpolated: loglevel, logtarget, dbpurgeage and so on.
    pub server: BTreeMap<String, String>,
}

/// One jail, ready to start.
#[derive(Clone, Debug)]
pub struct Jail {
    /// Its name.
    pub name: String,
    /// What counts as a failure.
    pub filter: scan::FilterSpec,
    /// Which lines are read, and how.
    pub backend: Backend,
    /// The patterns of `logpath`, not globbed yet.
    pub log_paths: Vec<LogPath>,
    /// `logencoding`, as written.
    pub log_encoding: String,
    /// `journalmatch`: groups joined by OR, of terms.
    pub journal_match: Vec<Vec<String>>,
    /// Failures until a ban.
    pub max_retry: u32,
    /// The window that they are counted in.
    pub find_time: SignedDuration,
    /// How long a ban stands.
    pub ban_time: BanTime,
    /// Matched lines that are kept for a ban.
    pub max_matches: u32,
    /// `ignoreip`, split into its words.
    pub ignore_ip: Vec<String>,
    /// Whether the host's own addresses are never banned.
    pub ignore_self: bool,
    /// `port`, as written: `ssh`, `80,443`, `0:65535`.
    pub port: String,
    /// `protocol`, as written.
    pub protocol: String,
    /// What is done to whom is banned.
    pub actions: Vec<Action>,
    /// Every option of the jail's section, interpolated, for what the fields above do not hold.
    pub options: BTreeMap<String, String>,
}

/// How a jail's lines are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// Files, by the kernel's word of changes (`auto`, `pyinotify`).
    Files,
    /// Files, by looking again and again (`polling`).
    Polling,
    /// The journal (`systemd`).
    Journal,
}

/// One pattern of `logpath`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogPath {
    /// The pattern, which may hold `*`, `?` and `[…]`.
    pub pattern: String,
    /// Where reading begins at the first start: `head` (as `findtime` allows) or `tail`.
    pub from_end: bool,
}

/// One action of a jail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// The file in `action.d`, without its extension: `nftables-multiport`, `misp`.
    pub name: String,
    /// fail2ban's name for it in this jail: `nftables-multiport-sshd` where `name` was given.
    pub act_name: String,
    /// Every option of the action, with tags expanded as far as reading can.
    pub options: BTreeMap<String, String>,
}
