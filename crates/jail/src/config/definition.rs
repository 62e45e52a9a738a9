//! What filters and actions have in common: `[Definition]`, `[Init]`, and the options that a jail
//! gives them.
//!
//! The options of the jail's `name[option=value]` beat `[Init]`, which beats `[Definition]`, which
//! beats `[DEFAULT]`. An option of `[Init]` is also known as `known/option`, so that the jail may
//! add to it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Place;
use super::document::{Document, FileFault};
use super::interpolate::{InterpolationError, Scope, Vars};
use super::tags::{self, TagError};
use super::version::Version;

const DEFINITION: &str = "Definition";
const INIT: &str = "Init";

/// Why a filter or an action has no meaning.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DefinitionError {
    #[error("option `{option}`: {why}")]
    Interpolation { option: String, place: Option<Place>, why: InterpolationError },
    #[error("{why}")]
    Tag { place: Option<Place>, why: TagError },
    #[error("{}", .0.problem)]
    File(FileFault),
}

impl DefinitionError {
    /// Where the mistake was made.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Interpolation { place, .. } | Self::Tag { place, .. } => place.clone(),
            Self::File(fault) => Some(fault.place.clone()),
        }
    }
}

/// A filter or an action on its way to its final options.
pub(super) struct Definition {
    pub(super) document: Rc<Document>,
    /// What the jail gives and, once read, what `[Init]` says.
    pub(super) given: BTreeMap<String, String>,
    /// What is known from outside, `given` among it.
    vars: Vars,
    /// Definition's options that nobody outside gives.
    own: BTreeMap<String, String>,
    /// What tags stand for that are in neither; kept from the first question on, as fail2ban does.
    elsewhere: BTreeMap<String, Option<String>>,
}

impl Definition {
    /// What `document` says, and the jail `given`.
    ///
    /// # Errors
    ///
    /// When the files themselves are not sound.
    pub(super) fn new(
        document: Rc<Document>,
        given: BTreeMap<String, String>,
    ) -> Result<Self, DefinitionError> {
        if let Some(fault) = document.faults.first() {
            return Err(DefinitionError::File(fault.clone()));
        }
        Ok(Self::sound(document, given))
    }

