//! Finds fail2ban's configuration, or our own jails where there is none, and reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use jail::config::options::Item;
use jail::config::{self, Configuration, Fault, Files, Jail, Place, Select};
use scan::FilterSpec;

use crate::cli::Folders;
use crate::disk::{BuiltIn, Disk};
use crate::exit::escape;
use crate::firewall;
use crate::logs;
use crate::misp_action;
use crate::settings::{self, Settings};

/// Where fail2ban keeps its configuration on every system that has it.
const FAIL2BAN: &str = "/etc/fail2ban";

/// The backend of a filter that is read alone: it decides only between the forms that a line has in
/// a file and in the journal.
const ANY_BACKEND: &str = "auto";

/// Where a locale is named, the strongest first.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// Options of a filter or an action by their names.
pub(crate) type Options = BTreeMap<String, String>;

/// Where jails come from.
pub(crate) enum Source {
    /// A folder on disk.
    Folder(PathBuf),
    /// The program itself.
    BuiltIn(BuiltIn),
}

impl Source {
    /// The command line's folder, else that of our configuration, else fail2ban's own where it is
    /// there, else the built-in jails.
    pub(crate) fn find(folders: &Folders, settings: &Settings) -> Self {
        let named = folders.fail2ban_dir.as_ref().or(settings.jails.path.as_ref());
        match named {
            Some(folder) => Self::Folder(folder.clone()),
            None if Path::new(FAIL2BAN).is_dir() => Self::Folder(FAIL2BAN.into()),
            None => Self::BuiltIn(BuiltIn::default()),
        }
    }

    /// Reads all enabled jails; those that read the journal where there are no logs do so. Our own
    /// configuration says whose actions are left to their commands.
    pub(crate) fn read(&self, guard: &settings::Guard) -> Configuration {
        let mut configuration = config::read(self.files(), self.root(), Select::Enabled);
        firewall::leave_to_commands(guard, &mut configuration.jails);
        firewall::widen(guard, &mut configuration.jails);
        let jails = std::mem::take(&mut configuration.jails);
        for jail in jails.into_iter().map(here) {
            match logs::settle(jail) {
                Ok((jail, note)) => {
                    configuration.faults.extend(note);
                    configuration.jails.push(jail);
                }
                Err(fault) => configuration.faults.push(fault),
            }
        }
        configuration
    }

    /// Reads one jail, whether it is enabled or not.
    ///
    /// # Errors
    ///
    /// The first of what keeps it from starting.
    pub(crate) fn read_jail(&self, name: &str) -> Result<Jail> {
        let jail = config::read_jail(self.files(), self.root(), name).map_err(|faults| {
            let first = faults.first().map_or_else(String::new, describe);
            anyhow!("jail `{name}` cannot be read: {first}")
        })?;
        Ok(here(jail))
    }

    /// Whether there is a filter of this name.
    pub(crate) fn has_filter(&self, name: &str) -> bool {
        let path = self.root().join(format!("filter.d/{name}.conf"));
        // One that cannot be read is there; reading it will say why it cannot.
        !matches!(self.files().read(&path), Ok(None))
    }

    /// Reads the filter that `item` names, with `more` options above its own.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or an option does not expand.
    pub(crate) fn read_filter(&self, item: Item, more: Options) -> Result<FilterSpec> {
        let options = item.options.into_iter().chain(more).collect();
        let item = Item { name: item.name, options };
        config::read_filter(self.files(), self.root(), item, ANY_BACKEND)
            .map(|filter| filter.spec)
            .map_err(|fault| anyhow!("{}", describe(&fault)))
    }

    /// Reads the filter in one file, with these options.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or an option does not expand.
    pub(crate) fn read_filter_file(&self, path: &Path, given: Options) -> Result<FilterSpec> {
        config::read_filter_file(&Disk, path, given, ANY_BACKEND)
            .map(|filter| filter.spec)
            .map_err(|fault| anyhow!("{}", describe(&fault)))
    }

