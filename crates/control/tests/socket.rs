//! Both ends over a real socket: what a caller notices.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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
