//! `check`: reads all configuration and says every fault, with file and line.

use std::io::Write;
use std::path::Path;

use jail::config::{Fault, Jail, Place};
use scan::{FilterSpec, Part};
use serde_json::json;

use crate::cli::{Folders, Format};
use crate::destinations;
use crate::exit::{Code, Failed, Outcome, escape};
use crate::firewall::{self, Actions};
use crate::jails::{self, Source};
use crate::logs;
use crate::settings;

/// How much of an expression a message shows, in bytes: some expand to kilobytes.
const MAX_EXCERPT: usize = 300;

/// `check`
pub(crate) fn run(folders: &Folders, format: Format, out: &mut dyn Write) -> Outcome {
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let source = Source::find(folders, &settings);
    let mut configuration = source.read(&settings.guard);
    let (starting, broken): (Vec<_>, Vec<_>) =
        configuration.jails.into_iter().map(compiled).partition(Result::is_ok);
    let jails: Vec<Jail> = starting.into_iter().flatten().collect();
    configuration.faults.extend(broken.into_iter().filter_map(Result::err));
    let unusable = destinations::check(&settings, &source, &jails);
    let mut faults = configuration.faults;
    faults.extend(jails.iter().flat_map(logs::oddities));

    let actions = Actions::of(&jails);

    let mut say = |text: String| writeln!(out, "{text}").map_err(Failed::other_side);
    if format.is_json() {
        for fault in &faults {
            say(as_json(fault).to_string())?;
        }
        for error in &unusable {
            say(json!({"problem": escape(&format!("{error:#}"))}).to_string())?;
        }
        let names: Vec<_> = jails.iter().map(|jail| &jail.name).collect();
        let Actions { native, commands } = actions;
        say(json!({"jails": names, "native": native, "commands": commands}).to_string())?;
    } else {
        for fault in &faults {
            say(jails::describe(fault))?;
        }
        for error in &unusable {
            say(escape(&format!("{error:#}")))?;
        }
        let names: Vec<_> = jails.iter().map(|jail| jail.name.as_str()).collect();
        let words = match names.as_slice() {
            [] => format!("no jail of {source} is enabled and can start"),
            names => format!(
                "{} of {source} can start: {}",
                jails::count(names.len(), "jail"),
                names.join(", ")
            ),
        };
        say(words)?;
        for (what, actions) in
            [("taken natively", actions.native), ("run as commands", actions.commands)]
        {
            if !actions.is_empty() {
                say(escape(&format!("{what}: {}", firewall::in_words(&actions))))?;
            }
        }
    }
    let a_jail_cannot_start = faults.iter().any(|fault| fault.jail.is_some());
    Ok(if a_jail_cannot_start || !unusable.is_empty() { Code::Usage } else { Code::Done })
}

/// The jail, if its expressions compile and its actions are understood.
fn compiled(jail: Jail) -> Result<Jail, Fault> {
    match scan::Filter::compile(&jail.filter) {
        Ok(_) => firewall::fault(&jail).map_or(Ok(jail), Err),
        Err(error) => Err(Fault {
            place: place(&jail, error.part),
            problem: match expanded(&jail.filter, error.part) {
                Some(text) => format!("{error}; it reads `{}`", excerpt(text)),
                None => error.to_string(),
            },
            jail: Some(jail.name),
        }),
    }
}

/// Where a part of the filter is written, or the filter is named.
fn place(jail: &Jail, part: Part) -> Option<Place> {
    let option = match part {
        Part::Prefregex => "prefregex",
        Part::Failregex(_) => "failregex",
        Part::Ignoreregex(_) => "ignoreregex",
        Part::Maxlines => "maxlines",
        Part::Datepattern(_) => "datepattern",
        Part::Logtimezone => "logtimezone",
        Part::Logencoding => "logencoding",
    };
    jail.places.get(option).or_else(|| jail.places.get("filter")).cloned()
}

/// What a part of a filter came to when all that it uses was put in.
fn expanded(filter: &FilterSpec, part: Part) -> Option<&str> {
    match part {
        Part::Prefregex => filter.prefregex.as_deref(),
        Part::Failregex(index) => filter.failregex.get(index).map(String::as_str),
        Part::Ignoreregex(index) => filter.ignoreregex.get(index).map(String::as_str),
        Part::Datepattern(line) => filter.datepattern.as_deref()?.lines().nth(line),
        // Their values are in the message.
        Part::Maxlines | Part::Logtimezone | Part::Logencoding => None,
    }
}

/// The beginning of a text that may be very long.
fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_EXCERPT)]
}

fn as_json(fault: &Fault) -> serde_json::Value {
    json!({
        "file": fault.place.as_ref().map(|place| place.file.as_path()).map(Path::to_string_lossy),
        "line": fault.place.as_ref().map(|place| place.line),
        "jail": fault.jail,
        "problem": fault.problem,
    })
}
