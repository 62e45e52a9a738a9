//! All files of one name, merged: `jail`, `fail2ban`, `filter.d/NAME`, `action.d/NAME`.
//!
//! The order, each file beating those before it: `X.conf`, `X.d/*.conf`, `X.local`, `X.d/*.local`.
//! Each of them draws in what its `[INCLUDES]` names, `before` ahead of it and `after` behind it,
//! and each included file its own `.local` behind it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::ini::{DEFAULT, Ini, Options, Value};
use super::interpolate::{Scope, Vars};
use super::version::Version;
use super::{Fault, Files, Place};

/// The section that names other files.
pub(super) const INCLUDES: &str = "INCLUDES";

/// How deep files may draw in files; stock ones do so 3 deep, and a symbolic link that leads back
/// to its own folder would go on for ever.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Files that may make up one name, so that files that draw in each other twice come to an end.
const MAX_FILES: usize = 1000;

/// What the files of one name say together.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// `[DEFAULT]`.
    pub(super) defaults: Options,
    /// The names of the other sections, in the order in which the files name them.
    pub(super) order: Vec<Rc<str>>,
    /// What is wrong with the files.
    pub(super) faults: Vec<FileFault>,
    /// Which fail2ban they were written for.
    pub(super) version: Version,
    sections: BTreeMap<Rc<str>, Options>,
    /// Values that a later file replaced.
    replaced: BTreeMap<Rc<str>, Options>,
}

/// Something wrong with a file.
#[derive(Clone, Debug)]
pub(super) struct FileFault {
    /// The section that suffers; all of them where it is `DEFAULT`.
    pub(super) section: Rc<str>,
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) problem: String,
}

impl FileFault {
    /// The fault as it is told of `jail`.
    pub(super) fn of(self, jail: Option<&str>) -> Fault {
        Fault { place: Some(self.place), jail: jail.map(str::to_owned), problem: self.problem }
    }
}

impl Document {
    /// A section without what it inherits.
    pub(super) fn section(&self, name: &str) -> Option<&Options> {
        self.sections.get(name)
    }

    /// A value of a section, or else of `[DEFAULT]`.
    pub(super) fn value(&self, section: &str, option: &str) -> Option<&Value> {
        self.section(section)
            .and_then(|options| options.get(option))
            .or_else(|| self.defaults.get(option))
    }

    /// The value that a section had before the last file that gave it one.
    pub(super) fn known(&self, section: &str, option: &str) -> Option<&Value> {
        self.replaced.get(section)?.get(option)
    }

    /// Every text, for whoever looks for what refers to what.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let all = self.sections.values().chain(self.replaced.values()).chain([&self.defaults]);
        all.flat_map(|options| options.values()).map(|value| &*value.text)
    }

    fn merge(&mut self, ini: &Ini) {
        let clone = |(name, value): (&Rc<str>, &Value)| (Rc::clone(name), value.clone());
        self.defaults.extend(ini.defaults.iter().map(clone));
        for (name, options) in &ini.sections {
            match conditional(name) {
                None => self.merge_section(name, options.iter().map(clone)),
                Some((name, condition)) => {
                    let renamed = options.iter().map(|(option, value)| {
                        (Rc::from(format!("{option}{condition}")), value.clone())
                    });
                    self.merge_section(&Rc::from(name), renamed);
                }
            }
        }
    }

    fn merge_section(&mut self, name: &Rc<str>, options: impl Iterator<Item = (Rc<str>, Value)>) {
        if !self.sections.contains_key(name) {
            self.order.push(Rc::clone(name));
        }
        let section = self.sections.entry(Rc::clone(name)).or_default();
        let mut old = Options::new();
        for (option, value) in options {
            if let Some(before) = section.insert(Rc::clone(&option), value) {
                old.insert(option, before);
            }
        }
        if !old.is_empty() {
            self.replaced.entry(Rc::clone(name)).or_default().extend(old);
        }
    }
}

/// Splits `Init?family=inet6` into the section that it belongs to and what its options are
/// suffixed with.
fn conditional(name: &str) -> Option<(&str, &str)> {
    let at = name.find('?')?;
    let (section, condition) = name.split_at(at);
    let is_word = section.chars().all(|it| it.is_alphanumeric() || it == '_');
    (is_word && !section.is_empty() && condition.len() > 1).then_some((section, condition))
}

/// The path without `.` and `..`, so that a file has one name in a loop.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => drop(plain.pop()),
            _ => plain.push(part),
        }
    }
    plain
}

/// Reads files, each of them once.
pub(super) struct Library<'a> {
    files: &'a dyn Files,
    root: &'a Path,
    version: Version,
    read: RefCell<HashMap<PathBuf, Option<Rc<Ini>>>>,
    documents: RefCell<HashMap<String, Option<Rc<Document>>>>,
    unread: RefCell<Vec<FileFault>>,
    /// Files of the name that is being read.
    n_files: Cell<usize>,
    /// Whether they were too many.
    is_cut: Cell<bool>,
}

impl<'a> Library<'a> {
    pub(super) fn new(files: &'a dyn Files, root: &'a Path) -> Self {
        Self {
            files,
            root,
            version: Version::of(files, root),
            read: RefCell::default(),
            documents: RefCell::default(),
            unread: RefCell::default(),
            n_files: Cell::new(0),
            is_cut: Cell::new(false),
        }
    }

