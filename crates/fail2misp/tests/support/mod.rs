//! What the tests of the whole program share: the real binary, a hub to talk to, and patience.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_fail2misp");

/// Long enough for a loaded machine with two cores; a test that works never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Says aloud that a test cannot run here; where everything is installed, that is a failure.
pub(crate) fn skip(why: &str) {
    println!("skipped: {why}");
    assert!(std::env::var_os("CI").is_none(), "must run on CI: {why}");
}

/// Whether `tool` is on this machine.
pub(crate) fn has(tool: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(tool).exists())
}

/// Waits until `look` finds what it looks for.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// Waits until `look` finds what it looks for, no longer than `patience`.
#[track_caller]
pub(crate) fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A process that ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        signal(&self.0, rustix::process::Signal::TERM);
        self.0.wait().unwrap();
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        signal(&self.0, rustix::process::Signal::HUP);
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// An OpenSSH server at `address` that logs to `sshd.log` in `dir`, as `sshd -D -E` does. `unshare` is
/// run where it is to listen: processes of its own for each connection would outlive it otherwise. What
/// ssh is to type for a password is in `askpass`.
pub(crate) fn start_sshd(mut unshare: Command, address: &str, dir: &Path) -> Running {
    // Where Debian's sshd wants an empty folder for its unprivileged part.
    fs::create_dir_all("/run/sshd").unwrap();
    let [key, config, askpass, log] =
        ["host_key", "sshd_config", "askpass", "sshd.log"].map(|it| dir.join(it));
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let text = format!(
        "HostKey {}\nListenAddress {address}\nPidFile none\nUsePAM no\nPasswordAuthentication yes\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\n",
        key.display()
    );
    fs::write(&config, text).unwrap();
    fs::write(&askpass, "#!/bin/sh\necho wrong\n").unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o755)).unwrap();
    unshare.args(["--pid", "--fork", "--kill-child", "/usr/sbin/sshd", "-D", "-f"]);
    let sshd = Running::start(unshare.arg(&config).arg("-E").arg(&log));
    wait_for("sshd to listen", || {
        fs::read_to_string(&log).ok()?.contains("Server listening").then_some(())
    });
    sshd
}

/// The attackers' addresses are reserved for documentation, and shared only in tests.
const ALLOW: &str = "[share]\nallow = [\"192.0.2.0/24\", \"198.51.100.0/24\", \"2001:db8::/32\"]\n";

/// A state folder of the test's own.
pub(crate) struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), ALLOW).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("FAIL2MISP_CONFIG", self.path().join("config.toml"))
            .env("FAIL2MISP_STATE", self.path().join("state"))
            .env("FAIL2MISP_RUNTIME", self.path().join("run"))
            .env("FAIL2MISP_FAIL2BAN_DIR", self.path().join("fail2ban"));
        command
    }

    pub(crate) fn report(&self, arguments: &[&str]) -> Output {
        self.command(BINARY).arg("report").args(arguments).output().unwrap()
    }

    pub(crate) fn n_spooled(&self) -> usize {
        let files = fs::read_dir(self.path().join("state/spool"));
        files.into_iter().flatten().flatten().count()
    }

    /// Adds to the configuration, below what is in it.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path().join("config.toml"), format!("{ALLOW}{text}")).unwrap();
    }

    /// Starts `run --only exchange`; its log goes to `exchange.log`.
    pub(crate) fn start_exchange(&self) -> Running {
        let log = self.path().join("exchange.log");
        let log = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let exchange =
            Running::start(self.command(BINARY).args(["run", "--only", "exchange"]).stderr(log));
        wait_for("exchange's socket", || {
            let socket = self.path().join("run/exchange/control.sock");
            std::os::unix::net::UnixStream::connect(socket).ok()
        });
        exchange
    }
}

