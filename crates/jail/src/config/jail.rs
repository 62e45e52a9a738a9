//! Reads one jail: its section of `jail.conf` and kin, the filter and the actions that it names.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::SignedDuration;

use super::action;
use super::definition::Definition;
use super::document::{Document, INCLUDES, Library};
use super::filter::{self, FILTER_OPTIONS, Filter, FilterError};
use super::ini::{DEFAULT, Value};
use super::interpolate::{Scope, Vars, reference};
use super::is_true;
use super::options::{self, Item};
use super::{
    Action, Backend, Fault, IgnoreCache, Jail, LogPath, Place, WithoutLogs, duration, misspelt,
    nearest,
};
use crate::event::BanTime;
use crate::increment::Increment;

/// The options of a jail that fail2ban itself understands, beside those of its filter.
const JAIL_OPTIONS: [&str; 24] = [
    "enabled",
    "backend",
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
    "ignorecommand",
    "ignoreself",
    "ignoreip",
    "ignorecache",
    "filter",
    "logtimezone",
    "logencoding",
    "logpath",
    "action",
    "skip_if_nologs",
    "systemd_if_nologs",
];

/// Options that stock actions are given from the jail.
const ACTION_VARIABLES: [&str; 5] =
    ["port", "protocol", "chain", "banaction", "banaction_allports"];

/// Options that are yes or no.
const SWITCHES: [&str; 6] = [
    "enabled",
    "bantime.increment",
    "bantime.overalljails",
    "ignoreself",
    "skip_if_nologs",
    "systemd_if_nologs",
];

/// Options whose value never holds a `#`, so that one is a comment in the wrong place.
const PLAIN_OPTIONS: [&str; 24] = [
    "enabled",
    "backend",
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    "bantime.increment",
    "bantime.factor",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
    "ignoreself",
    "ignoreip",
    "logtimezone",
    "logencoding",
    "logpath",
    "skip_if_nologs",
    "systemd_if_nologs",
    "usedns",
    "maxlines",
    "port",
    "protocol",
    "chain",
];

/// What fail2ban's server does where no file says otherwise.
const DEFAULT_MAX_RETRY: u32 = 3;
const DEFAULT_MAX_MATCHES: u32 = 5;
const DEFAULT_SECONDS: f64 = 600.0;

/// How much of a long value a message shows, in characters.
const MAX_EXCERPT: usize = 40;

/// All sections of `jail.conf` and its kin.
pub(super) struct Jails<'a> {
    library: &'a Library<'a>,
    document: Rc<Document>,
    used: OnceCell<BTreeSet<String>>,
}

/// What became of a jail's section.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The jail, unless it is off or cannot start.
    pub(super) jail: Option<Jail>,
    /// What is wrong with it.
    pub(super) faults: Vec<Fault>,
}

impl<'a> Jails<'a> {
    /// Opens the files; `None` where there are none.
    pub(super) fn open(library: &'a Library<'a>) -> Option<Self> {
        let document = library.document("jail")?;
        Some(Self { library, document, used: OnceCell::new() })
    }

