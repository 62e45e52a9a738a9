//! Finds all indicators in a text: addresses by their tokens, keys and users by their context.

use aho_corasick::AhoCorasick;
use memchr::memmem;

use crate::indicator::{Indicator, SHA256, is_base64};
use crate::names;
use crate::set::IndicatorSet;
use crate::token::{for_each_address, is_word};

/// The longest fingerprint: `MD5:` and 16 pairs with colons.
const MAX_FINGERPRINT_BYTES: usize = 51;
/// The words in front of a user's name, in the logs of sshd, PAM, sudo and mail servers.
const INTRODUCTIONS: [&[u8]; 10] = [
    b"user",
    b"for",
    b"by",
    b"ruser",
    b"logname",
    b"login",
    b"sudo",
    b"su",
    b"username",
    b"account",
];

/// An indicator in a text, and where.
pub(crate) type Match = (usize, Indicator);

/// Finds indicators.
#[derive(Debug)]
pub(crate) struct Matcher<'s> {
    set: &'s IndicatorSet,
    in_names: bool,
    users: Option<AhoCorasick>,
    fingerprints: [memmem::Finder<'static>; 2],
}

impl<'s> Matcher<'s> {
    /// Finds those of `set`; inside the names of hosts, too, if `in_names` says so.
    pub(crate) fn new(set: &'s IndicatorSet, in_names: bool) -> Self {
        let users = (!set.users().is_empty()).then(|| AhoCorasick::new(set.users()));
        Self {
            set,
            in_names,
            // More names than fit into an automaton fit into no list either.
            users: users.and_then(Result::ok),
            fingerprints: ["SHA256:", "MD5:"].map(memmem::Finder::new),
        }
    }

    /// Puts all matches in `text` into `found`, in the order of the text.
    pub(crate) fn find(&self, text: &[u8], found: &mut Vec<Match>) {
        found.clear();
        let set = self.set;
        for_each_address(text, |at, addr| set.for_each_match(addr, |it| found.push((at, it))));
        let n_addresses = found.len();
        if self.in_names {
            names::for_each_address(text, |at, addr| {
                set.for_each_match(addr.into(), |it| found.push((at, it)));
            });
        }
        if set.has_fingerprints() {
            self.find_fingerprints(text, found);
        }
        if let Some(users) = &self.users {
            self.find_users(users, text, found);
        }
        if found.len() > n_addresses {
            found.sort_by_key(|(at, _)| *at);
        }
    }

    fn find_fingerprints(&self, text: &[u8], found: &mut Vec<Match>) {
        for finder in &self.fingerprints {
            for at in finder.find_iter(text) {
                let print = fingerprint_at(text, at);
                if self.set.has_fingerprint(print) {
                    found.push((at, Indicator::Fingerprint(print.to_owned())));
                }
            }
        }
    }

    fn find_users(&self, users: &AhoCorasick, text: &[u8], found: &mut Vec<Match>) {
        for hit in users.find_overlapping_iter(text) {
            if names_user(text, hit.start(), hit.end()) {
                let name = &self.set.users()[hit.pattern().as_usize()];
                found.push((hit.start(), Indicator::User(name.clone())));
            }
        }
    }
}

/// All fingerprints of SSH keys in a line, as OpenSSH writes them now.
pub(crate) fn fingerprints(line: &[u8]) -> impl Iterator<Item = &str> {
    let prints = memmem::find_iter(line, SHA256).map(|at| fingerprint_at(line, at));
    prints.filter(|print| print.parse::<Indicator>().is_ok())
}

/// What may be a fingerprint from `at` on.
fn fingerprint_at(text: &[u8], at: usize) -> &str {
    let rest = &text[at..text.len().min(at + MAX_FINGERPRINT_BYTES)];
    let n_bytes = rest.iter().take_while(|it| is_base64(**it) || **it == b':').count();
    // Letters of base 64 and colons are ASCII.
    std::str::from_utf8(&rest[..n_bytes]).unwrap_or_default()
}

/// Whether a word stands where the name of a user does.
fn names_user(text: &[u8], start: usize, end: usize) -> bool {
    let goes_on = |byte: &u8| is_word(*byte) || matches!(byte, b'-' | b'.' | b'@');
    let (before, after) = (&text[..start], &text[end..]);
    if before.last().is_some_and(goes_on) || after.first().is_some_and(goes_on) {
        return false;
    }
    // In an access log between two blanks and the date; in brackets, in vsftpd's.
    if before.ends_with(b" - ") && after.starts_with(b" [") {
        return true;
    }
    if before.ends_with(b"[") {
        return after.starts_with(b"] OK ") || after.starts_with(b"] FAIL ");
    }
    let trimmed = before.trim_ascii_end();
    let mark = matches!(trimmed.last(), Some(b'=' | b':' | b'<' | b'"' | b'\''));
    let bare = trimmed.iter().rposition(|byte| !b"=:<\"' ".contains(byte));
    let Some(word_end) = bare.map(|last| last + 1) else { return false };
    let word_start = before[..word_end].iter().rposition(|byte| !is_word(*byte));
    let word = before[word_start.map_or(0, |at| at + 1)..word_end].to_ascii_lowercase();
    (mark || trimmed.len() < before.len()) && INTRODUCTIONS.contains(&&word[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, indicators: &[&str], want: &[&str]) {
        let set: IndicatorSet =
            indicators.iter().map(|it| it.parse().expect("an indicator")).collect();
        let mut found = Vec::new();
        Matcher::new(&set, false).find(text.as_bytes(), &mut found);
        let found: Vec<_> = found.iter().map(|(_, it)| it.to_string()).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn users_are_found_where_users_are_named() {
        let one = &["user:mallory"][..];
        for text in [
            "Failed password for mallory from 192.0.2.7",
            "Invalid user mallory from 192.0.2.7",
            "imap-login: Login: user=<mallory>, method=PLAIN",
            "sudo:  mallory : TTY=pts/0",
            "192.0.2.7 - mallory [22/Nov/2026:06:05:09 +0000] \"GET /\"",
            "[pid 2] [mallory] OK LOGIN: Client \"192.0.2.7\"",
            "session opened for user root(uid=0) by mallory(uid=1000)",
            "user \"mallory\": password mismatch",
        ] {
            check(text, one, one);
        }
        for text in [
            "GET /mallory HTTP/1.1",
            "for mallory-2 from",
            "for mallory.x from",
            "host mallory sshd",
            "mallory",
            "for xmallory from",
        ] {
            check(text, one, &[]);
        }
    }

    #[test]
    fn keys_are_found_by_their_fingerprints() {
        let print = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
        let line = format!("Accepted publickey for a from 192.0.2.7 port 1 ssh2: ED25519 {print}");
        check(&line, &[print, "192.0.2.7"], &["192.0.2.7", print]);
        check(&line.replace("Cgg", "CgX"), &[print], &[]);
        let md5 = "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48";
        check(&format!("RSA {md5} x"), &[md5], &[md5]);
    }
}
