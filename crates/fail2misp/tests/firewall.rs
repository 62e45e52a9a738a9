//! Which firewall `run` moves, and what `check` says of the actions that it takes the place of.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{BINARY, Running, ShownOnFailure, append, has, skip, wait_for};

/// A jail with a stock action, which its configuration names in its own words, and one of another kind.
const JAILS: &str = "[DEFAULT]
banaction = nftables-multiport
action = %(banaction)s[port=\"2222\", protocol=\"tcp\"]
         diary
[sshd]
enabled = true
filter = sshd
maxretry = 1
logpath = LOG
";

/// A folder with a configuration, and the program that reads it.
fn prepare(dir: &Path, config: &str) {
    let fail2ban = dir.join("fail2ban");
    for (file, text) in [
        ("filter.d/sshd.conf", "[Definition]\nfailregex = ^ fail from <HOST>$\n"),
        ("action.d/nftables-multiport.conf", "[Definition]\nactionban = echo nft <ip>\n"),
        ("action.d/diary.conf", "[Definition]\nactionban = echo <ip>\n"),
        ("jail.conf", &JAILS.replace("LOG", &dir.join("log").display().to_string())),
    ] {
        fs::create_dir_all(fail2ban.join(file).parent().unwrap()).unwrap();
        fs::write(fail2ban.join(file), text).unwrap();
    }
    fs::write(dir.join("log"), "begun\n").unwrap();
    fs::write(dir.join("config.toml"), config).unwrap();
}

fn in_folder(dir: &Path, mut command: Command) -> Command {
    command
        .env("FAIL2MISP_CONFIG", dir.join("config.toml"))
        .env("FAIL2MISP_STATE", dir.join("state"))
        .env("FAIL2MISP_RUNTIME", dir.join("run"))
        .env("FAIL2MISP_FAIL2BAN_DIR", dir.join("fail2ban"));
    command
}

#[track_caller]
fn check(config: &str, wants: &[&str]) {
    let temp = tempfile::tempdir().unwrap();
    prepare(temp.path(), config);
    let mut command = in_folder(temp.path(), Command::new(BINARY));
    let output = command.arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), wants, "{said}");
}

#[test]
fn check_tells_which_actions_are_taken_natively() {
    check("", &["taken natively: nftables-multiport (sshd)", "run as commands: diary (sshd)"]);
    check(
        "[guard]\nnative = false\n",
        &["run as commands: diary (sshd), nftables-multiport (sshd)"],
    );
}

#[test]
fn bans_with_ipset_where_the_configuration_says_so() {
    if !(has("ipset") && has("iptables") && has("nsenter")) {
        return skip("ipset, iptables and nsenter are not all installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    prepare(dir, "[guard]\nfirewall = \"ipset\"\n");
    let said = dir.join("said");
    let _shown = ShownOnFailure(said.clone());
    let mut command = Command::new("unshare");
    command.args(["--net", BINARY, "run", "--only", "guard"]);
    let guard = Running::start(in_folder(dir, command).stderr(fs::File::create(&said).unwrap()));
    let started =
        || fs::read_to_string(&said).unwrap().contains("Jail 'sshd' started").then_some(());
    wait_for("the jail", started);
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
    append(&dir.join("log"), &[format!("{now} fail from 198.51.100.7")]);
    let within = |words: &str| {
        let target = guard.0.id().to_string();
        let args = [&["--net", "--target", &target], &words.split(' ').collect::<Vec<_>>()[..]];
        let output = Command::new("nsenter").args(args.concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let banned = || within("ipset save").contains("add f2m4-1-0-sshd 198.51.100.7").then_some(());
    wait_for("the ban in the set", banned);
    let rules = within("iptables-save");
    let rule = "-A fail2misp-input -p tcp -m multiport --dports 2222 -m set --match-set f2m4-1-0-sshd \
                src -j DROP";
    assert!(rules.contains(rule), "{rules}");
    guard.stop();
}
