//! A jail for tests: who fails three times is banned for ten minutes.

use std::collections::BTreeMap;
use std::path::Path;

use jail::BanTime;
use jail::config::{Action, Backend, Jail, LogPath, WithoutLogs};
use jiff::SignedDuration;
use scan::FilterSpec;

/// A jail that follows `log` for lines such as `login of root from 192.0.2.1 failed`.
pub(crate) fn jail(name: &str, log: &Path) -> Jail {
    Jail {
        name: name.to_owned(),
        filter: FilterSpec {
            failregex: vec!["login of .* from <HOST> failed$".to_owned()],
            ..FilterSpec::default()
        },
        backend: Backend::Files,
        log_paths: vec![LogPath { pattern: log.display().to_string(), from_end: false }],
        log_encoding: "auto".to_owned(),
        journal_match: Vec::new(),
        max_retry: 3,
        find_time: SignedDuration::from_secs(600),
        ban_time: BanTime::Seconds(600),
        increment: None,
        max_matches: 3,
        ignore_ip: vec!["203.0.113.200".to_owned()],
        ignore_self: true,
        ignore_command: None,
        ignore_cache: None,
        without_logs: WithoutLogs::Wait,
        port: "2222".to_owned(),
        protocol: "tcp".to_owned(),
        actions: vec![action("nftables", &[("port", "2222")])],
        options: BTreeMap::new(),
        places: BTreeMap::new(),
    }
}

/// An action with these options.
pub(crate) fn action(name: &str, options: &[(&str, &str)]) -> Action {
    Action {
        name: name.to_owned(),
        act_name: name.to_owned(),
        options: options.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect(),
        known: BTreeMap::new(),
    }
}
