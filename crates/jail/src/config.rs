//! What a folder of fail2ban configuration says, read once into types that cannot be wrong.
//!
//! From the bottom up: `ini` reads one file, `document` merges the files of one name,
//! `interpolate` expands `%(name)s` and `tags` expands `<tag>`; `filter`, `action` and
//! `jail` give the values their meaning. The rules are those of fail2ban 1.x, `client/*.py`.

mod action;
mod definition;
mod document;
pub mod duration;
pub mod expression;
mod filter;
mod ignore_cache;
mod ini;
mod interpolate;
mod jail;
mod misspelt;
mod nearest;
pub mod options;
mod shell;
mod tags;
mod version;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::event::BanTime;
use crate::increment::Increment;

pub use action::{Action, is_true};
pub use filter::Filter;
pub use ignore_cache::{IgnoreCache, IgnoreCacheError};
pub use nearest::nearest;
pub use tags::TagError;

use definition::DefinitionError;
use document::Library;
use interpolate::{Scope, Vars};
use jail::Jails;
use options::Item;

/// What holds where `fail2ban.conf` is there and does not say otherwise; `client/fail2banreader.py`.
const SERVER_DEFAULTS: [(&str, &str); 6] = [
    ("loglevel", "INFO"),
    ("logtarget", "STDERR"),
    ("syslogsocket", "auto"),
    ("allowipv6", "auto"),
    ("dbfile", "/var/lib/fail2ban/fail2ban.sqlite3"),
    ("dbpurgeage", "1d"),
];

/// The section of `fail2ban.conf` that has a meaning here.
const SERVER_SECTION: &str = "Definition";

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
    /// How bans grow of whoever comes back; they do not where `None`.
    pub increment: Option<Increment>,
    /// Matched lines that are kept for a ban.
    pub max_matches: u32,
    /// `ignoreip`, split into its words.
    pub ignore_ip: Vec<String>,
    /// Whether the host's own addresses are never banned.
    pub ignore_self: bool,
    /// `ignorecommand`: a command for the shell whose success says that a failure does not count.
    /// Its tags are as written: they are the failure's.
    pub ignore_command: Option<String>,
    /// `ignorecache`: how long it is remembered who is ignored; asked each time where `None`.
    pub ignore_cache: Option<IgnoreCache>,
    /// What is done where no pattern of `logpath` names a file.
    pub without_logs: WithoutLogs,
    /// `port`, as written: `ssh`, `80,443`, `0:65535`.
    pub port: String,
    /// `protocol`, as written.
    pub protocol: String,
    /// What is done to whom is banned.
    pub actions: Vec<Action>,
    /// Every option of the jail's section, interpolated, for what the fields above do not hold.
    pub options: BTreeMap<String, String>,
    /// Where each option was written.
    pub places: BTreeMap<String, Place>,
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

/// What is done where a jail follows files and none of them is there when it starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WithoutLogs {
    /// They are waited for.
    Wait,
    /// The jail does not start (`skip_if_nologs`).
    Skip,
    /// The journal is read in their place, if there is one: the jail says what of it is meant, and
    /// left the choice to us (`backend = auto`, `systemd_if_nologs`).
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

/// Which jails are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Select {
    /// Those that are enabled.
    Enabled,
    /// All of them, as if each were enabled.
    All,
}

/// Reads the configuration in the folder `root`.
pub fn read(files: &dyn Files, root: &Path, select: Select) -> Configuration {
    let library = Library::new(files, root);
    let mut configuration = Configuration { server: server(&library), ..Configuration::default() };
    let Some(jails) = Jails::open(&library) else {
        configuration.faults.push(no_jails(root));
        return configuration;
    };
    configuration.faults.extend(jails.file_faults());
    let refused: Vec<String> =
        configuration.faults.iter().filter_map(|fault| fault.jail.clone()).collect();
    for name in jails.names() {
        let outcome = jails.read(name, select == Select::All);
        configuration.faults.extend(outcome.faults);
        configuration.jails.extend(outcome.jail.filter(|jail| !refused.contains(&jail.name)));
    }
    configuration
}