    fn sound(document: Rc<Document>, given: BTreeMap<String, String>) -> Self {
        Self {
            document,
            given,
            vars: Vars::new(),
            own: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// Where an option was written.
    pub(super) fn place(&self, option: &str) -> Option<Place> {
        let own = |section| self.document.section(section)?.get(option);
        let value = own(INIT).or_else(|| self.document.value(DEFINITION, option))?;
        Some(value.place())
    }

    /// Whether `[Definition]` itself has an option.
    pub(super) fn has(&self, option: &str) -> bool {
        self.document.section(DEFINITION).is_some_and(|options| options.contains_key(option))
    }

    /// The names of the options in `[Definition]` itself, whether they have a meaning or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.document.section(DEFINITION).into_iter().flat_map(BTreeMap::keys).map(|name| &**name)
    }

    /// Reads the options that have a meaning, save those that the jail gives itself.
    pub(super) fn read(
        &mut self,
        meant: &[&str],
        jail: &BTreeMap<String, String>,
    ) -> Result<(), DefinitionError> {
        let outside = || jail.iter().chain(&self.given);
        self.vars = outside().map(|(name, text)| (name.to_lowercase(), text.clone())).collect();
        self.own.clear();
        for option in meant {
            if jail.contains_key(*option) || self.given.contains_key(*option) {
                continue;
            }
            if let Some(text) = self.get(DEFINITION, option, &self.vars)? {
                self.own.insert((*option).to_owned(), text);
            }
        }
        self.read_init()
    }

    /// Reads every other option of `[Definition]`, too, for the jail to build upon.
    pub(super) fn read_rest(&mut self) -> Result<(), DefinitionError> {
        let document = Rc::clone(&self.document);
        for option in document.section(DEFINITION).into_iter().flat_map(BTreeMap::keys) {
            if !self.own.contains_key(&**option)
                && let Some(text) = self.get(DEFINITION, option, &Vars::new())?
            {
                self.own.insert(option.to_string(), text);
            }
        }
        Ok(())
    }

    fn read_init(&mut self) -> Result<(), DefinitionError> {
        let document = Rc::clone(&self.document);
        for option in document.section(INIT).into_iter().flat_map(BTreeMap::keys) {
            let Some(text) = self.get(INIT, option, &Vars::new())? else { continue };
            if !option.starts_with("known/") {
                self.given.insert(format!("known/{option}"), text.clone());
            }
            let text = self.for_every_family(option).unwrap_or(text);
            self.given.entry(option.to_string()).or_insert(text);
        }
        Ok(())
    }

    /// What the jail gives for an option of one family by giving it for all.
    fn for_every_family(&self, option: &str) -> Option<String> {
        let (name, _) = option.split_once('?')?;
        let is_meant = self.document.version >= Version::Newest;
        self.vars.get(name).filter(|_| is_meant).cloned()
    }

    /// All options with their tags replaced, as far as reading can.
    ///
    /// `kept` are the tags that only the moment of a ban knows. A value that has a variant for some
    /// family is kept for that moment, too.
    pub(super) fn combined(
        &mut self,
        kept: &[&str],
    ) -> Result<BTreeMap<String, String>, DefinitionError> {
        let mut options = self.own.clone();
        options.extend(self.given.iter().map(|(name, text)| (name.clone(), text.clone())));
        let conditional: Vec<String> =
            options.keys().filter_map(|name| Some(name.split_once('?')?.0.to_owned())).collect();
        let is_kept = |tag: &str| kept.contains(&tag) || conditional.iter().any(|it| it == tag);
        let mut elsewhere = std::mem::take(&mut self.elsewhere);
        tags::substitute(&mut options, &is_kept, None, |tag| {
            if let Some(known) = elsewhere.get(tag) {
                return Ok(known.clone());
            }
            let found = self.elsewhere(tag)?;
            elsewhere.insert(tag.to_owned(), found.clone());
            Ok(found)
        })
        .map_err(|error| match error {
            Unplaced::Tag(why) => DefinitionError::Tag { place: self.place(why.option()), why },
            Unplaced::Definition(error) => error,
        })?;
        self.elsewhere = elsewhere;
        Ok(options)
    }

    /// What a tag stands for that is no option: `<section/option>`, or anything that an option of
    /// `[Definition]` could be.
    fn elsewhere(&self, tag: &str) -> Result<Option<String>, DefinitionError> {
        let none = Vars::new();
        if let Some((section, option)) = tag.split_once('/') {
            let found = match section.to_lowercase().as_str() {
                "known" => match self.document.known(DEFINITION, &option.to_lowercase()) {
                    Some(value) => self.expand(DEFINITION, tag, &value.text)?,
                    None => self.get(DEFINITION, option, &none)?,
                },
                "default" => self.get(super::ini::DEFAULT, option, &none)?,
                _ if self.document.section(section).is_some() => {
                    self.get(section, option, &none)?
                }
                _ => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        if self.document.section(DEFINITION).is_none() {
            return Ok(None);
        }
        self.get(DEFINITION, tag, &self.vars)
    }

    fn get(
        &self,
        section: &str,
        option: &str,
        vars: &Vars,
    ) -> Result<Option<String>, DefinitionError> {
        let scope = Scope { document: &self.document, section, vars };
        scope.get(option).map_err(|why| self.error(option, why))
    }

    fn expand(
        &self,
        section: &str,
        option: &str,
        text: &str,
    ) -> Result<Option<String>, DefinitionError> {
        let scope = Scope { document: &self.document, section, vars: &Vars::new() };
        scope.expand(text).map(Some).map_err(|why| self.error(option, why))
    }

    fn error(&self, option: &str, why: InterpolationError) -> DefinitionError {
        let place = self.place(option);
        DefinitionError::Interpolation { option: option.to_owned(), place, why }
    }
}

/// An error on its way to its place.
enum Unplaced {
    Tag(TagError),
    Definition(DefinitionError),
}

impl From<TagError> for Unplaced {
    fn from(error: TagError) -> Self {
        Self::Tag(error)
    }
}

impl From<DefinitionError> for Unplaced {
    fn from(error: DefinitionError) -> Self {
        Self::Definition(error)
    }
}