/// A hub of the program's own, as a process.
pub(crate) struct Hub {
    process: Option<Running>,
    data: PathBuf,
    address: String,
    pub(crate) key: String,
    /// What it is started with besides, the next time.
    pub(crate) arguments: Vec<String>,
}

impl Hub {
    pub(crate) fn start(data: &Path) -> Self {
        let (process, first) = Self::launch(data, "127.0.0.1:0", &[]);
        let address = first["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let key = first["key"].as_str().expect("the first start shows the key").to_owned();
        let (process, data) = (Some(process), data.to_owned());
        Self { process, data, address, key, arguments: Vec::new() }
    }

    fn launch(data: &Path, listen: &str, arguments: &[String]) -> (Running, Value) {
        let log = data.with_extension("log");
        let log = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let mut process = Running::start(
            Command::new(BINARY)
                .args(["hub", "--json", "--listen", listen])
                .args(arguments)
                .arg("--data")
                .arg(data)
                .stdout(Stdio::piped())
                .stderr(log),
        );
        let mut line = String::new();
        let out = process.0.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let first = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        (process, first)
    }

    /// Makes another key.
    pub(crate) fn key_of(&self, name: &str, role: &str) -> String {
        let output = Command::new(BINARY)
            .args(["hub", "keys", "add", name, "--json", "--role", role, "--data"])
            .arg(&self.data)
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn stop(&mut self) {
        self.process.take().expect("the hub runs").stop();
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the hub runs").kill();
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.data.with_extension("log")).unwrap()
    }

    /// Comes back at the same address with the same keys.
    pub(crate) fn restart(&mut self) {
        let (process, _) = Self::launch(&self.data, &self.address, &self.arguments);
        self.process = Some(process);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Posts `body` and gives back status and answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        post(&self.address, &self.key, path, body)
    }

    /// Makes an event and gives back its number.
    pub(crate) fn add_event(&self, info: &str) -> String {
        let (status, answer) = self.post("/events/add", &json!({"info": info}));
        assert_eq!(status, 200, "{answer}");
        answer["Event"]["id"].as_str().unwrap().to_owned()
    }

    /// The attributes that a search finds.
    pub(crate) fn attributes(&self, filter: &Value) -> Vec<Value> {
        let (status, answer) = self.post("/attributes/restSearch", filter);
        assert_eq!(status, 200, "{answer}");
        answer["response"]["Attribute"].as_array().unwrap().clone()
    }

    /// The values of all attributes of an event, sorted.
    pub(crate) fn values(&self, event: &str) -> Vec<String> {
        let found = self.attributes(&json!({"returnFormat": "json", "eventid": event}));
        let mut values: Vec<_> =
            found.iter().map(|it| it["value"].as_str().unwrap().to_owned()).collect();
        values.sort();
        values
    }

    /// How many sightings an event's attributes have.
    pub(crate) fn n_sightings(&self, event: &str) -> usize {
        let event: u64 = event.parse().unwrap();
        let (status, answer) = self.post("/sightings/restSearch/event", &json!({"id": event}));
        assert_eq!(status, 200, "{answer}");
        answer["response"].as_array().unwrap().len()
    }
}

/// One request on one connection, as any client might make it.
pub(crate) fn post(address: &str, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {key}\r\n\
         Accept: application/json\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{answer}: {error}"));
    (status, body)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Adds lines to a log.
pub(crate) fn append(path: &Path, lines: &[String]) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
}

/// Lines of failed logins at this moment, as OpenSSH writes them by syslog.
pub(crate) fn failed_logins(address: &str, n: usize) -> Vec<String> {
    let stamp = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
    let line =
        format!("{stamp} web-1 sshd[71]: Failed password for root from {address} port 9 ssh2");
    vec![line; n]
}

/// Shows a log where a test fails.
pub(crate) struct ShownOnFailure(pub(crate) PathBuf);

impl Drop for ShownOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.0).unwrap_or_default();
            eprintln!("== {}\n{log}", self.0.display());
        }
    }
}
