//! The tags that only the moment of a ban knows: `<ip>`, `<matches>` and their kin.
//!
//! They are replaced once, never again in what was put in. A value that a shell could misread
//! becomes a variable of the script, and travels as an argument.

use std::net::IpAddr;

use jail::{Ban, BanTime, Failure, Subject};
use jiff::Timestamp;

use super::shell::{Script, Shell};

/// Any of these in a value makes it an argument; the list is fail2ban's.
const MISREAD: &[char] = &[
    '\\', '#', '&', ';', '`', '|', '*', '?', '~', '<', '>', '^', '(', ')', '[', ']', '{', '}', '$',
    '\'', '"', '\n', '\r',
];

/// What is known when a command runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment<'a> {
    pub(super) family: &'a str,
    /// Whom it is about; `None` where an action is started, checked or stopped.
    pub(super) about: Option<About<'a>>,
    pub(super) counts: Counts,
}

/// Somebody who failed or is banned.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) subject: &'a Subject,
    pub(super) n_failures: u32,
    /// When the last failure was.
    pub(super) time: Timestamp,
    /// How long he is banned, the how many-th time, and whether in an earlier life already.
    pub(super) ban: Option<(BanTime, u32, bool)>,
    pub(super) matches: &'a [String],
    pub(super) fields: &'a [(String, String)],
}

/// How many there are in a jail, for actions that ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) n_banned: u64,
    pub(crate) total_banned: u64,
    pub(crate) n_failed: u64,
    pub(crate) total_failed: u64,
}

impl<'a> About<'a> {
    pub(super) fn ban(ban: &'a Ban, n_bans: u32, restored: bool) -> Self {
        Self {
            subject: &ban.subject,
            n_failures: ban.n_failures,
            time: ban.last_failure,
            ban: Some((ban.bantime, n_bans, restored)),
            matches: &ban.matches,
            fields: &ban.fields,
        }
    }

    pub(super) fn failure(failure: &'a Failure) -> Self {
        Self {
            subject: &failure.subject,
            n_failures: failure.n_attempts,
            time: failure.time,
            ban: None,
            matches: &failure.matches,
            fields: &failure.fields,
        }
    }

    /// The value of a tag; `None` where it is none of these.
    fn value(&self, tag: &str, shell: &Shell) -> Option<String> {
        let of_ban = |value: fn((BanTime, u32, bool)) -> i64| self.ban.map_or(0, value).to_string();
        Some(match tag {
            "ip" | "fid" => self.subject.to_string(),
            "ip-rev" => reversed(self.subject),
            "ip-host" => match self.subject {
                // fail2ban's word for an address without a name.
                Subject::Addr(addr) => {
                    shell.name_of(&addr.to_string()).unwrap_or_else(|| "None".to_owned())
                }
                Subject::Net(_) | Subject::Id(_) => String::new(),
            },
            "failures" | "ipfailures" | "ipjailfailures" => self.n_failures.to_string(),
            "time" => self.time.as_second().to_string(),
            "bantime" => of_ban(|(time, ..)| time.into()),
            "bancount" => of_ban(|(_, n_bans, _)| n_bans.into()),
            "restored" => of_ban(|(.., restored)| restored.into()),
            "matches" | "ipmatches" | "ipjailmatches" => self.matches.join("\n"),
            tag => {
                let name = tag.strip_prefix("F-")?.to_lowercase();
                let found = self.fields.iter().find(|(field, _)| *field == name);
                found.map(|(_, text)| text.clone())?
            }
        })
    }
}

impl Moment<'_> {
    /// An action is started, checked or stopped.
    pub(super) fn of_family(family: &str) -> Moment<'_> {
        Moment { family, ..Moment::default() }
    }

    /// The value of a tag; `None` where it is none of ours.
    fn value(&self, tag: &str, shell: &Shell) -> Option<String> {
        if let Some(value) = self.about.and_then(|it| it.value(tag, shell)) {
            return Some(value);
        }
        let Counts { n_banned, total_banned, n_failed, total_failed } = self.counts;
        Some(match tag {
            "family" => self.family.to_owned(),
            "br" => "\n".to_owned(),
            "sp" => " ".to_owned(),
            "fq-hostname" => own_name(shell),
            "sh-hostname" => own_name(shell).split('.').next().unwrap_or_default().to_owned(),
            "jail.banned" => n_banned.to_string(),
            "jail.banned_total" => total_banned.to_string(),
            "jail.found" => n_failed.to_string(),
            "jail.found_total" => total_failed.to_string(),
            // What no filter caught is empty.
            _ if tag.starts_with("F-") => String::new(),
            _ => return None,
        })
    }
}

