//! The tags that only the moment of a ban knows: `<ip>`, `<matches>` and their kin.
//!
//! They are replaced once, never again in what was put in. A value that a shell could misread
//! becomes a variable of the script, and travels as an argument.

use jail::Ban;

use super::shell::Script;

/// Any of these in a value makes it an argument; the list is fail2ban's.
const MISREAD: &[char] = &[
    '\\', '#', '&', ';', '`', '|', '*', '?', '~', '<', '>', '^', '(', ')', '[', ']', '{', '}', '$',
    '\'', '"', '\n', '\r',
];

/// What is known when a command runs.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    family: &'a str,
    ban: Option<(&'a Ban, u32, bool)>,
}

impl<'a> Moment<'a> {
    /// An action is started, checked or stopped.
    pub(super) fn of_family(family: &'a str) -> Self {
        Self { family, ban: None }
    }

    /// Somebody is banned, for the `n_bans`-th time, or no longer.
    pub(super) fn of_ban(ban: &'a Ban, family: &'a str, n_bans: u32, restored: bool) -> Self {
        Self { family, ban: Some((ban, n_bans, restored)) }
    }

    /// The value of a tag; `None` where it is none of ours.
    fn value(&self, tag: &str) -> Option<String> {
        match tag {
            "family" => return Some(self.family.to_owned()),
            "br" => return Some("\n".to_owned()),
            "sp" => return Some(" ".to_owned()),
            "fq-hostname" => return Some(host()),
            "sh-hostname" => return Some(host().split('.').next().unwrap_or_default().to_owned()),
            _ if tag.starts_with("F-") => return Some(String::new()),
            _ => {}
        }
        let (ban, n_bans, restored) = self.ban?;
        Some(match tag {
            "ip" | "fid" => ban.subject.to_string(),
            "ip-rev" => reversed(&ban.subject),
            "ip-host" => String::new(),
            "failures" | "ipfailures" | "ipjailfailures" => ban.n_failures.to_string(),
            "time" => ban.last_failure.as_second().to_string(),
            "bantime" => i64::from(ban.bantime).to_string(),
            "bancount" => n_bans.to_string(),
            "restored" => u8::from(restored).to_string(),
            "matches" | "ipmatches" | "ipjailmatches" => ban.matches.join("\n"),
            _ => return None,
        })
    }
}

/// The script of a command in this moment.
pub(super) fn fill(text: &str, moment: &Moment<'_>) -> Script {
    let mut script = Script::default();
    let mut rest = text;
    while let Some((before, tag, after)) = next_tag(rest) {
        script.text.push_str(before);
        // No argument can hold a NUL; a line of a log can.
        match moment.value(tag).map(|it| it.replace('\0', "\u{fffd}")) {
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
fn reversed(subject: &jail::Subject) -> String {
    use std::net::IpAddr;
    match subject {
        jail::Subject::Addr(IpAddr::V4(addr)) => {
            let parts: Vec<String> = addr.octets().iter().rev().map(u8::to_string).collect();
            format!("{}.", parts.join("."))
        }
        jail::Subject::Addr(IpAddr::V6(addr)) => {
            let digits = format!("{:032x}", addr.to_bits());
            digits.chars().rev().flat_map(|digit| [digit, '.']).collect()
        }
        jail::Subject::Net(_) | jail::Subject::Id(_) => String::new(),
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
        };
        let script = fill(text, &Moment::of_ban(&ban, "inet6", 2, false));
        assert_eq!((script.text.as_str(), script.arguments()), (want, arguments.to_vec()));
    }

    #[test]
    fn fills_in_the_moment() {
        check("ban <ip> <bantime> <bancount>", "ban 2001:db8::1 -1 2", &[]);
        check("a<br>b <nosuch> <F-USER>|", "a\nb <nosuch> |", &[]);
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
