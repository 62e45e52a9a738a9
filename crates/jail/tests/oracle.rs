//! Holds the reader to fail2ban itself: over Debian's whole configuration, with every jail forced
//! on, both must arrive at the same commands for the server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debian;
mod disk;

use std::collections::BTreeMap;
use std::path::Path;

use jail::config::{Action, Configuration, Fault, Jail, Select, read};
use serde_json::{Value, json};

use debian::{debian, oracle};
use disk::Disk;

/// The options that fail2ban sends as they are, in its order.
const PLAIN: [&str; 16] = [
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
    "ignorecache",
    "logtimezone",
    "logencoding",
];

/// Options that fail2ban sends as numbers.
const NUMBERS: [&str; 3] = ["maxretry", "maxmatches", "dbmaxmatches"];

/// Options that fail2ban sends as true or false.
const SWITCHES: [&str; 6] = [
    "bantime.increment",
    "bantime.overalljails",
    "ignoreself",
    "actionstart_on_demand",
    "actionrepair_on_unban",
    "norestored",
];

/// The server's own options, in fail2ban's order.
const SERVER: [&str; 7] =
    ["syslogsocket", "loglevel", "logtarget", "allowipv6", "dbfile", "dbmaxmatches", "dbpurgeage"];

#[test]
fn debians_configuration_reads_as_fail2ban_reads_it() {
    let Some(etc) = debian() else { return };
    let n_jails = check(&etc);
    assert!(n_jails >= 91, "{n_jails}");
}

/// A folder of ours that holds what Debian's does not: files over files, loops of includes, comments
/// within values, odd quotes, options of every kind.
#[test]
fn odd_configuration_reads_as_fail2ban_reads_it() {
    if debian().is_none() {
        return; // fail2ban itself is what is asked
    }
    let n_jails = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/odd"));
    assert_eq!(n_jails, 9);
}

/// Compares all commands, and tells how many jails there are.
#[track_caller]
fn check(root: &Path) -> usize {
    let want = commands_of_fail2ban(root);
    let configuration = read(&Disk, root, Select::All);
    let faults = configuration.faults.iter().filter(|fault| fault.jail.is_some());
    assert_eq!(faults.collect::<Vec<_>>(), Vec::<&Fault>::new());

    let got = server(&configuration);
    assert_eq!(got, want[..got.len()], "server");
    let names = |commands: &[Value]| -> Vec<Value> {
        commands.iter().filter(|it| it[0] == "add").map(|it| it[1].clone()).collect()
    };
    let own: Vec<Value> = configuration.jails.iter().map(|jail| json!(jail.name)).collect();
    assert_eq!(own, names(&want), "jails, in order");
    for jail in &configuration.jails {
        let mut want: Vec<Value> = want
            .iter()
            .filter(|it| it[1] == jail.name.as_str() && it[0] != "start")
            .flat_map(canonical)
            .collect();
        check_log_paths(jail, &mut want);
        let mut got = commands(jail);
        assert_eq!(actions(&got), actions(&want), "order of the actions of {}", jail.name);
        let key = |it: &Value| it.to_string();
        got.sort_by_key(key);
        want.sort_by_key(key);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want, "{}", jail.name);
        }
        assert_eq!(got.len(), want.len(), "{}: {got:#?}\n{want:#?}", jail.name);
    }
    configuration.jails.len()
}

