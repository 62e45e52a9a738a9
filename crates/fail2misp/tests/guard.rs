//! `fail2misp run` in a network namespace, with Debian's configuration, a real OpenSSH server and a
//! real client that guesses passwords.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use support::{BINARY, Running, ShownOnFailure, has, skip, start_sshd, wait_for, wait_within};

const SERVER: &str = "10.77.0.1";
const ATTACKER: &str = "10.77.0.2";
const NEIGHBOUR: &str = "10.77.0.3";

/// Two hosts with a cable between them.
struct Network {
    server: String,
    client: String,
}

impl Network {
    fn new() -> Self {
        let name = |what: &str| format!("f2m-{what}-{}", std::process::id());
        let network = Self { server: name("server"), client: name("client") };
        let (server, client) = (&network.server, &network.client);
        ip(&format!("netns add {server}"));
        ip(&format!("netns add {client}"));
        ip(&format!("link add name eth0 netns {server} type veth peer name eth0 netns {client}"));
        for (host, addresses) in [(server, vec![SERVER]), (client, vec![ATTACKER, NEIGHBOUR])] {
            for address in addresses {
                ip(&format!("-n {host} address add {address}/24 dev eth0"));
            }
            ip(&format!("-n {host} link set lo up"));
            ip(&format!("-n {host} link set eth0 up"));
        }
        network
    }

