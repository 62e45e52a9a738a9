//! `fail2misp run --only actions`: the commands of actions are run, and names are resolved, by a
//! process of its own, with its rights and not with guard's.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{BINARY, Running, ShownOnFailure, append, failed_logins, has, skip, wait_for};

/// Starts a role in a network namespace of its own, as guard makes its table. A file `hosts` in the
/// folder is for `actions` alone: nobody else there knows a name.
fn start(dir: &Path, part: &str) -> Running {
    const SCRIPT: &str = "hosts=$1; shift; if [ -e $hosts ]; then mount --bind $hosts /etc/hosts; \
                          fi; exec \"$@\"";
    let hosts = if part == "actions" { dir.join("hosts") } else { "/nonexistent".into() };
    let mut command = Command::new("unshare");
    command.args(["-n", "-m", "sh", "-c", SCRIPT, "sh"]).arg(hosts);
    command.args([BINARY, "run", "--only", part, "--config", "/nonexistent"]);
    for (flag, folder) in
        [("--fail2ban-dir", "fail2ban"), ("--state", "state"), ("--runtime", "run")]
    {
        command.arg(flag).arg(dir.join(folder));
    }
    let log = fs::File::create(dir.join(format!("{part}.log"))).unwrap();
    let running = Running::start(command.stdout(Stdio::null()).stderr(log));
    let socket = dir.join("run").join(part).join("control.sock");
    wait_for(&format!("{part} listens"), || socket.exists().then_some(()));
    running
}

/// A configuration whose action `note` has these options; `DIR` is the folder.
fn configure(dir: &Path, note: &str, jails: &str) {
    let config = dir.join("fail2ban");
    for folder in ["filter.d", "action.d"] {
        fs::create_dir_all(config.join(folder)).unwrap();
    }
    fs::write(dir.join("auth"), "").unwrap();
    let write = |name: &str, text: &str| {
        fs::write(config.join(name), text.replace("DIR", &dir.display().to_string())).unwrap();
    };
    write("filter.d/login.conf", "[Definition]\nfailregex = Failed password for .* from <HOST>\n");
    write("action.d/note.conf", &format!("[Definition]\n{note}"));
    let default = "[DEFAULT]\nfilter = login\nlogpath = DIR/auth\nmaxretry = 1\naction = note\n";
    write("jail.conf", &format!("{default}{jails}"));
}

#[test]
fn commands_run_where_the_rights_for_them_are() {
    if !has("nft") {
        return skip("`nft` is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let jail = "[sshd]\nenabled = true\nignorecommand = test <ip> = 203.0.113.9\n";
    configure(dir, "actionban = echo <ip> $PPID >> DIR/note\n", jail);
    let _shown = ShownOnFailure(dir.join("guard.log"));
    let actions = start(dir, "actions");
    let guard = start(dir, "guard");

    let log = dir.join("auth");
    append(&log, &failed_logins("203.0.113.9", 1)); // whom the command ignores
    append(&log, &failed_logins("203.0.113.1", 1));
    let note = wait_for("a ban is noted", || {
        fs::read_to_string(dir.join("note")).ok().filter(|it| it.ends_with('\n'))
    });
    assert_eq!(note, format!("203.0.113.1 {}\n", actions.0.id()));

    // Without it nobody is kept from being banned, and it is said.
    actions.stop();
    append(&log, &failed_logins("203.0.113.2", 1));
    wait_for("guard says so", || {
        let said = fs::read_to_string(dir.join("guard.log")).unwrap();
        let is_banned = said.contains("[sshd] Ban 203.0.113.2");
        (is_banned && said.contains("does fail2misp-actions.service run?")).then_some(())
    });
    guard.stop();
}

#[test]
fn names_are_resolved_where_the_network_is() {
    if !has("nft") {
        return skip("`nft` is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::write(dir.join("hosts"), "192.0.2.7 friend.example.org\n203.0.113.5 evil.example.org\n")
        .unwrap();
    let jail = "[sshd]\nenabled = true\nignoreip = friend.example.org\n";
    configure(dir, "actionban = echo <ip> <ip-host> >> DIR/note\n", jail);
    let _shown = ShownOnFailure(dir.join("guard.log"));
    let said = |what: &str| {
        let said = || fs::read_to_string(dir.join("guard.log")).unwrap();
        wait_for(what, || said().contains(what).then_some(()));
    };
    let actions = start(dir, "actions");
    let guard = start(dir, "guard");

    let log = dir.join("auth");
    append(&log, &failed_logins("192.0.2.7", 1));
    said("[sshd] Ignore 192.0.2.7");
    append(&log, &failed_logins("evil.example.org", 1));
    said("[sshd] Ban 203.0.113.5");
    let noted = wait_for("the ban is noted", || {
        fs::read_to_string(dir.join("note")).ok().filter(|it| it.ends_with('\n'))
    });
    assert_eq!(noted, "203.0.113.5 evil.example.org\n");

    // Without it a name is nobody's, and it is said what to do.
    actions.stop();
    append(&log, &failed_logins("worse.example.org", 1));
    said("the log names worse.example.org, which does not resolve");
    said("does fail2misp-actions.service run?");
    guard.stop();
}

#[test]
fn a_hundred_jails_wait_for_their_turn() {
    if !has("nft") {
        return skip("`nft` is not installed");
    }
    const N_JAILS: usize = 100;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    // Nobody ends before as many are there as there is room for.
    let note = "actionstart = echo <name> >> DIR/note\n              \
                until [ $(wc -l < DIR/note) -ge 60 ]; do sleep 0.1; done\n";
    let jail = |n| format!("[j{n}]\nenabled = true\naction = note[name=j{n}]\n");
    configure(dir, note, &(0..N_JAILS).map(jail).collect::<String>());
    let _shown = ShownOnFailure(dir.join("guard.log"));
    let _actions = start(dir, "actions");
    let _guard = start(dir, "guard");
    wait_for("all actions to start", || {
        let note = fs::read_to_string(dir.join("note")).unwrap_or_default();
        (note.lines().count() == N_JAILS).then_some(())
    });
}
