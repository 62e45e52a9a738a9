//! Both ends over a real socket: what a caller notices.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use control::config::{ConfigRequest, JailChange, JailOption, Reload};
use control::guard::{GuardAnswer, GuardClient, GuardRequest};
use control::{Accounts, ClientError, Refusal, Server, ServerError};

fn listen(path: &Path, accounts: Accounts) -> Result<Server, ServerError> {
    Server::listen(path, accounts, |_caller, request| match request {
        GuardRequest::Ping => Ok(GuardAnswer::Pong),
        GuardRequest::JailStatus { jail } => Err(Refusal::NoJail(jail)),
        _ => Err(Refusal::Failed("nothing but ping is answered here".into())),
    })
}

fn host() -> Accounts {
    Accounts::of_host().unwrap()
}

#[test]
fn asks_and_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard/control.sock");
    let server = listen(&path, host()).unwrap();
    let mut client = GuardClient::connect(server.path()).unwrap();
    client.ping().unwrap();
    let refusal = client.jail_status("nosuch").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "there is no jail `nosuch`; `fail2misp status` lists the jails"
    );
    client.ping().unwrap(); // a refusal does not end the conversation
}

#[test]
fn says_that_no_daemon_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let error = GuardClient::connect(&path).unwrap_err();
    let want = format!("no daemon answers at `{}`; start it with `fail2misp run`", path.display());
    assert_eq!(error.to_string(), want);

    drop(UnixListener::bind(&path).unwrap()); // as a killed daemon leaves it
    let error = GuardClient::connect(&path).unwrap_err();
    assert_eq!(error.to_string(), want);
}

#[test]
fn replaces_a_dead_socket_and_never_a_live_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    let server = listen(&path, host()).unwrap();
    assert!(matches!(listen(&path, host()), Err(ServerError::Taken { .. })));
    GuardClient::connect(&path).unwrap().ping().unwrap();
    drop(server);
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(listen(&path, host()), Err(ServerError::NotASocket { .. })));
}

#[test]
fn garbage_is_answered_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = listen(&path, host()).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    let mut line = String::new();
    stream.write_all(b"\xff\x00 not json\n{\"ask\":\"ping\"}\n").unwrap();
    let mut answers = BufReader::new(stream);
    answers.read_line(&mut line).unwrap();
    assert!(line.contains("not_understood"), "{line}");
    line.clear();
    answers.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"done\":\"pong\"}\n");
    drop(server);
}

#[test]
fn too_many_connections_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = listen(&path, host()).unwrap();
    let mut seated = Vec::new();
    let refused = loop {
        let mut client = GuardClient::connect(&path).unwrap();
        match client.ping() {
            Ok(()) => seated.push(client),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ClientError::Refused(Refusal::Busy)), "{refused:?}");
    assert_eq!(seated.len(), 64);
    for client in &mut seated {
        client.ping().unwrap();
    }
}

/// What guard answers to `requests` of a user of this number; only root can become somebody else.
fn asked_as(uid: u32, path: &Path, requests: Vec<GuardRequest>) -> Vec<Result<(), ClientError>> {
    let path = path.to_owned();
    let asking = std::thread::spawn(move || {
        // The thread alone, and for good.
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
        let mut client = GuardClient::connect(&path).unwrap();
        requests.iter().map(|it| client.ask(it).map(drop)).collect()
    });
    asking.join().unwrap()
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn exchange_and_decoys_can_change_nothing_that_matters() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can become another user");
        println!("skipped: only root can become another user");
        return;
    }
    const EXCHANGE: u32 = 64_001;
    const DECOY: u32 = 64_002;
    const NOBODY: u32 = 64_003;
    let passwd = format!("fail2misp:x:{EXCHANGE}:1::/:\nfail2misp-decoy:x:{DECOY}:1::/:\n");
    let folder = tempfile::tempdir().unwrap();
    open_to_all(folder.path());
    let path = folder.path().join("control.sock");
    let accounts = Accounts::from_files(0, &passwd, "");
    let _server =
        Server::listen(&path, accounts, |_, _: GuardRequest| Ok(GuardAnswer::Done)).unwrap();

    let set = |change| GuardRequest::Config(ConfigRequest::Set { jail: "sshd".to_owned(), change });
    let action = JailChange::Action {
        name: "note".to_owned(),
        property: "actionban".to_owned(),
        value: "reboot".to_owned(),
    };
    let all = || vec!["192.0.2.1".into()];
    let forbidden = || {
        vec![
            set(JailChange::AddIgnoreIp(vec!["0.0.0.0/0".to_owned()])),
            set(JailChange::DelIgnoreIp("192.0.2.1".to_owned())),
            set(JailChange::IgnoreCommand("true".to_owned())),
            set(action.clone()),
            set(JailChange::MaxRetry(0)),
            GuardRequest::Config(ConfigRequest::Reload(Reload::default())),
            GuardRequest::Config(ConfigRequest::StopJail { jail: None }),
            GuardRequest::Config(ConfigRequest::Get {
                jail: "sshd".to_owned(),
                option: JailOption::IgnoreIp,
            }),
            GuardRequest::Config(ConfigRequest::FlushLogs),
            GuardRequest::Ban { jail: "sshd".to_owned(), subjects: all(), force: true },
            GuardRequest::Unban { jail: None, subjects: None },
            GuardRequest::Attempt {
                jail: "sshd".to_owned(),
                subject: "192.0.2.1".into(),
                matches: Vec::new(),
            },
            GuardRequest::Status,
            GuardRequest::Standing { jail: "sshd".to_owned() },
        ]
    };
    for uid in [EXCHANGE, DECOY] {
        for (request, answer) in forbidden().iter().zip(asked_as(uid, &path, forbidden())) {
            let refused = matches!(answer, Err(ClientError::Refused(Refusal::NotAllowed)));
            assert!(refused, "{uid} {request:?}: {answer:?}");
        }
    }
    let bans = GuardRequest::BansSince { after: 0, limit: 9, wait_ms: 0 };
    let reached = GuardRequest::Reached { log: "x".to_owned(), number: 1 };
    let net = "192.0.2.1/32".parse().unwrap();
    let mistake = GuardRequest::FalsePositive { net, who: "CERT".to_owned() };
    let answers = asked_as(EXCHANGE, &path, vec![bans.clone(), reached, mistake.clone()]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(asked_as(DECOY, &path, vec![bans, mistake]).iter().all(Result::is_err));
    let ping = asked_as(NOBODY, &path, vec![GuardRequest::Ping]);
    assert!(matches!(ping[0], Err(ClientError::Refused(Refusal::NotAllowed))), "{ping:?}");
}