    fn on_server(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.server, program)
    }

    fn on_client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.client, program)
    }

    /// Tries to log in from `address` with three wrong passwords.
    fn guess_passwords(&self, dir: &Path, address: &str) -> Output {
        self.on_client("ssh")
            .args(["-b", address, "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=2"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "NumberOfPasswordPrompts=3"])
            .args(["-o", "PreferredAuthentications=password", "-F", "none"])
            .args([&format!("root@{SERVER}"), "true"])
            .env("SSH_ASKPASS", dir.join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The address's element in the kernel: the seconds that its ban has left.
    fn seconds_left(&self, address: &str) -> Option<u64> {
        let listed = self.on_server("nft").args(["-j", "list", "ruleset"]).output().unwrap();
        let ruleset: Value = serde_json::from_slice(&listed.stdout).ok()?;
        ruleset["nftables"]
            .as_array()?
            .iter()
            .filter_map(|it| it["set"].as_object().filter(|set| set["table"] == "fail2misp"))
            .flat_map(|set| set.get("elem").and_then(Value::as_array).into_iter().flatten())
            .find(|it| it["elem"]["val"] == address)?["elem"]["expires"]
            .as_u64()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.server, &self.client] {
            // The other one must go, too, whatever became of this one.
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn inside(host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program);
    command
}

/// Debian's configuration as it stands, and a jail.local. A log that `sshd -E` writes bears no prefix
/// of syslog, without which Debian's filter takes no line for sshd's, unless it is told so.
fn configure(dir: &Path, log: &Path) -> PathBuf {
    let config = dir.join("fail2ban");
    let copied = Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(&config).status().unwrap();
    assert!(copied.success());
    // One that cannot start is shown, and changes nothing for the other.
    let jail = format!(
        "[recidive]\nenabled = true\nmaxretry = 1 # a comment\n\n[sshd]\nfilter = sshd[mode=%(mode)s, __prefix_line=]\nlogpath = {}\nmaxretry = 3\n",
        log.display()
    );
    fs::write(config.join("jail.local"), jail).unwrap();
    let metrics = format!("[metrics]\ntextfile = \"{}\"\n", dir.join("guard.prom").display());
    fs::write(dir.join("config.toml"), metrics).unwrap();
    let target = format!("[Definition]\nlogtarget = {}\n", dir.join("guard.log").display());
    fs::write(config.join("fail2ban.local"), target).unwrap();
    config
}

fn start_guard(network: &Network, dir: &Path, config: &Path) -> Running {
    let guard = Running::start(
        network
            .on_server(BINARY)
            .arg("--fail2ban-dir")
            .arg(config)
            .args(folders(dir))
            .args(["run", "--only", "guard"]),
    );
    wait_for("guard to answer", || ask(dir, &["ping"]).status.success().then_some(()));
    guard
}

fn folders(dir: &Path) -> [PathBuf; 6] {
    let option = |name: &str, below: &str| [PathBuf::from(name), dir.join(below)];
    let [[a, b], [c, d], [e, f]] =
        [option("--config", "config.toml"), option("--state", "state"), option("--runtime", "run")];
    [a, b, c, d, e, f]
}

fn ask(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(folders(dir)).args(arguments).output().unwrap()
}

/// The ban of `address` as guard tells it: when it began and for how many seconds.
fn ban(dir: &Path, address: &str) -> (i64, i64) {
    let output = ask(dir, &["banned", "--json", address]);
    let ban: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (ban["time"].as_i64().unwrap(), ban["bantime"].as_i64().unwrap())
}

#[test]
fn failed_logins_end_in_the_kernel_and_outlive_a_crash() {
    for tool in ["ip", "nft", "sshd", "ssh", "fail2ban-server"] {
        if !has(tool) {
            return skip(&format!("`{tool}` is not installed"));
        }
    }
    if !rustix::process::geteuid().is_root() {
        return skip("only root may make network namespaces");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let log = dir.join("sshd.log");
    fs::write(&log, "").unwrap();
    let _shown = [dir.join("guard.log"), log.clone()].map(ShownOnFailure);
    let network = Network::new();
    let config = configure(dir, &log);
    let guard = start_guard(&network, dir, &config);
    let _sshd = start_sshd(network.on_server("unshare"), SERVER, dir);

    network.guess_passwords(dir, ATTACKER);
    let guessed = Instant::now();
    wait_within(Duration::from_secs(1), "the ban in the kernel", || network.seconds_left(ATTACKER));
    println!("in the kernel at most {:?} after the client gave up", guessed.elapsed());

    // And in the log, as fail2ban words it, where fail2ban.conf says.
    let line = format!("NOTICE  [sshd] Ban {ATTACKER}");
    wait_for("the ban in the log", || {
        fs::read_to_string(dir.join("guard.log")).unwrap().contains(&line).then_some(())
    });

    // Nothing of that address comes through any more, and its neighbour is not harmed.
    let shut_out = network.guess_passwords(dir, ATTACKER);
    let said = String::from_utf8_lossy(&shut_out.stderr);
    assert!(said.contains("timed out") || said.contains("refused"), "{said}");
    let served = network.guess_passwords(dir, NEIGHBOUR);
    let said = String::from_utf8_lossy(&served.stderr);
    assert!(said.contains("Permission denied"), "{said}");

    // A crash, and an administrator who empties the firewall: the ban is back with what it has left.
    let before = ban(dir, ATTACKER);
    guard.kill();
    let flushed = network.on_server("nft").args(["flush", "ruleset"]).status().unwrap();
    assert!(flushed.success());
    let guard = start_guard(&network, dir, &config);
    let left = wait_for("the ban to be restored", || network.seconds_left(ATTACKER));
    assert_eq!(ban(dir, ATTACKER), before);
    let until = before.0 + before.1;
    let due = u64::try_from(until - Timestamp::now().as_second()).unwrap();
    assert!(left.abs_diff(due) <= 2, "{left} s are left, {due} s are due");

    // The tree that fail2ban-client prints, and the jail that the configuration keeps from starting.
    let said = String::from_utf8(ask(dir, &["status"]).stdout).unwrap();
    assert!(said.starts_with("Status\n|- Number of jail:\t1\n`- Jail list:\tsshd\n"), "{said}");
    assert!(said.contains("Disabled: recidive: ") && said.contains("jail.local:3: "), "{said}");
    let said = String::from_utf8(ask(dir, &["status", "sshd"]).stdout).unwrap();
    assert!(said.contains(&format!("`- Banned IP list:\t{ATTACKER} {NEIGHBOUR}\n")), "{said}");

    // Lifted by hand, it may come again.
    assert!(ask(dir, &["unban", ATTACKER]).status.success());
    let served = network.guess_passwords(dir, ATTACKER);
    let said = String::from_utf8_lossy(&served.stderr);
    assert!(said.contains("Permission denied"), "{said}");

    // Its numbers, for node_exporter.
    let numbers = || fs::read_to_string(dir.join("guard.prom")).unwrap_or_default();
    wait_for("its numbers", || {
        numbers().contains("f2b_jail_banned_total{jail=\"sshd\"} ").then_some(())
    });
    guard.stop();
    assert!(numbers().ends_with("f2b_up 0\n"), "{}", numbers());
}