    /// The names of the jails, in the order of the files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.document.order.iter().map(|name| &**name).filter(|name| *name != INCLUDES)
    }

    /// Whether there is a section of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.document.section(name).is_some()
    }

    /// What is wrong with the files themselves, told of the jails that suffer.
    pub(super) fn file_faults(&self) -> impl Iterator<Item = Fault> {
        self.document.faults.iter().cloned().map(|fault| {
            let jail = (&*fault.section != DEFAULT && &*fault.section != INCLUDES)
                .then(|| Rc::clone(&fault.section));
            fault.of(jail.as_deref())
        })
    }

    /// Reads a jail if it is enabled, or in any case where `is_forced`.
    pub(super) fn read(&self, name: &str, is_forced: bool) -> Outcome {
        let mut reader = Reader {
            library: self.library,
            document: &self.document,
            name,
            vars: self.constants(),
            faults: Vec::new(),
        };
        let jail = match reader.is_enabled(is_forced) {
            true => reader.read(),
            false => None,
        };
        if jail.is_some() {
            self.unknown_options(&mut reader);
        }
        // In the order in which they are read; what has no place comes first.
        reader.faults.sort_by_key(|fault| fault.place.clone().map(|it| (it.file, it.line)));
        Outcome { jail, faults: reader.faults }
    }

    fn constants(&self) -> Vars {
        let path = self.library.root().to_string_lossy().into_owned();
        Vars::from([
            ("fail2ban_version".to_owned(), self.library.version().to_string()),
            ("fail2ban_confpath".to_owned(), path),
        ])
    }

    /// Names the options of the jail's own section that neither fail2ban nor any value uses.
    fn unknown_options(&self, reader: &mut Reader<'_>) {
        let used = self.used.get_or_init(|| used_names(&self.document));
        let meant = || JAIL_OPTIONS.iter().chain(&FILTER_OPTIONS).chain(&ACTION_VARIABLES);
        let options = self.document.section(reader.name).into_iter().flatten();
        for (option, value) in options {
            if meant().any(|it| *it == &**option) || used.contains(&**option) {
                continue;
            }
            let hint =
                match nearest(option, meant().copied().chain(used.iter().map(String::as_str))) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "remove it, or use it as `%(…)s`".to_owned(),
                };
            reader.faults.push(Fault {
                place: Some(value.place()),
                jail: None,
                problem: format!(
                    "option `{option}` of jail `{}` has no effect; {hint}",
                    reader.name
                ),
            });
        }
    }
}

/// The names that any value uses, in lower case.
fn used_names(document: &Document) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for text in document.texts() {
        for (at, _) in text.match_indices("%(") {
            if let Some((name, _)) = reference(&text[at..]) {
                let option = name.rsplit_once('/').map_or(name, |(_, option)| option);
                used.insert(option.to_lowercase());
            }
        }
    }
    used
}

