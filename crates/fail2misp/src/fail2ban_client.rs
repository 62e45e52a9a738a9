//! fail2ban-client's command line: the program called by that name, and its commands under ours.

pub(crate) mod text;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser as _;
use control::fail2ban::{self, CommandError};
use control::guard::GuardClient;
use control::{ClientError, Refusal};
use jail::config::duration;
use serde_json::Value;

use crate::check;
use crate::cli::{Cli, Format, Words};
use crate::exit::{Code, Failed, Outcome, escape};

/// The name that it is called by.
pub(crate) const NAME: &str = "fail2ban-client";

/// What fail2ban-client ends with where it failed.
const FAILED: u8 = 255;

/// Options that say how the server is started; whoever starts ours says it there.
const OF_THE_START: [&str; 5] =
    ["--loglevel", "--logtarget", "--syslogsocket", "--pname", "--timeout"];

/// fail2ban-client's options, as far as they mean anything here.
#[derive(Debug, Default, Eq, PartialEq)]
struct Options {
    /// `-c`
    configuration: Option<PathBuf>,
    /// `-s`
    socket: Option<PathBuf>,
    /// How much of `-v` beyond `-q`; below zero failures are not explained.
    verbosity: i32,
    /// What is done in place of a command.
    instead: Option<Instead>,
    /// The command.
    words: Vec<String>,
}

#[derive(Debug, Eq, PartialEq)]
enum Instead {
    Help,
    Version { short: bool },
    Test,
    Seconds(String),
}

/// What the program does when it is called by fail2ban-client's name.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>, out: &mut dyn Write) -> ExitCode {
    let arguments: Vec<_> = arguments.map(|it| it.to_string_lossy().into_owned()).collect();
    let outcome = Options::read(&arguments).map_err(Failed::usage).and_then(|it| {
        let is_quiet = it.verbosity < 0;
        it.carry_out(out)
            .map_err(|failed| (failed, is_quiet))
            .or_else(|(failed, is_quiet)| if is_quiet { Ok(Code::No) } else { Err(failed) })
    });
    match outcome {
        Ok(Code::Done) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(failed) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "{NAME}: {failed}");
            ExitCode::from(FAILED)
        }
    }
}