    /// What `action.d/misp.conf` says, and above it the action line of `jail` whose name is
    /// `act_name`; `None` where there is no such file.
    ///
    /// # Errors
    ///
    /// When the jail or the action cannot be read.
    pub(crate) fn misp_options(
        &self,
        jail: Option<&str>,
        act_name: Option<&str>,
    ) -> Result<Option<Options>> {
        let given = match jail {
            Some(jail) => self.options_of_action_line(jail, act_name)?,
            None => BTreeMap::new(),
        };
        self.settings_of_misp_action(given)
    }

    /// What `action.d/misp.conf` says, and above it what is `given`; `None` where there is no such
    /// file.
    ///
    /// # Errors
    ///
    /// When an option does not expand.
    pub(crate) fn settings_of_misp_action(&self, given: Options) -> Result<Option<Options>> {
        config::read_action_settings(self.files(), self.root(), misp_action::NAME, given)
            .map_err(|fault| anyhow!("{}", describe(&fault)))
    }

    fn options_of_action_line(&self, jail: &str, act_name: Option<&str>) -> Result<Options> {
        let mut ours = self
            .read_jail(jail)?
            .actions
            .into_iter()
            .filter(|action| action.name == misp_action::NAME);
        let found = match act_name {
            Some(name) => ours.find(|action| action.act_name == name),
            None => ours.next(),
        };
        Ok(found.map(|action| action.options).unwrap_or_default())
    }

    fn files(&self) -> &dyn Files {
        match self {
            Self::Folder(_) => &Disk,
            Self::BuiltIn(files) => files,
        }
    }

    fn root(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::BuiltIn(_) => Path::new(BuiltIn::ROOT),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(out, "`{}`", folder.display()),
            Self::BuiltIn(_) => out.write_str("the built-in jails"),
        }
    }
}

/// The jail as it runs on this host and today.
fn here(jail: Jail) -> Jail {
    Jail { filter: on_this_host(jail.filter, jiff::Zoned::now().year()), ..jail }
}

/// A filter as it is compiled on this host in this year, by which years in a log are believed.
pub(crate) fn on_this_host(spec: FilterSpec, year: i16) -> FilterSpec {
    let named = spec.logencoding.filter(|name| !name.eq_ignore_ascii_case("auto"));
    FilterSpec { year: Some(year), logencoding: named.or_else(encoding_of_locale), ..spec }
}

/// The encoding that the environment names, if logs can be read in it.
fn encoding_of_locale() -> Option<String> {
    let mut locales = LOCALE.iter().filter_map(|name| std::env::var(name).ok());
    let locale = locales.find(|locale| !locale.is_empty())?;
    let (_, encoding) = locale.split_once('.')?;
    let encoding = encoding.split('@').next().unwrap_or(encoding);
    scan::knows_encoding(encoding).then(|| encoding.to_owned())
}

/// A fault in one line: place, jail, problem.
pub(crate) fn describe(fault: &Fault) -> String {
    match &fault.jail {
        Some(jail) => {
            let problem = format!("jail `{jail}` does not start: {}", fault.problem);
            placed(fault.place.as_ref(), &problem)
        }
        None => placed(fault.place.as_ref(), &fault.problem),
    }
}

/// A problem with its place in front.
pub(crate) fn placed(place: Option<&Place>, problem: &str) -> String {
    let text = match place {
        Some(place) => format!("{}:{}: {problem}", place.file.display(), place.line),
        None => problem.to_owned(),
    };
    escape(&text)
}

/// A number of things in words.
pub(crate) fn count(n: usize, thing: &str) -> String {
    match (n, thing.ends_with('s')) {
        (1, _) => format!("1 {thing}"),
        (_, true) => format!("{n} {thing}es"),
        (_, false) => format!("{n} {thing}s"),
    }
}