/// Reads one jail, whether it is enabled or not, and nothing of the others.
///
/// # Errors
///
/// All that keeps the jail from starting.
pub fn read_jail(files: &dyn Files, root: &Path, name: &str) -> Result<Jail, Vec<Fault>> {
    let library = Library::new(files, root);
    let jails = Jails::open(&library).ok_or_else(|| vec![no_jails(root)])?;
    if !jails.has(name) {
        let hint = match nearest(name, jails.names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name one of its sections".to_owned(),
        };
        let problem = format!("{} has no jail `{name}`; {hint}", root.display());
        return Err(vec![Fault { place: None, jail: Some(name.to_owned()), problem }]);
    }
    let outcome = jails.read(name, true);
    outcome.jail.ok_or(outcome.faults)
}

/// Reads the filter that `item` names, with its options: `sshd`, `sshd[mode=aggressive]`.
///
/// # Errors
///
/// Says why there is no such filter, or what is wrong with it.
pub fn read_filter(
    files: &dyn Files,
    root: &Path,
    item: Item,
    backend: &str,
) -> Result<Filter, Fault> {
    let library = Library::new(files, root);
    let opened = filter::open(&library, &item.name, item.options, backend);
    let Some(definition) = opened.map_err(|error| fault(&error))? else {
        let path = root.join("filter.d").join(format!("{}.conf", item.name));
        let problem = format!("there is no filter `{}`: {}", item.name, path.display());
        return Err(Fault { place: None, jail: None, problem });
    };
    filter::alone(definition)
}

/// Reads the filter in one file, with what it includes.
///
/// # Errors
///
/// Says why the file cannot be read, or what is wrong with it.
pub fn read_filter_file(
    files: &dyn Files,
    path: &Path,
    given: BTreeMap<String, String>,
    backend: &str,
) -> Result<Filter, Fault> {
    let library = Library::new(files, path.parent().unwrap_or(Path::new("")));
    let Some(document) = library.single(path) else {
        let place = Some(Place { file: path.to_path_buf(), line: 0 });
        return Err(Fault { place, jail: None, problem: "there is no such file".to_owned() });
    };
    filter::alone(filter::of(document, given, backend).map_err(|error| fault(&error))?)
}

fn fault(error: &DefinitionError) -> Fault {
    Fault { place: error.place(), jail: None, problem: error.to_string() }
}

/// Every option of the action `name`, its commands excepted, with `given` above those of its file;
/// `None` where there is no such file. `given` may be [`Action::options`] of a jail.
///
/// # Errors
///
/// Says which option does not expand.
pub fn read_action_settings(
    files: &dyn Files,
    root: &Path,
    name: &str,
    given: BTreeMap<String, String>,
) -> Result<Option<BTreeMap<String, String>>, Fault> {
    action::settings(&Library::new(files, root), name, given).map_err(|error| fault(&error))
}

fn server(library: &Library<'_>) -> BTreeMap<String, String> {
    let Some(document) = library.document("fail2ban") else { return BTreeMap::new() };
    let vars = Vars::new();
    let scope = Scope { document: &document, section: SERVER_SECTION, vars: &vars };
    let own = document.section(SERVER_SECTION).into_iter().flat_map(BTreeMap::keys);
    let given = own.chain(document.defaults.keys());
    // An option that does not expand is as one that is not given.
    let given = given.filter_map(|name| Some((name.to_string(), scope.get(name).ok()??)));
    let defaults = SERVER_DEFAULTS.map(|(name, text)| (name.to_owned(), text.to_owned()));
    defaults.into_iter().chain(given).collect()
}

fn no_jails(root: &Path) -> Fault {
    let place = Some(Place { file: root.join("jail.conf"), line: 0 });
    let problem = "there is no such file; name fail2ban's folder".to_owned();
    Fault { place, jail: None, problem }
}
