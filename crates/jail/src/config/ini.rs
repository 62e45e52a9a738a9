//! Reads one file of fail2ban's INI dialect: Python's `configparser`, as fail2ban sets it up.
//!
//! ```text
//! file    = { section | option | continuation | comment | blank }
//! section = "[" name "]"
//! option  = name ( "=" | ":" ) value        names are lower-cased
//! continuation = a line indented deeper than its option; blank lines belong to the value
//! comment = ( "#" | ";" ) at the beginning of a line, even within a value
//!         | ";" after white space: cuts the rest of any line, even within quotes
//! ```
//!
//! A section or an option may stand once in a file. Python gives up a whole file at its first
//! mistake; here the mistake is noted with its section, and the rest is read.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use super::Place;

/// Options of one section by name.
pub(super) type Options = BTreeMap<Rc<str>, Value>;

/// The name of the section that all others inherit from.
pub(super) const DEFAULT: &str = "DEFAULT";

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// Its lines, joined by newlines.
    pub(super) text: Rc<str>,
    /// The file that it stands in.
    pub(super) file: Rc<Path>,
    /// The line of its name, from 1.
    pub(super) line: u32,
}

impl Value {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        Place { file: self.file.to_path_buf(), line: self.line }
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Ini {
    /// `[DEFAULT]`.
    pub(super) defaults: Options,
    /// The other sections, in their order.
    pub(super) sections: Vec<(Rc<str>, Options)>,
    /// What is wrong with it.
    pub(super) faults: Vec<IniFault>,
}

/// A line that is no INI.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct IniFault {
    /// The line, from 1.
    pub(super) line: u32,
    /// The section that it stands in.
    pub(super) section: Rc<str>,
    /// What is wrong with it.
    pub(super) error: IniError,
}

/// Why a line is no INI.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum IniError {
    #[error(
        "`{0}` stands before any section; put `[DEFAULT]` or the jail's name in brackets above it"
    )]
    NoSection(String),
    #[error(
        "`{0}` is neither `[section]` nor `option = value`; indent it if it continues the value above"
    )]
    NoOption(String),
    #[error("section `[{0}]` stands twice in this file; merge the two")]
    SectionTwice(String),
    #[error("option `{0}` stands twice in this section; remove one of the two")]
    OptionTwice(String),
}

impl Ini {
    /// Reads the text of `file`.
    pub(super) fn parse(text: &str, file: &Rc<Path>) -> Self {
        let mut parser = Parser::new(file);
        for (number, line) in (1..).zip(text.lines()) {
            parser.line(number, line);
        }
        parser.finish()
    }
}

/// An option whose value may still grow.
struct Open {
    name: Rc<str>,
    lines: Vec<String>,
    line: u32,
}

struct Parser<'a> {
    file: &'a Rc<Path>,
    defaults: Options,
    sections: Vec<(Rc<str>, Options)>,
    faults: Vec<IniFault>,
    /// Index into `sections`; `[DEFAULT]` where `None`.
    current: Option<usize>,
    /// Names seen in the current section of this file.
    seen: HashSet<Rc<str>>,
    open: Option<Open>,
    indent: usize,
    is_inside: bool,
}

impl<'a> Parser<'a> {
    fn new(file: &'a Rc<Path>) -> Self {
        Self {
            file,
            defaults: Options::new(),
            sections: Vec::new(),
            faults: Vec::new(),
            current: None,
            seen: HashSet::new(),
            open: None,
            indent: 0,
            is_inside: false,
        }
    }

    fn line(&mut self, number: u32, line: &str) {
        let (content, is_cut) = without_comment(line);
        let content = content.trim();
        if content.is_empty() {
            if let (Some(open), false) = (&mut self.open, is_cut) {
                open.lines.push(String::new());
            }
            return;
        }
        let indent = line.chars().take_while(|it| it.is_whitespace()).count();
        if let Some(open) = self.open.as_mut().filter(|_| indent > self.indent) {
            open.lines.push(content.to_owned());
            return;
        }
        self.indent = indent;
        self.close();
        match content.strip_prefix('[').and_then(|rest| rest.rfind(']').map(|end| &rest[..end])) {
            Some(name) if !name.is_empty() => self.section(number, name),
            _ => self.option(number, content),
        }
    }

