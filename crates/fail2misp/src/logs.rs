//! Whether the logs of a jail are there, and what becomes of it where they are not.

use std::path::Path;

use guard::follow;
use jail::config::{Backend, Fault, Jail, WithoutLogs};

/// Where journald listens, if it runs.
const JOURNALD: &str = "/run/systemd/journal/socket";

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

/// What is said of a jail that waits for its logs.
pub(crate) fn awaited(jail: &Jail) -> Option<Fault> {
    let is_awaited = jail.backend != Backend::Journal && !has_logs(jail);
    is_awaited.then(|| fault(jail, "they are waited for"))
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
    Fault { place: jail.places.get("logpath").cloned(), jail: None, problem }
}