struct Reader<'a> {
    library: &'a Library<'a>,
    document: &'a Document,
    name: &'a str,
    /// Names that the files do not give: constants, and later the filter's options as `known/…`.
    vars: Vars,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope { document: self.document, section: self.name, vars: &self.vars }
    }

    fn value(&self, option: &str) -> Option<&Value> {
        self.document.value(self.name, option)
    }

    /// Notes what keeps the jail from starting.
    fn refuse(&mut self, option: &str, problem: String) {
        self.refuse_at(None, option, problem);
    }

    /// The same, where the mistake may have been made in another file.
    fn refuse_at(&mut self, place: Option<Place>, option: &str, problem: String) {
        let place = place.or_else(|| self.value(option).map(Value::place));
        self.faults.push(Fault { place, jail: Some(self.name.to_owned()), problem });
    }

    /// An option, expanded; a mistake in it keeps the jail from starting.
    fn get(&mut self, option: &str) -> Option<String> {
        match self.scope().get(option) {
            // A comment was refused already; the value before it is judged like any other.
            Ok(Some(text)) if PLAIN_OPTIONS.contains(&option) => {
                Some(text[..comment(&text).unwrap_or(text.len())].trim_end().to_owned())
            }
            Ok(text) => text,
            Err(error) => {
                self.refuse(option, format!("option `{option}`: {error}"));
                None
            }
        }
    }

    fn is_enabled(&mut self, is_forced: bool) -> bool {
        let Some(text) = self.get("enabled") else { return is_forced };
        let is_enabled = is_true(&text);
        if !is_enabled && !is_false(&text) {
            self.refuse("enabled", not_yes_or_no("enabled", &text));
        }
        is_enabled || is_forced
    }

    fn read(&mut self) -> Option<Jail> {
        self.refuse_comments();
        let backend = self.get("backend").unwrap_or_else(|| "auto".to_owned());
        let mut definition = self.open_filter(&backend)?;
        let options = self.options();
        let filter = match &mut definition {
            Some(definition) => self.filter(definition, &options),
            None => self.own_filter(&options),
        };
        let places = self.places(definition.as_ref());
        let filter = filter.unwrap_or_default();
        let actions = self.actions(&options);
        let jail = Jail {
            name: self.name.to_owned(),
            filter: filter.spec,
            backend: self.backend(&backend),
            log_paths: self.log_paths(&options),
            without_logs: without_logs(&backend, &filter.journal_match, &options),
            log_encoding: options.get("logencoding").map_or("auto", String::as_str).to_owned(),
            journal_match: filter.journal_match,
            max_retry: self.count("maxretry", &options, DEFAULT_MAX_RETRY),
            find_time: self.find_time(&options),
            ban_time: self.ban_time(&options),
            increment: self.increment(&options),
            max_matches: self.count("maxmatches", &options, DEFAULT_MAX_MATCHES),
            ignore_ip: options.get("ignoreip").map_or_else(Vec::new, |text| words(text)),
            ignore_self: options.get("ignoreself").is_none_or(|text| is_true(text)),
            ignore_command: options.get("ignorecommand").filter(|text| !text.is_empty()).cloned(),
            ignore_cache: self.ignore_cache(&options),
            port: self.get("port").unwrap_or_default(),
            protocol: self.get("protocol").unwrap_or_default(),
            actions,
            places,
            options: self.with_variables(options),
        };
        let is_refused = self.faults.iter().any(|fault| fault.jail.is_some());
        (!is_refused).then_some(jail)
    }

    /// Refuses values that go on as a comment: fail2ban takes all of it for the value.
    fn refuse_comments(&mut self) {
        for option in PLAIN_OPTIONS {
            let Some(value) = self.value(option) else { continue };
            let text = Rc::clone(&value.text);
            if comment(&text).is_some() {
                let problem = format!(
                    "`{option} = {}`: the comment counts as part of the value; put it on a line of \
                     its own",
                    excerpt(&text)
                );
                self.refuse(option, problem);
            }
        }
    }

    /// Opens the filter and lets the jail build on its options as `known/…`.
    fn open_filter(&mut self, backend: &str) -> Option<Option<Definition>> {
        let text = self.get("filter").unwrap_or_default();
        if text.is_empty() {
            return Some(None);
        }
        let item = match Item::parse(&text) {
            Ok(item) => item,
            Err(error) => {
                self.refuse("filter", error.to_string());
                return None;
            }
        };
        let name = &item.name;
        let mut definition = match filter::open(self.library, name, item.options, backend) {
            Ok(Some(definition)) => definition,
            Ok(None) => {
                let root = self.library.root().display();
                let problem = format!("there is no filter `{name}`: {root}/filter.d/{name}.conf");
                self.refuse("filter", problem);
                return None;
            }
            Err(error) => {
                self.refuse_at(error.place(), "filter", format!("filter `{name}`: {error}"));
                return None;
            }
        };
        let first = BTreeMap::from([
            ("enabled".to_owned(), "True".to_owned()),
            ("backend".to_owned(), backend.to_owned()),
            ("filter".to_owned(), text),
        ]);
        let known = definition
            .read(&FILTER_OPTIONS, &first)
            .and_then(|()| definition.read_rest())
            .and_then(|()| definition.combined(&[]));
        match known {
            Ok(known) => {
                let known = known.into_iter().filter(|(option, _)| !option.starts_with("known/"));
                self.vars.extend(known.map(|(option, text)| (format!("known/{option}"), text)));
                Some(Some(definition))
            }
            Err(error) => {
                self.refuse_at(error.place(), "filter", format!("filter `{name}`: {error}"));
                None
            }
        }
    }

    /// The options that fail2ban understands, as far as they are given.
    fn options(&mut self) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for option in JAIL_OPTIONS.iter().chain(&FILTER_OPTIONS) {
            let Some(text) = self.get(option) else { continue };
            if SWITCHES.contains(option) && !is_true(&text) && !is_false(&text) {
                self.refuse(option, not_yes_or_no(option, &text));
            }
            options.insert((*option).to_owned(), text);
        }
        options
    }

    fn filter(
        &mut self,
        definition: &mut Definition,
        options: &BTreeMap<String, String>,
    ) -> Option<Filter> {
        let outside = as_python(options);
        let combined =
            definition.read(&FILTER_OPTIONS, &outside).and_then(|()| definition.combined(&[]));
        let filter = combined.map_err(FilterError::from).and_then(|mut combined| {
            let tags = self.misspelt_tags(&combined, definition);
            self.faults.extend(tags);
            for option in FILTER_OPTIONS.iter().chain(&["logtimezone", "logencoding"]) {
                if let Some(text) = options.get(*option) {
                    combined.insert((*option).to_owned(), text.clone());
                }
            }
            Filter::new(&combined)
        });
        match filter {
            Ok(filter) => Some(filter),
            Err(error) => {
                self.refuse_at(error.place(definition), "filter", format!("filter: {error}"));
                None
            }
        }
    }

    /// A jail that names no filter says itself what it looks for.
    fn own_filter(&mut self, options: &BTreeMap<String, String>) -> Option<Filter> {
        match Filter::new(options) {
            Ok(filter) => Some(filter),
            Err(error) => {
                self.refuse(error.option(), error.to_string());
                None
            }
        }
    }

    /// Names the tags of expressions that were meant to be others.
    fn misspelt_tags(
        &self,
        combined: &BTreeMap<String, String>,
        definition: &Definition,
    ) -> Vec<Fault> {
        let expressions = ["prefregex", "failregex", "ignoreregex"];
        let found = expressions.iter().filter_map(|option| {
            let (tag, near) = misspelt::find(combined.get(*option)?, &definition.names())?;
            let problem = format!(
                "`{option}` of jail `{}` holds `<{tag}>`, which nothing defines; did you mean `<{near}>`?",
                self.name
            );
            Some(Fault { place: definition.place(option), jail: None, problem })
        });
        found.collect()
    }

    fn actions(&mut self, options: &BTreeMap<String, String>) -> Vec<Action> {
        let outside = as_python(options);
        let text = options.get("action").map_or("", String::as_str);
        let mut actions = Vec::new();
        for item in options::split(text) {
            let item = match Item::parse(item) {
                Ok(item) => item,
                Err(error) => {
                    self.refuse("action", error.to_string());
                    continue;
                }
            };
            let name = item.name.clone();
            match action::read(self.library, item, self.name, &outside) {
                Ok(Some(action)) => {
                    if action.is_python() {
                        let problem = format!(
                            "action `{name}` is written in Python and is not run; name one of \
                             action.d/*.conf"
                        );
                        let place = self.value("action").map(Value::place);
                        self.faults.push(Fault { place, jail: None, problem });
                    }
                    actions.push(action);
                }
                Ok(None) => {
                    let root = self.library.root().display();
                    let problem =
                        format!("there is no action `{name}`: {root}/action.d/{name}.conf");
                    self.refuse("action", problem);
                }
                Err(error) => {
                    self.refuse_at(error.place(), "action", format!("action `{name}`: {error}"));
                }
            }
        }
        actions
    }

    fn backend(&mut self, text: &str) -> Backend {
        match text.split('[').next().unwrap_or(text).trim() {
            "systemd" => Backend::Journal,
            "polling" => Backend::Polling,
            "auto" | "pyinotify" | "gamin" => Backend::Files,
            _ => {
                let problem = format!(
                    "`backend = {text}` is none; write auto, pyinotify, polling or systemd"
                );
                self.refuse("backend", problem);
                Backend::Files
            }
        }
    }

    fn log_paths(&mut self, options: &BTreeMap<String, String>) -> Vec<LogPath> {
        let text = options.get("logpath").map_or("", String::as_str);
        let mut paths = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (pattern, from_end) = match line.rsplit_once(' ') {
                None => (line, false),
                Some((pattern, "head")) => (pattern, false),
                Some((pattern, "tail")) => (pattern, true),
                Some((_, other)) => {
                    let problem = format!(
                        "`{line}`: behind a path stands `head` or `tail`, not `{other}`; put each \
                         path on a line of its own"
                    );
                    self.refuse("logpath", problem);
                    continue;
                }
            };
            paths.push(LogPath { pattern: pattern.to_owned(), from_end });
        }
        paths
    }

    fn ignore_cache(&mut self, options: &BTreeMap<String, String>) -> Option<IgnoreCache> {
        let text = options.get("ignorecache").filter(|text| !text.is_empty())?;
        let cache = IgnoreCache::parse(text);
        cache
            .map_err(|why| self.refuse("ignorecache", format!("`ignorecache = {text}`: {why}")))
            .ok()
    }

    fn count(&mut self, option: &str, options: &BTreeMap<String, String>, default: u32) -> u32 {
        let Some(text) = options.get(option) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            self.refuse(option, format!("`{option} = {text}` is no whole number from 0"));
            default
        })
    }

    /// A time in seconds; `None` where there is none, or none that is sound.
    fn seconds(&mut self, option: &str, options: &BTreeMap<String, String>) -> Option<f64> {
        let text = options.get(option).filter(|text| !text.is_empty())?;
        match duration::seconds(text) {
            Ok(seconds) => Some(seconds),
            Err(error) => {
                let problem = format!(
                    "`{option} = {text}` is no time: {error}; write seconds, or `1d 12h 30m`"
                );
                self.refuse(option, problem);
                None
            }
        }
    }

    fn increment(&mut self, options: &BTreeMap<String, String>) -> Option<Increment> {
        let increment = Increment::of(options);
        increment.map_err(|error| self.refuse(error.option(), error.to_string())).ok().flatten()
    }

    fn find_time(&mut self, options: &BTreeMap<String, String>) -> SignedDuration {
        let seconds = self.seconds("findtime", options).unwrap_or(DEFAULT_SECONDS);
        SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX)
    }

    fn ban_time(&mut self, options: &BTreeMap<String, String>) -> BanTime {
        let seconds = self.seconds("bantime", options).unwrap_or(DEFAULT_SECONDS);
        // Whole seconds, as fail2ban cuts them; what no number of seconds can hold is the largest.
        #[expect(clippy::cast_possible_truncation)]
        BanTime::from(seconds as i64)
    }

    /// Where each option was written: in the jail's own files or, for those of the filter, there.
    fn places(&self, filter: Option<&Definition>) -> BTreeMap<String, Place> {
        let defaults = JAIL_OPTIONS.iter().chain(&FILTER_OPTIONS).chain(&ACTION_VARIABLES);
        let own = self.document.section(self.name).into_iter().flat_map(BTreeMap::keys);
        let names = defaults.copied().chain(own.map(|name| &**name));
        let of_filter = |name| filter.filter(|_| FILTER_OPTIONS.contains(&name))?.place(name);
        let place = |name| self.value(name).map(Value::place).or_else(|| of_filter(name));
        names.filter_map(|name| Some((name.to_owned(), place(name)?))).collect()
    }

    /// Adds what else the section says, and what stock actions use.
    fn with_variables(&self, mut options: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let own = self.document.section(self.name).into_iter().flat_map(BTreeMap::keys);
        for name in own.map(|name| &**name).chain(ACTION_VARIABLES) {
            if !options.contains_key(name)
                // A value that nobody uses need not be sound.
                && let Ok(Some(text)) = self.scope().get(name)
            {
                options.insert(name.to_owned(), text);
            }
        }
        options
    }
}