    fn section(&mut self, number: u32, name: &str) {
        self.is_inside = true;
        self.seen.clear();
        if name == DEFAULT {
            self.current = None;
            return;
        }
        let known = self.sections.iter().position(|(it, _)| &**it == name);
        if let Some(index) = known {
            self.current = Some(index);
            self.seen.extend(self.sections[index].1.keys().cloned());
            self.fault(number, IniError::SectionTwice(name.to_owned()));
        } else {
            self.current = Some(self.sections.len());
            self.sections.push((Rc::from(name), Options::new()));
        }
    }

    fn option(&mut self, number: u32, content: &str) {
        let Some((name, value)) = content.split_once(['=', ':']) else {
            return self.fault(number, IniError::NoOption(content.to_owned()));
        };
        let name = name.trim_end().to_lowercase();
        if name.is_empty() {
            return self.fault(number, IniError::NoOption(content.to_owned()));
        }
        if !self.is_inside {
            self.fault(number, IniError::NoSection(content.to_owned()));
            self.is_inside = true; // said once; what follows counts as [DEFAULT]
        }
        let name: Rc<str> = Rc::from(name);
        if !self.seen.insert(Rc::clone(&name)) {
            self.fault(number, IniError::OptionTwice(name.to_string()));
        }
        self.open = Some(Open { name, lines: vec![value.trim_start().to_owned()], line: number });
    }

    fn close(&mut self) {
        let Some(Open { name, lines, line }) = self.open.take() else { return };
        let text = Rc::from(lines.join("\n").trim_end());
        let value = Value { text, file: Rc::clone(self.file), line };
        self.options().insert(name, value);
    }

    fn options(&mut self) -> &mut Options {
        match self.current {
            Some(index) => &mut self.sections[index].1,
            None => &mut self.defaults,
        }
    }

    fn fault(&mut self, line: u32, error: IniError) {
        let section = match self.current {
            Some(index) => Rc::clone(&self.sections[index].0),
            None => Rc::from(DEFAULT),
        };
        self.faults.push(IniFault { line, section, error });
    }

    fn finish(mut self) -> Ini {
        self.close();
        Ini { defaults: self.defaults, sections: self.sections, faults: self.faults }
    }
}

/// The line without its comment, and whether there was one.
fn without_comment(line: &str) -> (&str, bool) {
    if line.trim_start().starts_with(['#', ';']) {
        return ("", true);
    }
    let is_comment = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    match line.match_indices(';').map(|(at, _)| at).find(is_comment) {
        Some(at) => (&line[..at], true),
        None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders a file as `section.option=value` lines and `!line fault` lines.
    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let ini = Ini::parse(text, &Rc::from(Path::new("x.conf")));
        let mut got = Vec::new();
        let all = std::iter::once((Rc::from(DEFAULT), ini.defaults)).chain(ini.sections);
        for (section, options) in all {
            for (name, value) in options {
                got.push(format!("{section}.{name}@{}={}", value.line, value.text));
            }
        }
        got.extend(
            ini.faults.iter().map(|it| format!("!{} [{}] {}", it.line, it.section, it.error)),
        );
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn reads_values() {
        check("[a]\nB = c\nd:e", &["a.b@2=c", "a.d@3=e"]);
        check("[DEFAULT]\nx = 1", &["DEFAULT.x@2=1"]);
        check("[a]\nb = \n  c\n\n  d\n\n[e]", &["a.b@2=\nc\n\nd"]); // blank lines are the value's
        check("[a]\nb = c\n  # no\n  d", &["a.b@2=c\nd"]); // a comment within is not
        check("[a]\nb = \"DROP ; x\"", &["a.b@2=\"DROP"]); // even within quotes
        check("[a]\nb = c;d # e", &["a.b@2=c;d # e"]); // `;` without a space, `#` within a line
        check("[a]\n b = c\n d = e", &["a.b@2=c", "a.d@3=e"]); // the same depth is no continuation
        check("[Init?family=inet6]\nb=c", &["Init?family=inet6.b@2=c"]);
    }

    #[test]
    fn tells_what_is_no_ini() {
        check(
            "b = c\n[a]\nd\n[a]\ne = 1\ne = 2",
            &[
                "DEFAULT.b@1=c",
                "a.e@6=2",
                "!1 [DEFAULT] `b = c` stands before any section; put `[DEFAULT]` or the jail's \
                 name in brackets above it",
                "!3 [a] `d` is neither `[section]` nor `option = value`; indent it if it \
                 continues the value above",
                "!4 [a] section `[a]` stands twice in this file; merge the two",
                "!6 [a] option `e` stands twice in this section; remove one of the two",
            ],
        );
    }
}
