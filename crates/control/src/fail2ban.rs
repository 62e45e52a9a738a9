//! fail2ban-client's commands: words, what guard is asked for them, and the value that fail2ban's
//! server would answer.
//!
//! The commands and values are those of fail2ban 1.0, `server/transmitter.py`, with `status --all`
//! and `stats` of 1.1.

use jail::Subject;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::config::{ConfigRequest, JailChange, JailOption, Reload, ServerOption};
use crate::guard::{GuardAnswer, GuardRequest, GuardStatus, JailStatus, StandingBan};

/// The release of fail2ban whose commands these are.
pub const RELEASE: &str = "1.0.2";

/// What fail2ban shows as the end of a ban that has none.
const NO_END: &str = "9999-12-31 23:59:59";

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E> {
    /// There is no such command, or a word of it is missing.
    #[error("there is no command `{0}`, or a word of it is missing; `fail2misp --help` lists them")]
    Unknown(String),
    /// A word of it is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Guard answered something else: the two ends are of different releases.
    #[error("the daemon answered something else than was asked; restart it after an upgrade")]
    Unexpected,
    /// Guard refused, or could not be asked.
    #[error(transparent)]
    Asked(#[from] E),
}

/// Asks guard for what the command `words` is about, and returns what fail2ban would answer.
///
/// # Errors
///
/// When it is no command, or guard refuses.
pub fn answer<E>(
    words: &[&str],
    ask: impl FnMut(&GuardRequest) -> Result<GuardAnswer, E>,
) -> Result<Value, CommandError<E>> {
    Guard { ask }.answer(words).map_err(|error| match error {
        CommandError::Unknown(_) => unknown(words),
        error => error,
    })
}

/// Guard, asked one thing after the other.
struct Guard<A> {
    ask: A,
}

impl<A, E> Guard<A>
where
    A: FnMut(&GuardRequest) -> Result<GuardAnswer, E>,
{
    fn answer(&mut self, words: &[&str]) -> Result<Value, CommandError<E>> {
        match words {
            ["ping", ..] => self.ask(&GuardRequest::Ping).map(|_| "pong".into()),
            ["version"] => Ok(RELEASE.into()),
            ["server-status"] => self.ask(&GuardRequest::Ping).map(|_| "Server ready".into()),
            ["echo", rest @ ..] => Ok(json!(rest)),
            ["status"] => self.status().map(|it| tree(&it)),
            ["status", "--all"] => self.all_status("basic"),
            ["status", "--all", flavor] => self.all_status(flavor),
            ["status", jail] => self.jail_status(jail, "basic"),
            ["status", jail, flavor] => self.jail_status(jail, flavor),
            ["stats" | "statistics"] => self.all_status("stats"),
            ["banned"] => self.banned_by_jail(),
            ["banned", subjects @ ..] => self.jails_of(subjects),
            ["unban", "--all"] => self.unban(None, None),
            ["unban", subjects @ ..] if !subjects.is_empty() => self.unban(None, Some(subjects)),
            ["reload", options @ ..] => self.reload(options, Reload::default()),
            ["restart", options @ ..] => {
                self.reload(options, Reload { restart: true, ..Reload::default() })
            }
            ["start", jail] => {
                // One that is there runs; as there, it is awake afterwards.
                let (jail, change) = ((*jail).to_owned(), JailChange::Idle(false));
                self.config(ConfigRequest::Set { jail, change }).map(|_| Value::Null)
            }
            ["stop"] => self.config(ConfigRequest::Stop),
            ["stop", "--all"] => self.config(ConfigRequest::StopJail { jail: None }),
            ["stop", jail] => {
                self.config(ConfigRequest::StopJail { jail: Some((*jail).to_owned()) })
            }
            ["flushlogs"] => self.config(ConfigRequest::FlushLogs),
            ["get", option] if server_option(option).is_some() => {
                let option = server_option(option).ok_or_else(|| unknown(words))?;
                self.config(ConfigRequest::GetServer { option })
            }
            ["set", option, value] if server_option(option).is_some() => {
                let option = server_option(option).ok_or_else(|| unknown(words))?;
                self.config(ConfigRequest::SetServer { option, value: (*value).to_owned() })
            }
            ["get", jail, rest @ ..] => self.get(jail, rest),
            ["set", jail, rest @ ..] => self.set(jail, rest),
            _ => Err(unknown(words)),
        }
    }

    fn get(&mut self, jail: &str, words: &[&str]) -> Result<Value, CommandError<E>> {
        match words {
            ["banip", "--with-time"] => {
                Ok(by_end(self.standing(jail)?).iter().map(with_time).collect())
            }
            ["banip", ..] => Ok(subjects(&by_end(self.standing(jail)?))),
            ["banned"] => Ok(subjects(&self.standing(jail)?)),
            ["banned", asked @ ..] => {
                let standing = self.standing(jail)?;
                let is_banned = |word: &&str| {
                    let subject = Subject::from(*word);
                    u8::from(standing.iter().any(|it| it.subject == subject))
                };
                Ok(match asked.iter().map(is_banned).collect::<Vec<_>>().as_slice() {
                    [one] => json!(one),
                    all => json!(all),
                })
            }
            words => {
                let option = jail_option(words).ok_or_else(|| unknown(words))?;
                self.config(ConfigRequest::Get { jail: jail.to_owned(), option })
            }
        }
    }

    fn set(&mut self, jail: &str, words: &[&str]) -> Result<Value, CommandError<E>> {
        let jail = jail.to_owned();
        match words {
            ["banip", whom @ ..] => {
                let (subjects, force) = (read(whom), false);
                self.changed(&GuardRequest::Ban { jail, subjects, force })
            }
            ["unbanip", "--report-absent", whom @ ..] if !whom.is_empty() => {
                let standing = self.standing(&jail)?;
                let absent = |it: &&&str| !standing.iter().any(|ban| lies_in(&ban.subject, it));
                let absent: Vec<_> = whom.iter().filter(absent).collect();
                let lifted = self.unban(Some(jail), Some(whom))?;
                match absent.is_empty() {
                    true => Ok(lifted),
                    false => {
                        let named: Vec<_> = absent.iter().map(|it| format!("'{it}'")).collect();
                        Err(CommandError::Wrong(format!("not banned: [{}]", named.join(", "))))
                    }
                }
            }
            ["unbanip", whom @ ..] if !whom.is_empty() => self.unban(Some(jail), Some(whom)),
            ["addaction", name] => {
                let change = JailChange::AddAction((*name).to_owned());
                self.config(ConfigRequest::Set { jail, change })?;
                Ok((*name).into())
            }
            ["delaction", name] => {
                let change = JailChange::DelAction((*name).to_owned());
                self.config(ConfigRequest::Set { jail, change }).map(|_| Value::Null)
            }
            ["attempt", whom, matches @ ..] => {
                let subject = Subject::from(*whom);
                let matches = matches.iter().map(|it| (*it).to_owned()).collect();
                self.ask(&GuardRequest::Attempt { jail, subject, matches })?;
                Ok(1.into())
            }
            words => {
                let change = jail_change(words).map_err(|fault| match fault {
                    None => unknown(words),
                    Some(why) => CommandError::Wrong(why),
                })?;
                self.config(ConfigRequest::Set { jail, change })
            }
        }
    }

    fn reload(&mut self, words: &[&str], mut how: Reload) -> Result<Value, CommandError<E>> {
        for word in words {
            match *word {
                "--restart" => how.restart = true,
                "--unban" => how.unban = true,
                "--if-exists" => how.if_exists = true,
                "--all" => {}
                jail if how.jail.is_none() && !jail.starts_with('-') => {
                    how.jail = Some(jail.to_owned());
                }
                odd => return Err(CommandError::Wrong(format!("`{odd}` is none of its options"))),
            }
        }
        self.config(ConfigRequest::Reload(how)).map(|_| "OK".into())
    }

    fn status(&mut self) -> Result<GuardStatus, CommandError<E>> {
        match self.ask(&GuardRequest::Status)? {
            GuardAnswer::Status(status) => Ok(status),
            _ => Err(CommandError::Unexpected),
        }
    }

    fn all_status(&mut self, flavor: &str) -> Result<Value, CommandError<E>> {
        let is_short = is_short(flavor).map_err(CommandError::Wrong)?;
        let status = self.status()?;
        let mut jails = Map::new();
        for jail in &status.jails {
            jails.insert(jail.jail.clone(), jail_tree(jail, is_short));
        }
        let Value::Array(mut all) = tree(&status) else { return Err(CommandError::Unexpected) };
        all.push(Value::Object(jails));
        Ok(Value::Array(all))
    }

    fn jail_status(&mut self, jail: &str, flavor: &str) -> Result<Value, CommandError<E>> {
        let is_short = is_short(flavor).map_err(CommandError::Wrong)?;
        match self.ask(&GuardRequest::JailStatus { jail: jail.to_owned() })? {
            GuardAnswer::JailStatus(it) => Ok(jail_tree(&it, is_short)),
            _ => Err(CommandError::Unexpected),
        }
    }

    /// The bans of a jail, in their order.
    fn standing(&mut self, jail: &str) -> Result<Vec<StandingBan>, CommandError<E>> {
        match self.ask(&GuardRequest::Standing { jail: jail.to_owned() })? {
            GuardAnswer::Standing(bans) => Ok(bans),
            _ => Err(CommandError::Unexpected),
        }
    }

    fn banned_by_jail(&mut self) -> Result<Value, CommandError<E>> {
        let jails = self.status()?.jails;
        Ok(jails.into_iter().map(|it| json!({ it.jail: it.banned })).collect())
    }

    fn jails_of(&mut self, words: &[&str]) -> Result<Value, CommandError<E>> {
        let jails = self.status()?.jails;
        let of = |word: &&str| {
            let subject = Subject::from(*word);
            let banned = jails.iter().filter(|it| it.banned.contains(&subject));
            banned.map(|it| it.jail.clone()).collect::<Value>()
        };
        Ok(words.iter().map(of).collect())
    }

    fn unban(
        &mut self,
        jail: Option<String>,
        whom: Option<&[&str]>,
    ) -> Result<Value, CommandError<E>> {
        self.changed(&GuardRequest::Unban { jail, subjects: whom.map(read) })
    }

    fn changed(&mut self, request: &GuardRequest) -> Result<Value, CommandError<E>> {
        match self.ask(request)? {
            GuardAnswer::Changed(n) => Ok(n.into()),
            _ => Err(CommandError::Unexpected),
        }
    }

    fn config(&mut self, request: ConfigRequest) -> Result<Value, CommandError<E>> {
        match self.ask(&GuardRequest::Config(request))? {
            GuardAnswer::Value(value) => Ok(value),
            GuardAnswer::Done => Ok(Value::Null),
            _ => Err(CommandError::Unexpected),
        }
    }

    fn ask(&mut self, request: &GuardRequest) -> Result<GuardAnswer, CommandError<E>> {
        Ok((self.ask)(request)?)
    }
}

fn unknown<E>(words: &[&str]) -> CommandError<E> {
    CommandError::Unknown(words.join(" "))
}

fn read(words: &[&str]) -> Vec<Subject> {
    words.iter().map(|word| Subject::from(*word)).collect()
}

fn server_option(name: &str) -> Option<ServerOption> {
    Some(match name {
        "loglevel" => ServerOption::LogLevel,
        "logtarget" => ServerOption::LogTarget,
        "syslogsocket" => ServerOption::SyslogSocket,
        "dbfile" => ServerOption::DbFile,
        "dbmaxmatches" => ServerOption::DbMaxMatches,
        "dbpurgeage" => ServerOption::DbPurgeAge,
        _ => return None,
    })
}

fn jail_option(words: &[&str]) -> Option<JailOption> {
    Some(match words {
        ["idle"] => JailOption::Idle,
        ["logpath"] => JailOption::LogPath,
        ["logencoding"] => JailOption::LogEncoding,
        ["journalmatch"] => JailOption::JournalMatch,
        ["ignoreself"] => JailOption::IgnoreSelf,
        ["ignoreip"] => JailOption::IgnoreIp,
        ["ignorecommand"] => JailOption::IgnoreCommand,
        ["ignorecache"] => JailOption::IgnoreCache,
        ["prefregex"] => JailOption::PrefRegex,
        ["failregex"] => JailOption::FailRegex,
        ["ignoreregex"] => JailOption::IgnoreRegex,
        ["datepattern"] => JailOption::DatePattern,
        ["usedns"] => JailOption::UseDns,
        ["logtimezone"] => JailOption::LogTimeZone,
        ["maxlines"] => JailOption::MaxLines,
        ["findtime"] => JailOption::FindTime,
        ["maxretry"] => JailOption::MaxRetry,
        ["maxmatches"] => JailOption::MaxMatches,
        ["bantime"] => JailOption::BanTime,
        ["actions"] => JailOption::Actions,
        ["actionproperties", name] => JailOption::ActionProperties((*name).to_owned()),
        ["action", name, property] => {
            JailOption::Action { name: (*name).to_owned(), property: (*property).to_owned() }
        }
        [extra] => JailOption::BanTimeExtra(extra.strip_prefix("bantime.")?.to_owned()),
        _ => return None,
    })
}

/// The change that words ask for; the fault is `None` where there is no such change, else it says
/// which value is no sound one.
fn jail_change(words: &[&str]) -> Result<JailChange, Option<String>> {
    let text = |word: &&str| (*word).to_owned();
    let all = |words: &[&str]| words.iter().map(text).collect::<Vec<_>>();
    Ok(match words {
        ["idle", "on"] => JailChange::Idle(true),
        ["idle", "off"] => JailChange::Idle(false),
        ["idle", ..] => {
            return Err(Some("Invalid idle option, must be 'on' or 'off'".to_owned()));
        }
        ["addlogpath", path] | ["addlogpath", path, "head"] => {
            JailChange::AddLogPath { path: text(path), from_end: false }
        }
        ["addlogpath", path, "tail"] => JailChange::AddLogPath { path: text(path), from_end: true },
        ["addlogpath", _, _] => {
            return Err(Some("File option must be 'head' or 'tail'".to_owned()));
        }
        ["dellogpath", path] => JailChange::DelLogPath(text(path)),
        ["logencoding", name] => JailChange::LogEncoding(text(name)),
        ["addjournalmatch", terms @ ..] => JailChange::AddJournalMatch(all(terms)),
        ["deljournalmatch", terms @ ..] => JailChange::DelJournalMatch(all(terms)),
        ["ignoreself", yes_or_no] => JailChange::IgnoreSelf(is_yes(yes_or_no)),
        ["addignoreip", words @ ..] if !words.is_empty() => JailChange::AddIgnoreIp(all(words)),
        ["delignoreip", word] => JailChange::DelIgnoreIp(text(word)),
        ["ignorecommand", command] => JailChange::IgnoreCommand(text(command)),
        ["ignorecache", options] => JailChange::IgnoreCache(text(options)),
        ["prefregex", expression] => JailChange::PrefRegex(text(expression)),
        ["addfailregex", expression] => JailChange::AddFailRegex(text(expression)),
        ["delfailregex", n] => JailChange::DelFailRegex(number(n)?),
        ["addignoreregex", expression] => JailChange::AddIgnoreRegex(text(expression)),
        ["delignoreregex", n] => JailChange::DelIgnoreRegex(number(n)?),
        ["datepattern", pattern] => JailChange::DatePattern(text(pattern)),
        ["usedns", word] => JailChange::UseDns(text(word)),
        ["logtimezone", zone] => JailChange::LogTimeZone(text(zone)),
        ["maxlines", n] => JailChange::MaxLines(number(n)?),
        ["findtime", time] => JailChange::FindTime(text(time)),
        ["maxretry", n] => JailChange::MaxRetry(number(n)?),
        ["maxmatches", n] => JailChange::MaxMatches(number(n)?),
        ["bantime", time] => JailChange::BanTime(text(time)),
        [extra, value] if extra.starts_with("bantime.") => JailChange::BanTimeExtra {
            option: extra["bantime.".len()..].to_owned(),
            value: text(value),
        },
        ["action", name, property, value] => {
            let (name, property) = (text(name), text(property));
            JailChange::Action { name, property, value: text(value) }
        }
        _ => return Err(None),
    })
}

/// fail2ban's reading of a yes or no: what is no yes is a no.
fn is_yes(word: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|yes| word.eq_ignore_ascii_case(yes))
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, Option<String>> {
    word.parse().map_err(|_| Some(format!("`{word}` is no whole number from 0")))
}

/// What `status` answers; fail2ban sorts the names.
pub fn tree(status: &GuardStatus) -> Value {
    let mut names: Vec<_> = status.jails.iter().map(|it| it.jail.as_str()).collect();
    names.sort_unstable();
    json!([["Number of jail", names.len()], ["Jail list", names.join(", ")]])
}

/// Which of the flavors of `status JAIL` a word names; fail2ban takes any other for `basic`.
fn is_short(flavor: &str) -> Result<bool, String> {
    match flavor {
        "cymru" => Err("the flavor `cymru` asks a third party about every address and is not \
                        there; use `basic`, `short` or `stats`"
            .to_owned()),
        flavor => Ok(matches!(flavor, "short" | "stats")),
    }
}

/// What `status JAIL` answers; a short one does not name who is banned.
pub fn jail_tree(status: &JailStatus, is_short: bool) -> Value {
    let sources = match status.journal_matches.is_empty() {
        true => json!(["File list", status.files]),
        false => json!(["Journal matches", status.journal_matches]),
    };
    let mut banned = vec![
        json!(["Currently banned", status.currently_banned]),
        json!(["Total banned", status.total_banned]),
    ];
    if !is_short {
        banned.push(json!(["Banned IP list", status.banned]));
    }
    json!([
        [
            "Filter",
            [
                ["Currently failed", status.currently_failed],
                ["Total failed", status.total_failed],
                sources
            ]
        ],
        ["Actions", banned]
    ])
}

fn subjects(bans: &[StandingBan]) -> Value {
    bans.iter().map(|ban| ban.subject.to_string()).collect()
}

/// The bans in the order of their ends.
fn by_end(mut bans: Vec<StandingBan>) -> Vec<StandingBan> {
    bans.sort_by_key(|ban| ban.bantime.after(ban.time).unwrap_or(Timestamp::MAX));
    bans
}

fn with_time(ban: &StandingBan) -> String {
    let zone = TimeZone::system();
    let local = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
    let end = ban.bantime.after(ban.time);
    let end = end.map_or_else(|| NO_END.to_owned(), |end| local(end).to_string());
    format!("{} \t{} + {} = {end}", ban.subject, local(ban.time), i64::from(ban.bantime))
}

/// Whether `banned` is what `word` says, or lies in the prefix that it is.
fn lies_in(banned: &Subject, word: &str) -> bool {
    match (Subject::from(word), banned) {
        (Subject::Net(net), Subject::Addr(addr)) => net.contains(addr),
        (Subject::Net(net), Subject::Net(inner)) => net.contains(inner),
        (asked, banned) => asked == *banned,
    }
}
