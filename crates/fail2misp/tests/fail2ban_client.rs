//! fail2ban-client's commands: what ours prints is held to what Debian's prints, of a real
//! fail2ban-server in the same state.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{BINARY, Running, ShownOnFailure, append, has, skip, wait_for};

/// Two jails over one folder of configuration, for both programs.
struct Host {
    dir: PathBuf,
}

impl Host {
    fn new(dir: &Path) -> Self {
        let config = dir.join("fail2ban");
        for folder in ["filter.d", "action.d"] {
            fs::create_dir_all(config.join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| {
            let text = text.replace("DIR", &dir.display().to_string());
            fs::write(config.join(name), text).unwrap();
        };
        write(
            "fail2ban.conf",
            "[Definition]\nloglevel = INFO\nlogtarget = DIR/fail2ban.log\nsyslogsocket = auto\n\
             socket = DIR/fail2ban.sock\npidfile = DIR/fail2ban.pid\ndbfile = DIR/fail2ban.sqlite3\n\
             dbpurgeage = 1d\ndbmaxmatches = 10\n",
        );
        write(
            "jail.conf",
            "[DEFAULT]\nbackend = polling\nmaxretry = 3\nfindtime = 10m\nbantime = 1h\n\
             ignoreip = 198.51.100.0/24 203.0.113.9\nignoreself = true\nusedns = no\n\
             maxmatches = %(maxretry)s\naction = note\n         note[name=second, actname=again]\n\n\
             [beta]\nenabled = true\nfilter = plain\nlogpath = DIR/beta.log\n\n\
             [alpha]\nenabled = true\nfilter = plain\nlogpath = DIR/alpha.log\n          DIR/more.log\n\
             bantime = -1\ndatepattern = ^%%Y-%%m-%%d %%H:%%M:%%S\n",
        );
        // Expressions without fail2ban's tags: it answers with what those stand for.
        write(
            "filter.d/plain.conf",
            "[Definition]\nfailregex = ^ fail from (?P<ip4>[0-9.]+)$\n            ^ odd (?P<ip4>[0-9.]+)$\n\
             ignoreregex = harmless\n",
        );
        write(
            "action.d/note.conf",
            "[Definition]\nactionstart =\nactionban = echo <ip> >> DIR/noted-<name>\nactionunban =\n",
        );
        for log in ["alpha.log", "more.log", "beta.log"] {
            append(&dir.join(log), &[]);
        }
        symlink(BINARY, dir.join("fail2ban-client")).unwrap();
        Self { dir: dir.to_owned() }
    }

    fn ours(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("FAIL2MISP_CONFIG", self.dir.join("config.toml"))
            .env("FAIL2MISP_STATE", self.dir.join("state"))
            .env("FAIL2MISP_RUNTIME", self.dir.join("run"))
            .env("FAIL2MISP_FAIL2BAN_DIR", self.dir.join("fail2ban"))
            .env("WHOSE", "ours");
        command
    }

    fn start_ours(&self) -> Running {
        let log = fs::File::create(self.dir.join("ours.log")).unwrap();
        // In a network namespace of its own, whose firewall is nobody else's.
        let mut command = self.ours("unshare");
        command.args(["--net", BINARY, "run", "--only", "guard"]).stderr(log);
        let socket = self.dir.join("as-fail2ban.sock");
        let config = format!(
            "[log]\ntarget = \"stderr\"\n[guard]\nfail2ban_socket = \"{}\"\n",
            socket.display()
        );
        fs::write(self.dir.join("config.toml"), config).unwrap();
        let running = Running::start(&mut command);
        wait_for("our daemon", || self.client(&["ping"]).status.success().then_some(()));
        running
    }

    fn start_theirs(&self) -> Running {
        let mut command = Command::new("fail2ban-server");
        command.args(["-f", "-x", "-c"]).arg(self.dir.join("fail2ban")).arg("start");
        command.env("WHOSE", "theirs");
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        wait_for("fail2ban's jails", || {
            let log = fs::read_to_string(self.dir.join("fail2ban.log")).unwrap_or_default();
            let n_jails = if self.dir.join("fail2ban/jail.local").exists() { 1 } else { 2 };
            (log.matches("' started").count() == n_jails).then_some(())
        });
        running
    }

    /// Ours, called as fail2ban-client.
    fn client(&self, words: &[&str]) -> Output {
        self.ours(self.dir.join("fail2ban-client")).args(words).output().unwrap()
    }

    /// What Debian's client prints for each of `commands`, one after the other, of the server at
    /// `socket`.
    fn theirs(&self, socket: &str, commands: &[Vec<&str>]) -> Vec<String> {
        const PROMPT: &str = "fail2ban> ";
        const END: &str = "end of the answer";
        let mut client = Command::new("fail2ban-client")
            .args(["-q", "-i", "-s"])
            .arg(self.dir.join(socket))
            .args(["--loglevel", "INFO", "--logtarget", "STDERR", "--syslogsocket", "auto"])
            .args(["-p", "/nonexistent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = String::new();
        for words in commands {
            let quoted: Vec<_> =
                words.iter().map(|it| format!("'{}'", it.replace('\'', r"'\''"))).collect();
            input += &format!("{}\necho '{END}'\n", quoted.join(" "));
        }
        client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap().replace(PROMPT, "");
        // Before the first answer it presents itself.
        let said = said.split_once("firewall rules.\n\n").expect("it says what it is").1;
        let mut answers: Vec<_> = said.split(&format!("{END}\n")).map(str::to_owned).collect();
        answers.pop();
        answers
    }
}

/// Commands, one a line, whose answers must be the same.
const SAME: &str = "\
ping
status
status alpha
status beta short
get alpha bantime
get beta bantime
get beta findtime
get beta maxretry
get beta maxmatches
get beta maxlines
get beta usedns
get beta logpath
get alpha logpath
get beta logencoding
get beta journalmatch
get beta ignoreself
get beta ignoreip
get beta failregex
get beta ignoreregex
get beta prefregex
get beta datepattern
get alpha datepattern
get beta logtimezone
get beta actions
get beta action note actionban
get beta action again actionban
get beta action note timeout
get beta banip
get beta banned
get beta ignorecommand
get beta ignorecache
get beta bantime.increment
get beta bantime.factor
get loglevel
get syslogsocket
get dbpurgeage
get dbmaxmatches
banned
banned 192.0.2.1
set beta banip 192.0.2.1
set beta banip 192.0.2.1
set beta banip 192.0.2.2 2001:db8::1
set alpha banip 192.0.2.1
banned
banned 192.0.2.1
banned 192.0.2.1 192.0.2.99
get beta banned
get beta banned 192.0.2.1
get beta banned 192.0.2.1 192.0.2.99
get beta banip
get beta banip ,
status beta
status
set beta unbanip 192.0.2.1
set beta unbanip 192.0.2.1
set beta unbanip --report-absent 192.0.2.1
set beta unbanip --report-absent 192.0.2.1 192.0.2.2
get beta banip
get beta banip --with-time
get alpha banip --with-time
unban 192.0.2.1 192.0.2.77
set beta banip 192.0.2.16 192.0.2.17 192.0.2.33
set beta unbanip 192.0.2.16/30
unban --all
set beta bantime 2h
set beta bantime 1d12h
get beta bantime
set beta findtime 300
set beta maxretry 2
set beta maxmatches 7
set beta maxlines 2
set beta usedns warn
set beta ignoreself false
set beta ignoreself true
set beta addignoreip 192.0.2.64/26
set beta addignoreip 192.0.2.64/26
set beta delignoreip 198.51.100.0/24
set beta delignoreip 203.0.113.9
set beta addignoreip 2001:db8:1::/48
set beta delignoreip 192.0.2.64/26
set beta delignoreip 2001:db8:1::/48
set beta addfailregex ^x(?P<ip4>y)$
set beta delfailregex 0
get beta failregex
set beta addignoreregex also harmless
set beta delignoreregex 0
set beta delignoreregex 0
set beta ignorecommand /bin/false <ip>
set beta ignorecache key=<ip>,max-count=9,max-time=2m
get beta ignorecache
set beta bantime.increment true
set beta bantime.maxtime 5w
set beta bantime.rndtime 10m
set beta bantime.increment maybe
get beta bantime.increment
get beta bantime.maxtime
set beta usedns fish
get beta usedns
set beta addaction extra
set beta action extra actionban echo <ip>
get beta action extra actionban
get beta actions
set beta delaction extra
set beta delaction extra
get beta actions
set beta datepattern Epoch
set beta datepattern ^epoch
set beta datepattern TAI64N
get beta ignorecommand
set beta attempt 192.0.2.50
status beta
set beta idle on
set beta idle off
set beta idle maybe
set beta dellogpath DIR/beta.log
set beta addlogpath DIR/beta.log tail
set beta datepattern %Y%m%d
set beta datepattern {^LN-BEG}
set beta action note timeout 30
set beta action note actionban echo ban
get beta action note actionban
get beta action nosuch actionban
set loglevel DEBUG
get loglevel
set loglevel INFO
start beta
get nosuch bantime
status nosuch
set nosuch banip 192.0.2.1
unban --all
stop alpha
status
start alpha
echo hello there
";

/// Splits a command; what begins with an expression or a command is one word.
fn words(line: &str) -> Vec<&str> {
    let n = ["regex ", "ignorecommand ", "actionban "].iter().find_map(|it| {
        let at = line.find(it)? + it.len();
        let is_set = line.starts_with("set ");
        is_set.then(|| line[..at].split_whitespace().count())
    });
    match n {
        Some(n) => line.splitn(n + 1, ' ').collect(),
        None => line.split(' ').collect(),
    }
}

/// An answer as it is compared: the two ban one after the other, so times differ by a moment.
fn shape(words: &[&str], said: &str) -> String {
    let is_timed = words.contains(&"--with-time");
    said.chars().map(|it| if is_timed && it.is_ascii_digit() { '0' } else { it }).collect()
}

/// Whether the test cannot run here, which it says.
fn is_missing(tools: &[&str]) -> bool {
    if let Some(tool) = tools.iter().find(|it| !has(it)) {
        skip(&format!("`{tool}` is not installed"));
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        skip("only root may make network namespaces");
        return true;
    }
    false
}

#[test]
fn reads_its_configuration_again_by_command_and_by_signal() {
    if is_missing(&["unshare", "nft"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = ShownOnFailure(host.dir.join("ours.log"));
    let ours = host.start_ours();
    let said = |words: &[&str]| String::from_utf8(host.client(words).stdout).unwrap();
    let write = |text: &str| fs::write(host.dir.join("fail2ban/jail.local"), text).unwrap();
    assert_eq!(said(&["set", "beta", "banip", "192.0.2.1"]), "1\n");

    write("[beta]\nmaxretry = 7\n");
    fs::write(host.dir.join("fail2ban/fail2ban.local"), "[Definition]\nloglevel = NOTICE\n")
        .unwrap();
    assert_eq!(said(&["reload"]), "OK\n");
    assert_eq!(said(&["get", "loglevel"]), "Current logging level is 'NOTICE'\n");
    assert_eq!(said(&["get", "beta", "maxretry"]), "7\n");
    assert_eq!(said(&["get", "beta", "banip"]), "192.0.2.1\n");
    write("[beta]\nmaxretry = 8\n[alpha]\nenabled = false\n");
    ours.hang_up();
    wait_for("the second reload", || (said(&["get", "beta", "maxretry"]) == "8\n").then_some(()));
    assert!(said(&["status"]).ends_with("Jail list:\tbeta\n"));

    write("[beta]\nmaxretry = many\n[alpha]\nbantime = soon\n");
    let refused = host.client(&["reload"]);
    assert_eq!(refused.status.code(), Some(255));
    let why = String::from_utf8(refused.stderr).unwrap();
    for fault in ["jail `beta`", "jail.local:2: `maxretry = many`", "jail `alpha`", "soon"] {
        assert!(why.contains(fault), "{why}");
    }
    assert_eq!(said(&["get", "beta", "maxretry"]), "8\n");
    let refused = host.ours(BINARY).args(["reload", "beta"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    ours.stop();
}

#[test]
fn prints_what_fail2ban_client_prints() {
    if is_missing(&["fail2ban-server", "unshare", "nft"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = [host.dir.join("ours.log"), host.dir.join("fail2ban.log")].map(ShownOnFailure);
    let theirs = host.start_theirs();
    let ours = host.start_ours();
    wait_for("our logs", || {
        let said = String::from_utf8(host.client(&["status", "alpha"]).stdout).unwrap();
        said.contains("more.log").then_some(())
    });

    let commands = SAME.replace("DIR", &host.dir.display().to_string());
    let commands: Vec<_> = commands.lines().map(words).collect();
    let wanted = host.theirs("fail2ban.sock", &commands);
    theirs.stop();
    let got = commands.iter().map(|it| String::from_utf8(host.client(it).stdout).unwrap());
    compare(&commands, &wanted, &got.collect::<Vec<_>>());
    ours.stop();

    // The same again, of Debian's client at the socket where we speak fail2ban's own protocol.
    fs::remove_dir_all(host.dir.join("state")).unwrap();
    let ours = host.start_ours();
    let got = host.theirs("as-fail2ban.sock", &commands);
    compare(&commands, &wanted, &got);
    ours.stop();
}

#[track_caller]
fn compare(commands: &[Vec<&str>], wanted: &[String], got: &[String]) {
    assert_eq!(wanted.len(), commands.len(), "{wanted:?}");
    assert_eq!(got.len(), commands.len(), "{got:?}");
    let mut differences = Vec::new();
    for (words, (want, got)) in commands.iter().zip(wanted.iter().zip(got)) {
        if shape(words, got) != shape(words, want) {
            differences.push(format!("{words:?}\n  fail2ban: {want:?}\n  ours:     {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a program finds that speaks fail2ban's protocol and looks at the types, as exporters in
/// other languages do: tuples of names and numbers.
const EXPORTER: &str = r"
import pickle, socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
def ask(*words):
    channel.sendall(pickle.dumps(list(words), 2) + b'<F2B_END_COMMAND>')
    answer = b''
    while not answer.endswith(b'<F2B_END_COMMAND>'):
        answer += channel.recv(7)
    code, value = pickle.loads(answer)
    assert code == 0, value
    return value
assert ask('ping', '100') == 'pong'
assert ask('version') == '1.0.2'
assert ask('status') == [('Number of jail', 2), ('Jail list', 'alpha, beta')], ask('status')
ask('set', 'beta', 'banip', '192.0.2.1', '192.0.2.2')
(_, failed), (_, banned) = ask('status', 'beta')
assert failed[:2] == [('Currently failed', 0), ('Total failed', 0)], failed
assert banned == [('Currently banned', 2), ('Total banned', 2),
                  ('Banned IP list', ['192.0.2.1', '192.0.2.2'])], banned
assert ask('get', 'alpha', 'bantime') == -1
assert [ask('get', 'beta', it) for it in ('bantime', 'findtime', 'maxretry')] == [3600, 600, 3]
";

#[test]
fn an_exporter_that_speaks_fail2bans_protocol_finds_what_it_looks_for() {
    if is_missing(&["unshare", "nft", "python3"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = ShownOnFailure(host.dir.join("ours.log"));
    let ours = host.start_ours();
    let python = Command::new("python3")
        .args(["-c", EXPORTER])
        .arg(host.dir.join("as-fail2ban.sock"))
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    ours.stop();
}

/// Command lines, with which both must end alike and print the same.
const WHOLE: &str = "\
-t
status
-V
--str2sec 1d12h
version
foo bar
get
get alpha
set alpha banip
set alpha banip 192.0.2.1
set alpha bantime soon
set alpha unbanip --report-absent 192.0.2.9
unban 9.9.9.9
status nosuch
reload nosuch
reload alpha
stop nosuch
-q status nosuch
";

#[test]
fn ends_as_fail2ban_client_does() {
    if is_missing(&["fail2ban-server", "unshare", "nft"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = [host.dir.join("ours.log"), host.dir.join("fail2ban.log")].map(ShownOnFailure);
    let (theirs, ours) = (host.start_theirs(), host.start_ours());
    for line in WHOLE.lines() {
        let ended = |client: &Path| {
            let mut command = host.ours(client);
            command.arg("-c").arg(host.dir.join("fail2ban")).args(line.split(' '));
            command.output().unwrap()
        };
        let want = ended(Path::new("/usr/bin/fail2ban-client"));
        let got = ended(&host.dir.join("fail2ban-client"));
        assert_eq!(got.status.code(), want.status.code(), "{line}: {got:?}, {want:?}");
        // How a failure is worded is each program's own.
        if want.status.success() {
            assert_eq!(String::from_utf8(got.stdout), String::from_utf8(want.stdout), "{line}");
        }
    }
    theirs.stop();
    ours.stop();
}

/// Debian's plugin for Munin, which reads what fail2ban-client prints.
const MUNIN: &str = "/usr/share/munin/plugins/fail2ban";

#[test]
fn munin_draws_the_same() {
    if is_missing(&["fail2ban-server", "unshare", "nft"]) {
        return;
    }
    if !Path::new(MUNIN).exists() {
        return skip("`munin-plugins-core` is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = [host.dir.join("ours.log"), host.dir.join("fail2ban.log")].map(ShownOnFailure);
    let (theirs, ours) = (host.start_theirs(), host.start_ours());
    let ban = vec!["set", "beta", "banip", "192.0.2.1", "192.0.2.2"];
    host.theirs("fail2ban.sock", std::slice::from_ref(&ban));
    assert!(host.client(&ban).status.success());
    let drawn = |client: &Path, what: &str| {
        let mut plugin = host.ours(MUNIN);
        plugin.arg(what).env("MUNIN_LIBDIR", "/usr/share/munin").env("client", client);
        plugin.env("config_dir", host.dir.join("fail2ban"));
        String::from_utf8(plugin.output().unwrap().stdout).unwrap()
    };
    for what in ["autoconf", "config", "fetch"] {
        let want = drawn(Path::new("/usr/bin/fail2ban-client"), what);
        assert_eq!(drawn(&host.dir.join("fail2ban-client"), what), want);
        println!("{want}");
    }
    assert!(drawn(&host.dir.join("fail2ban-client"), "fetch").contains("beta.value 2"));
    theirs.stop();
    ours.stop();
}

#[test]
fn fail2bans_own_tests_of_its_answers_pass_on_ours() {
    if is_missing(&["fail2ban-server", "unshare", "nft", "python3"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let log = host.dir.join("ours.log");
    let config = host.dir.join("fail2ban");
    fs::write(config.join("filter.d/empty.conf"), "[Definition]\nfailregex =\n").unwrap();
    let ours = host.start_ours();
    agrees(oracle("transmitter.py").args([&host.dir.join("as-fail2ban.sock"), &config, &log]));
    ours.stop();
}

/// A script that holds ours to fail2ban.
fn oracle(script: &str) -> Command {
    // Debian's Python, for Debian's package.
    let mut python = Command::new("/usr/bin/python3");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script));
    python
}

#[track_caller]
fn agrees(oracle: &mut Command) {
    let output = oracle.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}

/// Those of all kinds; without names the script takes all of Debian's.
const ACTIONS: [&str; 12] = [
    "tags",
    "fails",
    "repairs",
    "abuseipdb",
    "ufw",
    "route",
    "nginx-block-map",
    "sendmail-buffered",
    "mail-whois-lines",
    "iptables-multiport",
    "iptables-ipset-proto4",
    "firewallcmd-rich-rules",
];

#[test]
fn actions_run_what_fail2ban_runs() {
    if is_missing(&["fail2ban-server", "unshare", "nft", "python3"]) {
        return;
    }
    agrees(oracle("actions.py").arg(BINARY).args(ACTIONS));
}

#[test]
fn the_client_ends_the_daemon() {
    if is_missing(&["unshare", "nft"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = ShownOnFailure(host.dir.join("ours.log"));
    let mut ours = host.start_ours();
    wait_for("our logs", || {
        let said = String::from_utf8(host.client(&["status", "alpha"]).stdout).unwrap();
        said.contains("more.log").then_some(())
    });
    let stopped = host.client(&["stop"]);
    assert_eq!(String::from_utf8(stopped.stdout).unwrap(), "Shutdown successful\n");
    assert!(!host.client(&["ping"]).status.success());
    ours.0.wait().unwrap();
}

/// A jail whose actions write mails to a program that keeps them.
fn with_mails(host: &Host) {
    let config = host.dir.join("fail2ban");
    for name in ["sendmail-common", "sendmail-whois-lines", "mail-whois-common", "helpers-common"] {
        let file = format!("action.d/{name}.conf");
        fs::copy(Path::new("/etc/fail2ban").join(&file), config.join(&file)).unwrap();
    }
    let sendmail = host.dir.join("sendmail");
    let script = format!(
        "#!/bin/sh\n(echo \"$@\"; cat; echo; echo ==) >> {}/mails-$WHOSE\n",
        host.dir.display()
    );
    fs::write(&sendmail, script).unwrap();
    fs::set_permissions(&sendmail, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mail = format!(
        "[alpha]\naction = sendmail-whois-lines[name=alpha, sender=guard@example.org, \
         dest=root@example.org, sendername=Guard, logpath={0}/alpha.log, \
         mailcmd=\"{0}/sendmail -f guard@example.org root@example.org\"]\n\
         [beta]\nenabled = false\n",
        host.dir.display()
    );
    fs::write(config.join("jail.local"), mail).unwrap();
}

#[test]
fn mails_are_those_that_fail2ban_sends() {
    if is_missing(&["fail2ban-server", "unshare", "nft"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let host = Host::new(temp.path());
    let _shown = [host.dir.join("ours.log"), host.dir.join("fail2ban.log")].map(ShownOnFailure);
    with_mails(&host);
    // What an attacker wrote is not what the shell reads.
    let lines = ["fail from 192.0.2.7", "odd `reboot` $(reboot) 192.0.2.7 \"'%s"];
    append(&host.dir.join("alpha.log"), &lines.map(str::to_owned));
    let mails = |whose: &str| {
        let path = host.dir.join(format!("mails-{whose}"));
        let mails = fs::read_to_string(path).unwrap_or_default();
        let is_date = |line: &&str| line.starts_with("Date: ");
        mails.lines().filter(|it| !is_date(it)).map(|it| format!("{it}\n")).collect::<String>()
    };
    let has = |whose: &str, n: usize| {
        wait_for("the mails", || (mails(whose).matches("\n==\n").count() == n).then_some(()));
    };

    let theirs = host.start_theirs();
    has("theirs", 1);
    let ban = vec!["set", "alpha", "banip", "192.0.2.7"];
    host.theirs("fail2ban.sock", std::slice::from_ref(&ban));
    has("theirs", 2);
    theirs.stop();
    has("theirs", 3);

    let ours = host.start_ours();
    has("ours", 1);
    assert!(host.client(&ban).status.success());
    has("ours", 2);
    ours.stop();
    has("ours", 3);
    assert_eq!(mails("ours"), mails("theirs"));
    assert!(mails("ours").contains("$(reboot)"), "{}", mails("ours"));
}
