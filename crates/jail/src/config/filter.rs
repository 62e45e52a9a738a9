//! Reads a filter: `filter.d/NAME.conf` and its kin, with the options that a jail gives it.

use std::collections::BTreeMap;
use std::rc::Rc;

use scan::FilterSpec;

use super::definition::{Definition, DefinitionError};
use super::document::{Document, Library};
use super::{Fault, Place, shell};

/// The options of a filter that have a meaning; a jail may set each of them itself.
pub(super) const FILTER_OPTIONS: [&str; 7] =
    ["usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"];

/// What a filter says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// What counts as a failure.
    pub spec: FilterSpec,
    /// `journalmatch`: groups joined by OR, of terms.
    pub journal_match: Vec<Vec<String>>,
}

impl Filter {
    /// Builds a filter from its options.
    pub(super) fn new(options: &BTreeMap<String, String>) -> Result<Self, FilterError> {
        let text = |name: &str| options.get(name).cloned();
        let lines = |name: &str| {
            let lines = options.get(name).into_iter().flat_map(|text| text.lines());
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let maxlines = match options.get("maxlines") {
            None => None,
            Some(text) => {
                let number = text.trim().parse::<usize>().ok().filter(|number| *number > 0);
                Some(number.ok_or_else(|| FilterError::MaxLines(text.clone()))?)
            }
        };
        let journal_match = journal_match(options.get("journalmatch").map_or("", String::as_str))?;
        let spec = FilterSpec {
            prefregex: text("prefregex"),
            failregex: lines("failregex"),
            ignoreregex: lines("ignoreregex"),
            maxlines,
            datepattern: text("datepattern"),
            usedns: text("usedns"),
            logtimezone: text("logtimezone"),
            logencoding: text("logencoding"),
            year: None, // for whoever knows the time
        };
        Ok(Self { spec, journal_match })
    }
}

/// Why a filter has no meaning.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("`maxlines = {0}` is no number of lines; write one from 1")]
    MaxLines(String),
    #[error("`journalmatch = {0}`: a quote is not closed")]
    JournalMatch(String),
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

impl FilterError {
    /// The option that is wrong, where a jail says it itself.
    pub(super) const fn option(&self) -> &'static str {
        match self {
            Self::MaxLines(_) => "maxlines",
            Self::JournalMatch(_) => "journalmatch",
            Self::Definition(_) => "filter",
        }
    }

    /// Where the mistake was made, as far as the filter's own files tell.
    pub(super) fn place(&self, definition: &Definition) -> Option<Place> {
        match self {
            Self::MaxLines(_) => definition.place("maxlines"),
            Self::JournalMatch(_) => definition.place("journalmatch"),
            Self::Definition(error) => error.place(),
        }
    }
}

/// Opens the filter `name`; `None` where there is no such file.
///
/// Unless the filter or the jail says so itself, `logtype` tells the filter where its lines come
/// from: a journal's lines begin otherwise than a file's.
pub(super) fn open(
    library: &Library<'_>,
    name: &str,
    given: BTreeMap<String, String>,
    backend: &str,
) -> Result<Option<Definition>, DefinitionError> {
    let Some(document) = library.document(&format!("filter.d/{name}")) else { return Ok(None) };
    of(document, given, backend).map(Some)
}

/// The filter that `document` says.
pub(super) fn of(
    document: Rc<Document>,
    given: BTreeMap<String, String>,
    backend: &str,
) -> Result<Definition, DefinitionError> {
    let mut definition = Definition::new(document, given)?;
    apply_log_type(&mut definition, backend);
    Ok(definition)
}

/// Tells a filter where its lines come from.
fn apply_log_type(definition: &mut Definition, backend: &str) {
    let is_given = definition.given.get("logtype").is_some_and(|it| !it.is_empty());
    if !is_given && !definition.has("logtype") {
        let log_type = if backend.starts_with("systemd") { "journal" } else { "file" };
        definition.given.insert("logtype".to_owned(), log_type.to_owned());
    }
}

/// Reads a filter that no jail changes.
pub(super) fn alone(mut definition: Definition) -> Result<Filter, Fault> {
    let combined =
        definition.read(&FILTER_OPTIONS, &BTreeMap::new()).and_then(|()| definition.combined(&[]));
    let filter = combined.map_err(FilterError::from).and_then(|options| Filter::new(&options));
    filter.map_err(|error| Fault {
        place: error.place(&definition),
        jail: None,
        problem: error.to_string(),
    })
}

/// Reads `journalmatch`: each line, and each part between lone `+`, is a group of terms.
fn journal_match(text: &str) -> Result<Vec<Vec<String>>, FilterError> {
    let mut groups = Vec::new();
    for line in text.lines() {
        let words = shell::split(line).ok_or_else(|| FilterError::JournalMatch(line.to_owned()))?;
        groups
            .extend(words.split(|word| word == "+").filter(|it| !it.is_empty()).map(<[_]>::to_vec));
    }
    Ok(groups)
}
