//! Who is spared: whom a command ignores, and who is at a live session.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;
mod netns;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use guard::{Guard, Setup};
use host::{Host, eventually, stop};
use jail::config::{IgnoreCache, Jail};
use jiff::SignedDuration;
use rustix::net::{AddressFamily, SocketType};

#[test]
fn a_command_says_whom_to_ignore() {
    let host = Host::new();
    let asked = host.path("asked");
    let mut jail = host.jail("sshd");
    jail.filter.failregex = vec!["login of <F-USER>.*</F-USER> from <HOST> failed$".to_owned()];
    // What the log says is hostile, and only an argument here.
    jail.ignore_command = Some(format!(
        "echo <ip> >> {}; test <ip> = 203.0.113.7 || test \"<F-USER>\" = '$(exit 0)'",
        asked.display()
    ));
    jail.ignore_cache = Some(IgnoreCache {
        key: "<ip>".to_owned(),
        max_count: 100,
        max_time: SignedDuration::from_secs(600),
    });
    // A slow one delays its own jail alone.
    let slow = Jail { ignore_command: Some("sleep 1; exit 1".to_owned()), ..host.jail("slow") };
    host.write("sshd", "");
    host.write("slow", "");
    let guard = host.start(vec![jail, slow]);
    host.fail("slow", "203.0.113.9", 3);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
    let line = |user: &str, who: &str| format!("{now} login of {user} from {who} failed\n");
    host.write("sshd", &line("root", "203.0.113.7").repeat(5));
    host.write("sshd", &line("$(exit 0)", "203.0.113.8").repeat(5));
    host.write("sshd", &line("root", "203.0.113.1").repeat(3));
    host.bans(&[("sshd", "203.0.113.1")]);
    assert_eq!(host.client().jail_status("slow").unwrap().total_failed, 0);
    let asked = fs::read_to_string(asked).unwrap();
    assert_eq!(asked, "203.0.113.7\n203.0.113.8\n203.0.113.1\n", "once each: it is remembered");
    host.bans(&[("slow", "203.0.113.9"), ("sshd", "203.0.113.1")]);
    stop(guard);
}

/// A connection to port 22 of this host from an address of its own.
fn session(from: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:22").unwrap();
    let client = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    rustix::net::bind(&client, &from).unwrap();
    rustix::net::connect(&client, &listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client.into())
}

#[test]
fn nobody_locks_himself_out() {
    netns::within(|| {
        netns::ip("address add 203.0.113.50/32 dev lo");
        let _session = session("203.0.113.50");
        let host = Host::new();
        host.write("sshd", "");
        let jail = Jail { ignore_self: false, ..host.jail("sshd") };
        let setup = host.setup(vec![jail.clone()], host.memory.clone());
        let guard = Guard::start(Setup { protect_sessions: true, ..setup }).unwrap();
        let refused = |whom: &str| {
            let refusal = host.client().ban("sshd", &[whom.into()], false).unwrap_err();
            refusal.to_string()
        };
        let want =
            "203.0.113.50 would end a live session on port 22; `--force` bans it all the same";
        assert_eq!(refused("203.0.113.50"), want);
        assert!(refused("203.0.113.48/29").starts_with("203.0.113.48/29 would end"));
        host.fail("sshd", "203.0.113.50", 3);
        host.fail("sshd", "203.0.113.1", 3);
        host.bans(&[("sshd", "203.0.113.1")]);
        assert_eq!(host.client().ban("sshd", &["203.0.113.50".into()], true).unwrap(), 1);
        host.client().unban(None, None).unwrap();
        stop(guard);

        // Where it is not asked for, failures count for everybody.
        let guard = Guard::start(host.setup(vec![jail], host.memory.clone())).unwrap();
        host.fail("sshd", "203.0.113.50", 3);
        eventually("it is banned", || host.memory.bans().len() == 1);
        assert!(host.client().bans_since(0, 9, Duration::ZERO).unwrap().bans.len() >= 2);
        stop(guard);
    });
}
