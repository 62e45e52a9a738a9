//! Runs one script by the shell, for so long and no longer: here, or where somebody with other
//! rights does so for guard.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use control::ClientError;
use control::actions::{self, CommandEnded, RunCommand};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::words::chain;

/// What a command says of its failure is cut to this.
const MAX_SAID_BYTES: u64 = 2000;

/// How long its last words may take after the end of a command: they are in the pipe, and are only
/// to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(1);

/// A script with the values of its variables.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) text: String,
    variables: Vec<(String, String)>,
}

impl Script {
    /// Puts a variable into the script at this place.
    pub(super) fn variable(&mut self, name: String, value: String) {
        self.text.push('$');
        self.text.push_str(&name);
        if self.variables.iter().all(|(known, _)| *known != name) {
            self.variables.push((name, value));
        }
    }

    /// The values, in the order in which the shell gets them.
    pub(super) fn arguments(&self) -> Vec<&str> {
        self.variables.iter().map(|(_, value)| value.as_str()).collect()
    }

    /// The text, with its variables set from the arguments.
    fn whole(&self) -> String {
        let sets = self.variables.iter().enumerate();
        let sets: String = sets.map(|(n, (name, _))| format!("{name}=${{{n}}}\n")).collect();
        sets + &self.text
    }
}

/// Who runs scripts and resolves names.
#[derive(Clone, Debug)]
pub(crate) enum Shell {
    /// Guard itself.
    Here,
    /// The role `actions`, which listens at this socket.
    At(PathBuf),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The shell could not be started.
    #[error("the shell does not start")]
    Start(#[from] io::Error),
    /// The role `actions` could not be asked.
    #[error("it was not run; does fail2misp-actions.service run?")]
    Unasked(#[from] ClientError),
    /// It took too long and was ended.
    #[error("it took longer than {} s and was ended; give the action a longer `timeout`", .0.as_secs())]
    Late(Duration),
    /// It ended with a failure.
    #[error("{how}{}", after_colon(.said))]
    Ended {
        /// How it ended.
        how: String,
        /// What it returned, unless a signal ended it.
        code: Option<i32>,
        /// What it said, if anything.
        said: String,
    },
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Shell {
    /// Runs `script` for at most `timeout`.
    pub(super) fn run(&self, script: &Script, timeout: Duration) -> Result<(), Fault> {
        let (text, arguments) = (script.whole(), script.arguments());
        match self {
            Self::Here => run(&text, &arguments, timeout),
            Self::At(socket) => ask(socket, text, &arguments, timeout),
        }
    }
}

/// Has the role `actions` run a script.
fn ask(socket: &Path, script: String, arguments: &[&str], timeout: Duration) -> Result<(), Fault> {
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let arguments = arguments.iter().map(|&it| it.to_owned()).collect();
    match actions::run(socket, RunCommand { script, arguments, timeout_ms })? {
        CommandEnded::Done => Ok(()),
        CommandEnded::Late => Err(Fault::Late(timeout)),
        CommandEnded::Failed { how, code, said } => Err(Fault::Ended { how, code, said }),
        CommandEnded::NotStarted(why) => Err(Fault::Start(io::Error::other(why))),
    }
}

/// Runs a script for whoever asks the role `actions`.
pub(super) fn answer(command: &RunCommand) -> CommandEnded {
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    let timeout = Duration::from_millis(command.timeout_ms);
    match run(&command.script, &arguments, timeout) {
        Ok(()) => CommandEnded::Done,
        Err(Fault::Late(_)) => CommandEnded::Late,
        Err(Fault::Ended { how, code, said }) => CommandEnded::Failed { how, code, said },
        Err(fault) => CommandEnded::NotStarted(chain(&fault)),
    }
}

/// Runs a script here for at most `timeout`.
fn run(script: &str, arguments: &[&str], timeout: Duration) -> Result<(), Fault> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let words = Words::of(child.stderr.take());
    match wait(&mut child, timeout)? {
        None => Err(Fault::Late(timeout)),
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("it returned {code}"),
                (None, signal) => format!("it was ended by signal {}", signal.unwrap_or(0)),
            };
            Err(Fault::Ended { how, code: status.code(), said: words.heard() })
        }
    }
}

/// Waits for the end; `None` where it took too long and was made to end.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let end_within = |patience: Duration| -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            let rest = Timespec::try_from(patience.saturating_sub(begun.elapsed()));
            let rest = rest.map_err(io::Error::other)?;
            let mut ready = [PollFd::new(&ended, PollFlags::IN)];
            match rustix::event::poll(&mut ready, Some(&rest)) {
                Ok(n_ready) => return Ok(n_ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    if end_within(timeout)? {
        return child.wait().map(Some);
    }
    // With everything it started; what of that is gone already needs no signal.
    let _ = rustix::process::kill_process_group(pid, Signal::TERM);
    if !end_within(GRACE)? {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    child.wait()?;
    Ok(None)
}

/// What a command says, read by a thread of its own: what it started may hold the pipe for longer
/// than it runs.
struct Words {
    said: Arc<Mutex<Vec<u8>>>,
    /// Hangs up once nobody says anything more.
    end: Receiver<()>,
}

impl Words {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (speaking, end) = channel();
        if let Some(mut stderr) = stderr {
            let heard = Arc::clone(&said);
            // Without a thread nothing is heard; the command runs all the same.
            drop(thread::Builder::new().name("guard-action-words".to_owned()).spawn(move || {
                let _speaking = speaking;
                let mut part = [0; 512];
                while let Ok(n @ 1..) = stderr.read(&mut part) {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = (MAX_SAID_BYTES as usize).saturating_sub(heard.len());
                    heard.extend_from_slice(&part[..n.min(room)]);
                }
            }));
        }
        Self { said, end }
    }

    /// What a command that has ended said.
    fn heard(&self) -> String {
        // Whoever still has the pipe may say more; it is not waited for.
        let _ = self.end.recv_timeout(LAST_WORDS);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).trim().replace('\n', "; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, variables: &[(&str, &str)], want: &str) {
        let mut script = Script { text: text.to_owned(), variables: Vec::new() };
        for (name, value) in variables {
            script.variables.push(((*name).to_owned(), (*value).to_owned()));
        }
        let outcome = Shell::Here.run(&script, Duration::from_millis(300));
        let got = outcome.map_or_else(|fault| fault.to_string(), |()| "done".to_owned());
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn runs_and_tells_how_it_ended() {
        check("true", &[], "done");
        check("test \"$f2bV_a\" = '$(exit 3)`\"'", &[("f2bV_a", "$(exit 3)`\"")], "done");
        check("exit 7", &[], "it returned 7");
        check("echo gone >&2; exit 7", &[], "it returned 7: gone");
        check("kill -9 $$", &[], "it was ended by signal 9");
        check(
            "sleep 60 & sleep 60",
            &[],
            "it took longer than 0 s and was ended; give the action a longer `timeout`",
        );
        // What it leaves behind does not hold us.
        check("sleep 60 >&2 & true", &[], "done");
    }

    #[test]
    fn ten_variables_are_ten_arguments() {
        let variables: Vec<(String, String)> =
            (0..12).map(|n| (format!("f2bV_v{n}"), format!("value {n}"))).collect();
        let text = "test \"$f2bV_v11\" = 'value 11' && test \"$f2bV_v1\" = 'value 1'".to_owned();
        let outcome = Shell::Here.run(&Script { text, variables }, Duration::from_secs(10));
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}