    /// The folder that names are looked up in.
    pub(super) fn root(&self) -> &'a Path {
        self.root
    }

    /// Which fail2ban the folder was written for.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The files of `name`, such as `jail` or `filter.d/sshd`; `None` where there is none.
    pub(super) fn document(&self, name: &str) -> Option<Rc<Document>> {
        if let Some(document) = self.documents.borrow().get(name) {
            return document.clone();
        }
        let document = self.merged(&self.family(name));
        self.documents.borrow_mut().insert(name.to_owned(), document.clone());
        document
    }

    /// One file with what it includes, and nothing of its family.
    pub(super) fn single(&self, file: &Path) -> Option<Rc<Document>> {
        self.merged(&[file.to_path_buf()])
    }

    fn merged(&self, family: &[PathBuf]) -> Option<Rc<Document>> {
        self.n_files.set(0);
        self.is_cut.set(false);
        let all = self.with_includes(family, &[]);
        let mut document = Document { version: self.version, ..Document::default() };
        for path in &all {
            if let Some(ini) = self.ini(path) {
                document.merge(&ini);
                document.faults.extend(ini.faults.iter().map(|fault| FileFault {
                    section: Rc::clone(&fault.section),
                    place: Place { file: path.clone(), line: fault.line },
                    problem: fault.error.to_string(),
                }));
            }
        }
        document.faults.append(&mut self.unread.borrow_mut());
        (!all.is_empty()).then(|| Rc::new(document))
    }

    /// The files that make up `name`, whether they exist or not, in their order.
    fn family(&self, name: &str) -> Vec<PathBuf> {
        let with = |extension: &str| self.root.join(format!("{name}{extension}"));
        let folder = with(".d");
        // A folder that cannot be listed holds nothing for us; its files would be refused one by
        // one, and `check` tells of a folder that is not ours to read.
        let mut inside = self.files.list(&folder).unwrap_or_default();
        inside.sort_unstable();
        let of = |extension: &'static str| {
            let is_shown = |it: &&String| it.ends_with(extension) && !it.starts_with('.');
            inside.iter().filter(is_shown).map(|it| folder.join(it)).collect::<Vec<_>>()
        };
        [vec![with(".conf")], of(".conf"), vec![with(".local")], of(".local")].concat()
    }

    /// `paths` that exist, each between what it includes; `chain` led here.
    fn with_includes(&self, paths: &[PathBuf], chain: &[PathBuf]) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for path in paths {
            all.extend(self.around(path, chain));
            let local = path.with_extension("local");
            if !paths.contains(&local) {
                all.extend(self.around(&local, chain));
            }
        }
        all
    }

    fn around(&self, path: &Path, chain: &[PathBuf]) -> Vec<PathBuf> {
        let Some(ini) = self.ini(path) else { return Vec::new() };
        self.n_files.set(self.n_files.get() + 1);
        if chain.len() > MAX_INCLUDE_DEPTH || self.n_files.get() > MAX_FILES {
            if !self.is_cut.replace(true) {
                let problem = "too many files include each other up to this one; break the circle";
                let place = Place { file: path.to_path_buf(), line: 0 };
                self.unread.borrow_mut().push(FileFault {
                    section: Rc::from(DEFAULT),
                    place,
                    problem: problem.to_owned(),
                });
            }
            return Vec::new();
        }
        let included = |option| self.included(&ini, option, path, chain);
        [included("before"), vec![path.to_path_buf()], included("after")].concat()
    }

    fn included(&self, ini: &Ini, option: &str, path: &Path, chain: &[PathBuf]) -> Vec<PathBuf> {
        let Some((_, options)) = ini.sections.iter().find(|(name, _)| &**name == INCLUDES) else {
            return Vec::new();
        };
        let Some(value) = options.get(option).or_else(|| ini.defaults.get(option)) else {
            return Vec::new();
        };
        let mut alone = Document::default();
        alone.merge(ini);
        let scope = Scope { document: &alone, section: INCLUDES, vars: &Vars::new() };
        let names = match scope.get(option) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) => {
                self.unread.borrow_mut().push(FileFault {
                    section: Rc::from(DEFAULT),
                    place: value.place(),
                    problem: error.to_string(),
                });
                return Vec::new();
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let chain = [chain, &[without_dots(path)]].concat();
        let mut all = Vec::new();
        for name in names.lines().filter(|name| !name.is_empty()) {
            let target = folder.join(name);
            if !chain.contains(&without_dots(&target)) {
                all.extend(self.with_includes(&[target], &chain));
            }
        }
        all
    }

    fn ini(&self, path: &Path) -> Option<Rc<Ini>> {
        if let Some(ini) = self.read.borrow().get(path) {
            return ini.clone();
        }
        let ini = self.parse(path).map(Rc::new);
        self.read.borrow_mut().insert(path.to_path_buf(), ini.clone());
        ini
    }

    fn parse(&self, path: &Path) -> Option<Ini> {
        let fault = |line, problem| {
            let place = Place { file: path.to_path_buf(), line };
            self.unread.borrow_mut().push(FileFault { section: Rc::from(DEFAULT), place, problem });
        };
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                fault(0, format!("the file cannot be read: {error}"));
                return None;
            }
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Some(Ini::parse(text, &Rc::from(path))),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let n_lines = before.iter().filter(|byte| **byte == b'\n').count();
                let line = u32::try_from(n_lines + 1).unwrap_or(u32::MAX);
                fault(line, "the file is not UTF-8, and is left out; save it as UTF-8".to_owned());
                None
            }
        }
    }
}
