//! What one machine saw keeps the attacker out of all others: three hosts and a hub, each in a
//! network namespace of its own, and somebody who guesses passwords.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use support::{
    BINARY, Running, ShownOnFailure, has, post, skip, start_sshd, wait_for, wait_within,
};

/// Public addresses, as an attacker has one; nothing leaves the namespaces.
const HUB: &str = "45.33.32.4:8420";
const HOSTS: [&str; 3] = ["45.33.32.1", "45.33.32.2", "45.33.32.3"];
const ATTACKERS: [&str; 3] = ["45.33.32.66", "45.33.32.67", "45.33.32.68"];

/// Hosts at one switch.
struct Network {
    switch: String,
    names: Vec<String>,
}

impl Network {
    fn new() -> Self {
        let switch = format!("f2m-switch-{}", std::process::id());
        let mut network = Self { switch: switch.clone(), names: Vec::new() };
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add br0 type bridge"));
        ip(&format!("-n {switch} link set br0 up"));
        for host in HOSTS {
            network.join(&[host]);
        }
        network.join(&[HUB.split(':').next().unwrap()]);
        network.join(&ATTACKERS);
        network
    }

    fn join(&mut self, addresses: &[&str]) {
        let (switch, number) = (&self.switch, self.names.len());
        let name = format!("f2m-{number}-{}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add name eth0 netns {name} type veth peer name p{number} netns {switch}"
        ));
        ip(&format!("-n {switch} link set p{number} master br0 up"));
        for address in addresses {
            ip(&format!("-n {name} address add {address}/24 dev eth0"));
        }
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link set eth0 up"));
        self.names.push(name);
    }

    fn inside(&self, number: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[number]]).arg(program);
        command
    }

    /// Whether the kernel of a host drops what `address` sends.
    fn drops(&self, host: usize, address: &str) -> bool {
        let listed = self.inside(host, "nft").args(["list", "ruleset"]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).contains(address)
    }

    /// Whether a packet of `address` comes through to a host: where nobody listens, the host says so.
    fn reaches(&self, host: usize, address: &str) -> bool {
        let from: SocketAddr = (address.parse::<IpAddr>().unwrap(), 0).into();
        self.beside(ATTACKER, move || {
            let socket = UdpSocket::bind(from).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket.connect((HOSTS[host], 9)).unwrap();
            socket.send(b"?").unwrap();
            let said = socket.recv(&mut [0]);
            said.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        })
    }

    /// Does something as if from one of the hosts.
    fn beside<T: Send + 'static>(
        &self,
        number: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let at = File::open(Path::new("/run/netns").join(&self.names[number])).unwrap();
        // A thread of its own: what it enters, it does not leave.
        let done = std::thread::spawn(move || {
            move_into_link_name_space(at.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        done.join().unwrap()
    }
}

const HUB_HOST: usize = 3;
const ATTACKER: usize = 4;

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.switch]) {
            // The others must go, too, whatever became of this one.
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The hub, as its administrator sees it.
struct Hub<'a> {
    network: &'a Network,
    data: PathBuf,
    process: Option<Running>,
}

impl<'a> Hub<'a> {
    fn start(network: &'a Network, data: PathBuf) -> Self {
        let mut hub = Self { network, data, process: None };
        hub.run();
        hub
    }

    fn run(&mut self) {
        let mut hub = self.network.inside(HUB_HOST, BINARY);
        hub.args(["hub", "--insecure-http", "--listen", HUB, "--data"]).arg(&self.data);
        self.process = Some(Running::start(hub.stdout(Stdio::null())));
        wait_for("the hub", || self.data.join("admin.key").exists().then_some(()));
    }

    fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    fn key(&self, name: &str) -> String {
        let mut add = Command::new(BINARY);
        add.args(["hub", "keys", "add", name, "--data"]).arg(&self.data);
        String::from_utf8(add.output().unwrap().stdout).unwrap()
    }

    /// Calls `value` a false positive, as the page does.
    fn deny(&self, value: &str) {
        let key = fs::read_to_string(self.data.join("admin.key")).unwrap();
        let body = json!({"value": value, "type": 1});
        let denied = move || post(HUB, key.trim(), "/sightings/add", &body);
        let (status, answer) = self.network.beside(HUB_HOST, denied);
        assert!(status == 200 && answer.get("Sighting").is_some(), "{answer}");
    }
}