impl Options {
    /// Reads them as getopt(3) does: short ones may be joined, and the first word that is none ends
    /// them.
    fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" || argument == "-" || !argument.starts_with('-') {
                options.words.extend((argument != "--").then(|| argument.clone()));
                options.words.extend(rest.cloned());
                break;
            }
            let mut value = |name: &str, joined: Option<&str>| {
                let value = joined.map(str::to_owned).or_else(|| rest.next().cloned());
                value.ok_or_else(|| anyhow!("option `{name}` needs a value"))
            };
            if argument.starts_with("--") {
                let (name, joined) = match argument.split_once('=') {
                    Some((name, joined)) => (name, Some(joined)),
                    None => (argument.as_str(), None),
                };
                match name {
                    "--conf" => options.configuration = Some(value(name, joined)?.into()),
                    "--socket" => options.socket = Some(value(name, joined)?.into()),
                    "--str2sec" => options.instead = Some(Instead::Seconds(value(name, joined)?)),
                    "--help" => options.instead = Some(Instead::Help),
                    "--version" => options.instead = Some(Instead::Version { short: false }),
                    "--test" => options.instead = Some(Instead::Test),
                    "--pidfile" => _ = value(name, joined)?,
                    name if OF_THE_START.contains(&name) => _ = value(name, joined)?,
                    name => return Err(unknown(name)),
                }
                continue;
            }
            let letters = &argument[1..];
            for (at, letter) in letters.char_indices() {
                let joined = Some(&letters[at + letter.len_utf8()..]).filter(|it| !it.is_empty());
                match letter {
                    'c' => options.configuration = Some(value("-c", joined)?.into()),
                    's' => options.socket = Some(value("-s", joined)?.into()),
                    'p' => _ = value("-p", joined)?,
                    'v' => options.verbosity += 1,
                    'q' => options.verbosity -= 1,
                    'h' => options.instead = Some(Instead::Help),
                    'V' => options.instead = Some(Instead::Version { short: true }),
                    't' => options.instead = Some(Instead::Test),
                    // They say how a server is started.
                    'x' | 'b' | 'f' => {}
                    letter => return Err(unknown(&format!("-{letter}"))),
                }
                if matches!(letter, 'c' | 's' | 'p') {
                    break;
                }
            }
        }
        Ok(options)
    }

    fn carry_out(self, out: &mut dyn Write) -> Outcome {
        let mut arguments = vec!["fail2misp".into(), "ping".into()];
        if let Some(folder) = &self.configuration {
            arguments.extend(["--fail2ban-dir".into(), folder.clone().into_os_string()]);
        }
        // The folders are where our own options and environment say.
        let folders = Cli::parse_from(arguments).folders;
        let mut say = |text: &str| writeln!(out, "{text}").map_err(Failed::other_side);
        match &self.instead {
            Some(Instead::Help) => say(HELP)?,
            Some(Instead::Version { short: true }) => say(fail2ban::RELEASE)?,
            Some(Instead::Version { short: false }) => say(&format!(
                "fail2misp {} with the commands of Fail2Ban v{}",
                env!("CARGO_PKG_VERSION"),
                fail2ban::RELEASE
            ))?,
            Some(Instead::Seconds(text)) => say(&seconds(text).map_err(Failed::usage)?)?,
            Some(Instead::Test) => {
                let mut faults = Vec::new();
                if check::run(&folders, Format::human(), &mut faults)? != Code::Done {
                    say(String::from_utf8_lossy(&faults).trim_end())?;
                    return Ok(Code::No);
                }
                say("OK: configuration test is successful")?;
            }
            None if self.words.is_empty() => {
                say(HELP)?;
                return Ok(Code::No);
            }
            None => {
                let socket = self.socket.clone().unwrap_or_else(|| folders.guard_socket());
                let words: Vec<_> = self.words.iter().map(String::as_str).collect();
                let guard = GuardClient::connect(&socket).map_err(Failed::other_side)?;
                match ask(guard, &words) {
                    Ok(value) => say(&text::of(&words, &value))?,
                    Err(error) => {
                        // Scripts read the reason there, too.
                        let text = in_its_words(&error);
                        if !text.is_empty() {
                            say(&text)?;
                        }
                        return Err(failed(&error));
                    }
                }
            }
        }
        Ok(Code::Done)
    }
}

fn unknown(option: &str) -> anyhow::Error {
    anyhow!(
        "option `{option}` has no meaning here; `{NAME} -h` lists those that have, and `fail2misp \
         check` reads the configuration"
    )
}

/// Why one of the commands has no answer.
type Error = CommandError<ClientError>;

/// Carries out one of fail2ban-client's commands.
fn ask(mut guard: GuardClient, words: &[&str]) -> Result<Value, Error> {
    match words {
        ["start"] => Err(CommandError::Wrong(
            "the daemon runs already; it is started by `fail2misp run`, or by its unit".to_owned(),
        )),
        ["stop"] => Ok(guard.stop().map(|()| Value::Null)?),
        words => fail2ban::answer(words, |request| guard.ask(request)),
    }
}

/// What fail2ban-client prints where a command fails; nothing where it was not even asked.
fn in_its_words(error: &Error) -> String {
    match error {
        CommandError::Asked(ClientError::Refused(Refusal::NoJail(jail))) => {
            format!("Sorry but the jail '{}' does not exist", escape(jail))
        }
        CommandError::Unknown(_) => "Sorry but the command is invalid".to_owned(),
        CommandError::Wrong(why) => escape(why),
        CommandError::Asked(ClientError::Refused(refusal)) => escape(&refusal.to_string()),
        CommandError::Unexpected | CommandError::Asked(_) => String::new(),
    }
}

