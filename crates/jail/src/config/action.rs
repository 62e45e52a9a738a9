//! Reads an action: `action.d/NAME.conf` and its kin, with the options that a jail gives it.

use std::collections::BTreeMap;

use super::definition::{Definition, DefinitionError};
use super::document::Library;
use super::options::Item;
use super::tags::{self, TagError};

/// The options of an action that fail2ban itself understands.
const ACTION_OPTIONS: [&str; 13] = [
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "norestored",
];

/// How the name of an action ends that is written in Python.
const PYTHON: &str = ".py";

/// Tags that only the moment of a ban knows.
const KEPT_TAGS: [&str; 5] = ["matches", "ipmatches", "ipjailmatches", "timeout", "bantime"];

/// One action of a jail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// The file in `action.d`, without its extension: `nftables-multiport`, `misp`; with it where
    /// it is a Python action (`smtp.py`).
    pub name: String,
    /// fail2ban's name for it in this jail: `nftables-multiport-foo` where `name=foo` was given.
    pub act_name: String,
    /// Every option of the action. Commands have their tags expanded as far as reading can; the
    /// other values are as they were given, for [`Action::expanded`] or the moment of the ban.
    pub options: BTreeMap<String, String>,
    /// What the options of the action's own `[Init]` are, under `known/option`: a jail may build on
    /// them, as Debian's `chain = <known/chain>` does.
    pub known: BTreeMap<String, String>,
}

impl Action {
    /// Whether it is a program for fail2ban's own process, which nobody else can run.
    pub fn is_python(&self) -> bool {
        self.name.ends_with(PYTHON)
    }

    /// Whether a yes-or-no option such as `norestored` is set to yes.
    pub fn is(&self, option: &str) -> bool {
        self.options.get(option).is_some_and(|text| is_true(text))
    }

    /// All options with their tags expanded by each other, for one family (`inet4`, `inet6`) or for
    /// none; tags of the ban itself stay.
    ///
    /// # Errors
    ///
    /// Names the option that leads back to itself.
    pub fn expanded(&self, family: Option<&str>) -> Result<BTreeMap<String, String>, TagError> {
        let mut options = self.options.clone();
        options.extend(self.known.clone());
        let condition = family.map(|family| format!("family={family}"));
        let is_kept = |tag: &str| KEPT_TAGS[..3].contains(&tag);
        tags::substitute(&mut options, &is_kept, condition.as_deref(), |_| {
            Ok::<_, TagError>(None)
        })?;
        options.retain(|option, _| !self.known.contains_key(option));
        Ok(options)
    }
}

/// fail2ban's reading of a yes or no: what is no yes is a no.
pub fn is_true(text: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// Reads one action of `jail`; `None` where there is no such file.
pub(super) fn read(
    library: &Library<'_>,
    item: Item,
    jail: &str,
    jail_options: &BTreeMap<String, String>,
) -> Result<Option<Action>, DefinitionError> {
    let Item { name, options: mut given } = item;
    if let Some(file) = name.strip_suffix(PYTHON) {
        let act_name = given.remove("actname").unwrap_or_else(|| file.to_owned());
        return Ok(Some(Action { act_name, options: given, known: BTreeMap::new(), name }));
    }
    let Some(document) = library.document(&format!("action.d/{name}")) else { return Ok(None) };
    let own_name = given.entry("name".to_owned()).or_insert_with(|| jail.to_owned()).clone();
    let act_name = given
        .entry("actname".to_owned())
        .or_insert_with(|| match own_name.strip_prefix(jail) {
            Some(suffix) => format!("{name}{suffix}"),
            None => format!("{name}-{own_name}"),
        })
        .clone();
    let mut definition = Definition::new(document, given)?;
    definition.read(&ACTION_OPTIONS, jail_options)?;
    let mut options = definition.combined(&KEPT_TAGS)?;
    options.retain(|option, _| ACTION_OPTIONS.contains(&option.as_str()));
    let (known, given): (BTreeMap<_, _>, BTreeMap<_, _>) =
        definition.given.into_iter().partition(|(option, _)| option.starts_with("known/"));
    for (option, text) in given {
        options.entry(option).or_insert(text);
    }
    Ok(Some(Action { name, act_name, options, known }))
}

/// Every option of an action, its commands excepted: those of its file, `[Definition]` among them,
/// and above them those that are `given`; `None` where there is no such file.
///
/// fail2ban itself reads what no command names only for `[Init]`.
pub(super) fn settings(
    library: &Library<'_>,
    name: &str,
    given: BTreeMap<String, String>,
) -> Result<Option<BTreeMap<String, String>>, DefinitionError> {
    let Some(document) = library.document(&format!("action.d/{name}")) else { return Ok(None) };
    let is_command = |option: &str| ACTION_OPTIONS.contains(&option);
    let given = given.into_iter().filter(|(option, _)| !is_command(option)).collect();
    let mut definition = Definition::new(document, given)?;
    definition.read(&[], &BTreeMap::new())?;
    definition.read_rest()?;
    let mut options = definition.combined(&KEPT_TAGS)?;
    options.retain(|option, _| !is_command(option) && !option.starts_with("known/"));
    Ok(Some(options))
}