/// The script of a command in this moment.
pub(super) fn fill(text: &str, moment: &Moment<'_>, shell: &Shell) -> Script {
    let mut script = Script::default();
    let mut rest = text;
    while let Some((before, tag, after)) = next_tag(rest) {
        script.text.push_str(before);
        // No argument can hold a NUL; a line of a log can.
        match moment.value(tag, shell).map(|it| it.replace('\0', "\u{fffd}")) {
            // br and sp are the action's own text.
            Some(value) if !value.contains(MISREAD) || tag == "br" => script.text.push_str(&value),
            Some(value) => {
                let name: String = tag
                    .chars()
                    .map(|it| if it.is_ascii_alphanumeric() { it } else { '_' })
                    .collect();
                script.variable(format!("f2bV_{name}"), value);
            }
            None => {
                script.text.push('<');
                script.text.push_str(tag);
                script.text.push('>');
            }
        }
        rest = after;
    }
    script.text.push_str(rest);
    script
}

/// The text with its tags replaced by their values as they stand: nothing that a shell reads.
pub(super) fn plain(text: &str, moment: &Moment<'_>, shell: &Shell) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, tag, after)) = next_tag(rest) {
        plain.push_str(before);
        plain.push_str(&moment.value(tag, shell).unwrap_or_default());
        rest = after;
    }
    plain + rest
}

/// The text before the next tag, the tag, and the text behind it.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('<')?;
        let inside = &text[start + 1..];
        match inside.find(['<', '>', ' ']) {
            Some(end) if end > 0 && inside.as_bytes()[end] == b'>' => {
                return Some((&text[..start], &inside[..end], &inside[end + 1..]));
            }
            _ => from = start + 1,
        }
    }
}

/// An address with its parts in reverse, as DNS lists ask for it.
fn reversed(subject: &Subject) -> String {
    match subject {
        Subject::Addr(IpAddr::V4(addr)) => {
            let parts: Vec<String> = addr.octets().iter().rev().map(u8::to_string).collect();
            format!("{}.", parts.join("."))
        }
        Subject::Addr(IpAddr::V6(addr)) => {
            let digits = format!("{:032x}", addr.to_bits());
            digits.chars().rev().flat_map(|digit| [digit, '.']).collect()
        }
        Subject::Net(_) | Subject::Id(_) => String::new(),
    }
}

/// This host's name, with its domain where that is known.
fn own_name(shell: &Shell) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match shell.name_of(&name) {
        Some(full) if !name.contains('.') && full.starts_with(&name) => full,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str, arguments: &[&str]) {
        let time = jiff::Timestamp::from_second(1_780_000_000).unwrap();
        let ban = Ban {
            jail: "sshd".to_owned(),
            subject: "2001:db8::1".into(),
            time,
            bantime: jail::BanTime::Permanent,
            n_failures: 5,
            first_failure: time,
            last_failure: time,
            matches: vec!["user `reboot` <ip>".to_owned(), "$(reboot)".to_owned()],
            fields: vec![("user".to_owned(), "root; reboot".to_owned())],
        };
        let counts = Counts { n_banned: 3, total_banned: 4, n_failed: 5, total_failed: 6 };
        let about = Some(About::ban(&ban, 2, false));
        let script = fill(text, &Moment { family: "inet6", about, counts }, &Shell::Here);
        assert_eq!((script.text.as_str(), script.arguments()), (want, arguments.to_vec()));
    }

    #[test]
    fn fills_in_the_moment() {
        check("ban <ip> <bantime> <bancount>", "ban 2001:db8::1 -1 2", &[]);
        check("a<br>b <nosuch> <F-PORT>|", "a\nb <nosuch> |", &[]);
        check("<jail.banned> <jail.banned_total> <jail.found> <jail.found_total>", "3 4 5 6", &[]);
        check("su <F-USER>", "su $f2bV_F_USER", &["root; reboot"]);
        check("x < y <family>", "x < y inet6", &[]);
        // What a filter caught is an argument, and no tag in it is one.
        check(
            "log \"<matches>\" <failures> '<matches>'",
            "log \"$f2bV_matches\" 5 '$f2bV_matches'",
            &["user `reboot` <ip>\n$(reboot)"],
        );
        check("dig <ip-rev>bl", &format!("dig 1.{}8.b.d.0.1.0.0.2.bl", "0.".repeat(23)), &[]);
    }
}