fn failed(error: &Error) -> Failed {
    let why = anyhow!(error.to_string());
    match error {
        CommandError::Unknown(_) | CommandError::Wrong(_) => Failed::usage(why),
        CommandError::Unexpected | CommandError::Asked(_) => Failed::other_side(why),
    }
}

/// One of those commands under our own name: `get`, `set`, `stop` and so on.
pub(crate) fn run(guard: GuardClient, verb: &str, args: &Words, out: &mut dyn Write) -> Outcome {
    let words: Vec<_> = [verb].into_iter().chain(args.words.iter().map(String::as_str)).collect();
    let value = ask(guard, &words).map_err(|error| failed(&error))?;
    let text = if args.format.is_json() { value.to_string() } else { text::of(&words, &value) };
    writeln!(out, "{text}").map_err(Failed::other_side)?;
    Ok(Code::Done)
}

/// `--str2sec`: a time in seconds.
fn seconds(text: &str) -> anyhow::Result<String> {
    let seconds =
        duration::seconds(text).map_err(|error| anyhow!("`{text}` is no time: {error}"))?;
    Ok(Value::from(seconds).to_string().trim_end_matches(".0").to_owned())
}

const HELP: &str = "\
Usage: fail2ban-client [OPTIONS] <COMMAND>

Asks fail2misp's daemon, with fail2ban-client's commands.

Options:
    -c, --conf <DIR>      fail2ban's configuration, for -t
    -s, --socket <FILE>   where the daemon answers
    -t, --test            tries the configuration out
    -v, -q                says more, or nothing of failures
    --str2sec <TIME>      a time in seconds
    -h, --help            this text
    -V, --version         the release; -V the one of fail2ban whose commands these are

Commands:
    ping, version, status [JAIL [basic|short|stats]], status --all, stats, banned [IP…], flushlogs
    reload [--restart] [--unban] [--if-exists] [JAIL], restart JAIL, start JAIL, stop JAIL
    unban --all | IP…, stop
    get loglevel | logtarget | syslogsocket | dbfile | dbmaxmatches | dbpurgeage
    set loglevel LEVEL | logtarget TARGET
    get JAIL banip [SEPARATOR|--with-time] | banned [IP…] | OPTION
    set JAIL banip IP… | unbanip [--report-absent] IP… | attempt IP [LINE…] | idle on|off
    set JAIL addignoreip IP… | delignoreip IP | addlogpath FILE [tail] | dellogpath FILE
    set JAIL addfailregex REGEX | delfailregex N | addignoreregex REGEX | delignoreregex N
    set JAIL addjournalmatch TERMS | deljournalmatch [TERMS]
    set JAIL addaction ACTION | delaction ACTION | action ACTION OPTION VALUE
    set JAIL OPTION VALUE

Options of a jail: bantime, findtime, maxretry, maxmatches, maxlines, usedns, ignoreself, ignoreip,
    ignorecommand, ignorecache, logpath, logencoding, logtimezone, journalmatch, prefregex, failregex,
    ignoreregex, datepattern, actions, actionproperties ACTION, action ACTION OPTION, bantime.OPTION";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    fn read(line: &str) -> anyhow::Result<Options> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Options::read(&words)
    }

    #[test]
    fn options_are_read_as_getopt_reads_them() {
        let options = read("-vqq -s/run/x --conf=/etc/f -x get sshd banip -v").unwrap();
        assert_eq!(options.socket, Some("/run/x".into()));
        assert_eq!(options.configuration, Some("/etc/f".into()));
        assert_eq!(options.verbosity, -1);
        assert_eq!(options.words, ["get", "sshd", "banip", "-v"]);
        let options = read("--str2sec 1d12h").unwrap();
        assert_eq!(options.instead, Some(Instead::Seconds("1d12h".into())));
        assert!(read("-d").unwrap_err().to_string().contains("fail2misp check"));
        assert!(read("-i").is_err());
        assert!(read("-s").is_err());
    }
}