fn without_logs(
    backend: &str,
    journal_match: &[Vec<String>],
    options: &BTreeMap<String, String>,
) -> WithoutLogs {
    let is = |option: &str, default| options.get(option).map_or(default, |text| is_true(text));
    let may_read_journal = backend.starts_with("auto") && is("systemd_if_nologs", true);
    if may_read_journal && !journal_match.is_empty() {
        WithoutLogs::Journal
    } else if is("skip_if_nologs", false) {
        WithoutLogs::Skip
    } else {
        WithoutLogs::Wait
    }
}

/// Where a comment begins that stands behind a value.
fn comment(text: &str) -> Option<usize> {
    let is_comment = |at: &usize| text[..*at].ends_with(char::is_whitespace);
    text.match_indices('#').map(|(at, _)| at).find(is_comment)
}

/// The beginning of a value, for a message.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The options as filters and actions see them: Python writes its own yes and no.
fn as_python(options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let python = |name: &str, text: &str| match (SWITCHES.contains(&name), is_true(text)) {
        (true, true) => "True".to_owned(),
        (true, false) => "False".to_owned(),
        (false, _) => text.to_owned(),
    };
    options.iter().map(|(name, text)| (name.clone(), python(name, text))).collect()
}

/// Splits at commas and white space.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|it: char| it == ',' || it.is_whitespace());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn is_false(text: &str) -> bool {
    text.is_empty() || ["0", "off", "false", "no"].iter().any(|no| text.eq_ignore_ascii_case(no))
}

fn not_yes_or_no(option: &str, text: &str) -> String {
    format!("`{option} = {text}` is neither yes nor no; write `true` or `false`")
}