/// A host that guards itself, tells the hub, and blocks whom the hub knows.
fn start_host(network: &Network, hub: &Hub<'_>, dir: &Path, number: usize) -> Running {
    fs::create_dir_all(dir.join("fail2ban/filter.d")).unwrap();
    fs::write(dir.join("sshd.log"), "").unwrap();
    let jail = format!(
        "[sshd]\nenabled = true\nfilter = sshd-file\nlogpath = {}\nmaxretry = 3\nfindtime = 600\n\
         bantime = 600\nbackend = auto\naction = nftables-allports\n",
        dir.join("sshd.log").display()
    );
    fs::write(dir.join("fail2ban/jail.conf"), jail).unwrap();
    let actions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/action.d");
    let mut copy = Command::new("cp");
    assert!(copy.arg("-r").arg(actions).arg(dir.join("fail2ban")).status().unwrap().success());
    // What `sshd -E` writes bears no prefix of syslog.
    let filter = "[Definition]\nfailregex = ^Failed password for .* from <HOST> port \\d+ ssh2$\n";
    fs::write(dir.join("fail2ban/filter.d/sshd-file.conf"), filter).unwrap();
    let key = dir.join("hub.key");
    fs::write(&key, hub.key(&format!("host-{number}"))).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[misp.hub]\nurl = \"http://{HUB}\"\nkey_file = \"{}\"\n\n[share]\nsite = \"host-{number}\"\n\n\
         [blocklist]\ntrusted_false_positives = [\"hub\"]\n",
        key.display()
    );
    fs::write(dir.join("config.toml"), config).unwrap();
    let log = File::create(dir.join("log")).unwrap();
    let host = Running::start(
        network
            .inside(number, BINARY)
            .args(folders(dir))
            .arg("--fail2ban-dir")
            .arg(dir.join("fail2ban"))
            .arg("run")
            .stderr(log),
    );
    wait_for("guard to answer", || {
        let ping = Command::new(BINARY).args(folders(dir)).arg("ping").output().unwrap();
        ping.status.success().then_some(())
    });
    host
}

fn folders(dir: &Path) -> [PathBuf; 6] {
    let option = |name: &str, below: &str| [PathBuf::from(name), dir.join(below)];
    let [[a, b], [c, d], [e, f]] =
        [option("--config", "config.toml"), option("--state", "state"), option("--runtime", "run")];
    [a, b, c, d, e, f]
}

/// Tries to log in to the first host with three wrong passwords.
fn guess_passwords(network: &Network, dir: &Path, address: &str) {
    let mut ssh = network.inside(ATTACKER, "ssh");
    ssh.args(["-b", address, "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=2"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "NumberOfPasswordPrompts=3"])
        .args(["-o", "PreferredAuthentications=password", "-F", "none"])
        .args([&format!("root@{}", HOSTS[0]), "true"])
        .env("SSH_ASKPASS", dir.join("askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(Stdio::null());
    assert!(!ssh.output().unwrap().status.success());
}

#[test]
fn what_one_machine_saw_keeps_the_attacker_out_of_all_others() {
    for tool in ["ip", "nft", "sshd", "ssh"] {
        if !has(tool) {
            return skip(&format!("`{tool}` is not installed"));
        }
    }
    if !rustix::process::geteuid().is_root() {
        return skip("only root may make network namespaces");
    }
    let temp = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..3).map(|number| temp.path().join(number.to_string())).collect();
    let _shown: Vec<_> = dirs.iter().map(|dir| ShownOnFailure(dir.join("log"))).collect();
    let network = Network::new();
    let mut hub = Hub::start(&network, temp.path().join("hub"));
    let _hosts: Vec<_> =
        dirs.iter().enumerate().map(|(n, dir)| start_host(&network, &hub, dir, n)).collect();
    let _sshd = start_sshd(network.inside(0, "unshare"), HOSTS[0], &dirs[0]);
    for dir in &dirs {
        wait_for("the hub's stream", || {
            let mut status = Command::new(BINARY);
            let said =
                status.args(folders(dir)).args(["status", "--json"]).output().unwrap().stdout;
            let said: Value = serde_json::from_slice(&said).ok()?;
            said["exchange"]["sources"][0]["pulled"].as_i64()
        });
    }
    let [first, second, third] = ATTACKERS;
    for host in 0..3 {
        assert!(network.reaches(host, first), "{host}");
    }

    // Whoever is banned on A is dropped on B and C within a second.
    guess_passwords(&network, &dirs[0], first);
    wait_within(Duration::from_secs(2), "the ban on A", || network.drops(0, first).then_some(()));
    let banned = Instant::now();
    for host in [1, 2] {
        wait_for("the block", || network.drops(host, first).then_some(()));
        println!("host {host} drops the attacker {:?} after the ban", banned.elapsed());
    }
    assert!(banned.elapsed() < Duration::from_secs(1), "{:?}", banned.elapsed());
    assert!(!network.reaches(1, first) && !network.reaches(2, first));
    assert!(network.reaches(1, second), "and nobody else");

    // A false positive at the hub frees everywhere.
    hub.deny(first);
    for host in 0..3 {
        wait_for("the freedom", || (!network.drops(host, first)).then_some(()));
        assert!(network.reaches(host, first), "{host}");
    }

    // With the hub down all three go on.
    guess_passwords(&network, &dirs[0], second);
    wait_for("the block", || network.drops(2, second).then_some(()));
    hub.stop();
    guess_passwords(&network, &dirs[0], third);
    wait_for("the ban on A", || network.drops(0, third).then_some(()));
    for host in 0..3 {
        assert!(network.drops(host, second), "{host} blocks whom it knows");
    }
    assert!(!network.drops(1, third));
    // And catch up.
    hub.run();
    for host in [1, 2] {
        wait_for("what was missed", || network.drops(host, third).then_some(()));
    }
    let address: IpAddr = third.parse().unwrap();
    let mut why = Command::new(BINARY);
    let why = why.args(folders(&dirs[1])).args(["blocklist", "why", &address.to_string()]);
    let said = String::from_utf8(why.output().unwrap().stdout).unwrap();
    assert!(said.contains("at hub: blocked until"), "{said}");
}
