//! Whether the logs of a jail are there, and what becomes of it where they are not.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use guard::follow;
use jail::config::{Backend, Fault, Jail, Place, WithoutLogs};

/// Where journald listens, if it runs.
const JOURNALD: &str = "/run/systemd/journal/socket";

/// How much of a log is looked at to see whether it is one.
const HEAD_BYTES: u64 = 4096;

/// The jail as it starts, with a word to say of it; or why it does not.
pub(crate) fn settle(mut jail: Jail) -> Result<(Jail, Option<Fault>), Fault> {
    if jail.backend == Backend::Journal || has_logs(&jail) {
        return Ok((jail, None));
    }
    match jail.without_logs {
        WithoutLogs::Journal if Path::new(JOURNALD).exists() => {
            let note = fault(&jail, "the journal is read in their place");
            jail.backend = Backend::Journal;
            Ok((jail, Some(note)))
        }
        WithoutLogs::Skip => {
            let refused = fault(&jail, "`skip_if_nologs` says not to wait for them");
            Err(Fault { jail: Some(jail.name), ..refused })
        }
        WithoutLogs::Journal | WithoutLogs::Wait => Ok((jail, None)),
    }
}

/// What is odd about the logs of a jail that starts: none is there, or one is no log.
pub(crate) fn oddities(jail: &Jail) -> Vec<Fault> {
    if jail.backend == Backend::Journal {
        return Vec::new();
    }
    if !has_logs(jail) {
        return vec![fault(jail, "they are waited for")];
    }
    let files = jail.log_paths.iter().flat_map(|path| follow::files(&path.pattern));
    let odd = files.filter_map(|file| {
        let problem = format!("jail `{}`: `{}` {}", jail.name, file.display(), oddity(&file)?);
        Some(Fault { place: place(jail), jail: None, problem })
    });
    odd.collect()
}

/// Why a file is no log.
fn oddity(file: &Path) -> Option<String> {
    let kind = match file.metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) => return Some(format!("cannot be looked at: {error}")),
    };
    if kind.is_dir() {
        return Some("is a folder; name the logs in it, such as `*.log`".to_owned());
    }
    if !kind.is_file() {
        return None; // to open a pipe would wait for whoever writes to it
    }
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    match read {
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(_) if head.contains(&0) => {
            Some("holds NUL bytes; is it a log, and not a database or an archive?".to_owned())
        }
        Ok(_) => None,
    }
}

fn has_logs(jail: &Jail) -> bool {
    jail.log_paths.iter().any(|path| !follow::files(&path.pattern).is_empty())
}

fn fault(jail: &Jail, consequence: &str) -> Fault {
    let patterns: Vec<_> = jail.log_paths.iter().map(|path| path.pattern.as_str()).collect();
    let problem = match patterns.as_slice() {
        [] => format!("jail `{}` names no log; give it a `logpath`", jail.name),
        patterns => {
            format!("jail `{}` has no log yet at {}; {consequence}", jail.name, patterns.join(", "))
        }
    };
    Fault { place: place(jail), jail: None, problem }
}

/// Where the logs are named, or the jail is.
fn place(jail: &Jail) -> Option<Place> {
    ["logpath", "filter", "enabled"].iter().find_map(|option| jail.places.get(*option)).cloned()
}