fn commands_of_fail2ban(etc: &Path) -> Vec<Value> {
    let output = oracle("tests/oracle/config.py").arg(etc).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn server(configuration: &Configuration) -> Vec<Value> {
    let options = &configuration.server;
    SERVER.iter().map(|name| json!(["set", name, typed(name, &options[*name])])).collect()
}

/// What fail2ban's client would send for a jail, but for the log files.
fn commands(jail: &Jail) -> Vec<Value> {
    let name = &jail.name;
    let backend = jail.options.get("backend").map_or("auto", String::as_str);
    let mut out = vec![json!(["add", name, backend])];
    let filter = &jail.filter;
    for (option, text) in [
        ("usedns", &filter.usedns),
        ("prefregex", &filter.prefregex),
        ("datepattern", &filter.datepattern),
    ] {
        out.extend(text.as_ref().map(|text| json!(["set", name, option, text])));
    }
    out.extend(filter.maxlines.map(|n| json!(["set", name, "maxlines", n])));
    for (option, list) in
        [("addfailregex", &filter.failregex), ("addignoreregex", &filter.ignoreregex)]
    {
        match list.as_slice() {
            [] => {}
            [one] => out.push(json!(["set", name, option, one])),
            many => out.push(json!(["multi-set", name, option, many])),
        }
    }
    for group in &jail.journal_match {
        let command = ["set".to_owned(), name.clone(), "addjournalmatch".to_owned()];
        out.push(json!([&command[..], &group[..]].concat()));
    }
    for option in PLAIN {
        let text = jail.options.get(option);
        out.extend(text.map(|text| json!(["set", name, option, typed(option, text)])));
    }
    if jail.options.contains_key("ignoreip") {
        let command = ["set".to_owned(), name.clone(), "addignoreip".to_owned()];
        out.push(json!([&command[..], &jail.ignore_ip[..]].concat()));
    }
    for action in &jail.actions {
        out.push(json!(["set", name, "addaction", action.act_name]));
        out.push(json!(["multi-set", name, "action", action.act_name, options(action)]));
    }
    out
}

fn options(action: &Action) -> BTreeMap<&str, Value> {
    action.options.iter().map(|(name, text)| (name.as_str(), typed(name, text))).collect()
}

fn typed(option: &str, text: &str) -> Value {
    if NUMBERS.contains(&option) {
        json!(text.parse::<i64>().unwrap())
    } else if SWITCHES.contains(&option) {
        json!(["1", "on", "true", "yes"].contains(&text.to_lowercase().as_str()))
    } else {
        json!(text)
    }
}

/// A command of fail2ban with an action's options in one order, and each group of a journalmatch as
/// a command.
fn canonical(command: &Value) -> Vec<Value> {
    let mut command = command.clone();
    if command[0] == "multi-set" && command[2] == "action" {
        let pairs = command[4].as_array().unwrap();
        let options: BTreeMap<&str, &Value> =
            pairs.iter().map(|pair| (pair[0].as_str().unwrap(), &pair[1])).collect();
        command[4] = json!(options);
    }
    if command[2] == "addjournalmatch" {
        let words = command.as_array().unwrap();
        let groups = words[3..].split(|word| word == "+");
        return groups.map(|group| json!([&words[..3], group].concat())).collect();
    }
    vec![command]
}

fn actions(commands: &[Value]) -> Vec<&Value> {
    commands.iter().filter(|it| it[2] == "addaction").map(|it| &it[3]).collect()
}

/// Takes the log files out of `commands`: each must be one of the jail's patterns, and each pattern
/// that names a file that is there must be among them.
fn check_log_paths(jail: &Jail, commands: &mut Vec<Value>) {
    let patterns = jail.log_paths.iter().map(|it| (it.pattern.as_str(), it.from_end));
    let want: Vec<Value> = commands.extract_if(.., |it| it[2] == "addlogpath").collect();
    for command in &want {
        let path = command[3].as_str().unwrap();
        let from_end = command[4] == "tail";
        let is_match = |(pattern, end): (&str, bool)| {
            end == from_end && (pattern == path || pattern.contains(['*', '?', '[']))
        };
        assert!(patterns.clone().any(is_match), "{}: {path}", jail.name);
    }
    for (pattern, _) in patterns.filter(|(pattern, _)| Path::new(pattern).exists()) {
        assert!(want.iter().any(|it| it[3] == pattern), "{}: {pattern}", jail.name);
    }
}
