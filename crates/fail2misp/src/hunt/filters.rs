//! The filters that tell what a line came to, all built in: `success.d` has those of logins,
//! `filter.d` those of failures.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use hunt::Filters;
use jail::config::{self, Files as _};
use scan::Filter;

use crate::disk::BuiltIn;
use crate::jails::{self, Options};

/// What no filter of its own is: what several include, and the filter of guard's own log, where
/// every ban would count as a failure again.
const NONE: [&str; 2] = ["-common.conf", "recidive.conf"];

/// Compiles all of them.
///
/// # Errors
///
/// When one cannot be read or compiled, which a test makes sure of.
pub(crate) fn compile() -> Result<Filters> {
    Ok(Filters { success: folder("success.d")?, failure: folder("filter.d")? })
}

fn folder(name: &str) -> Result<Vec<Arc<Filter>>> {
    let files = BuiltIn::default();
    let folder = Path::new(BuiltIn::ROOT).join(name);
    let mut names = files.list(&folder)?;
    names.retain(|name| !NONE.iter().any(|none| name.ends_with(none)));
    let filters = names.iter().map(|name| {
        let path = folder.join(name);
        let filter = config::read_filter_file(&files, &path, Options::new(), "auto")
            .map_err(|fault| anyhow!(jails::describe(&fault)))?;
        let filter = Filter::compile(&filter.spec);
        filter.map(Arc::new).with_context(|| format!("filter `{}`", path.display()))
    });
    filters.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use jiff::Timestamp;
    use scan::{Outcome, Scanner, Settings};

    use super::*;

    /// Who gets in by `line`, and as whom.
    #[track_caller]
    fn check(line: &str, want: Option<&str>) {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let found = folder("success.d").unwrap().into_iter().find_map(|filter| {
            let settings = Settings { raw: true, ..Settings::default() };
            match Scanner::new(filter, settings).line(line.as_bytes(), now) {
                Outcome::Failure(hit) => {
                    let user = hit.fields.iter().find(|(name, _)| name == "user");
                    Some(format!("{} {}", hit.id, user.map_or("-", |(_, user)| user)))
                }
                _ => None,
            }
        });
        assert_eq!(found.as_deref(), want, "{line}");
    }

    #[test]
    fn who_got_in() {
        let syslog = |text: &str| format!("Nov 22 06:05:09 web-1 {text}");
        for (line, want) in [
            (
                "sshd[1]: Accepted publickey for alice from 192.0.2.7 port 9 ssh2: ED25519 SHA256:x",
                "192.0.2.7 alice",
            ),
            (
                "sshd-session[1]: Accepted password for root from 2001:db8::7 port 9 ssh2",
                "2001:db8::7 root",
            ),
            ("dropbear[1]: Password auth succeeded for 'root' from 192.0.2.7:4", "192.0.2.7 root"),
            (
                "dropbear[1]: Pubkey auth succeeded for 'root' with ssh-rsa key SHA256:x from 192.0.2.7:4",
                "192.0.2.7 root",
            ),
            (
                "dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, TLS",
                "192.0.2.7 alice",
            ),
            ("proftpd[1]: web-1 (x[192.0.2.7]) - USER alice: Login successful.", "192.0.2.7 alice"),
            ("pure-ftpd: (?@192.0.2.7) [INFO] alice is now logged in", "192.0.2.7 alice"),
            (
                "postfix/smtpd[1]: 4F2A: client=x[192.0.2.7], sasl_method=PLAIN, sasl_username=alice",
                "192.0.2.7 alice",
            ),
            (
                "ovpn-server[1]: 192.0.2.7:5 [alice] Peer Connection Initiated with [AF_INET]192.0.2.7:5",
                "192.0.2.7 alice",
            ),
            ("wordpress(x.org)[1]: Accepted password for admin from 192.0.2.7", "192.0.2.7 admin"),
            (
                "sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh",
                "alice -",
            ),
        ] {
            check(&syslog(line), Some(want));
        }
        check(
            "Sun Nov 22 06:05:09 2026 [pid 2] [alice] OK LOGIN: Client \"192.0.2.7\"",
            Some("192.0.2.7 alice"),
        );
        check(
            "2026-11-22 06:05:09 1a2B3c-000001-AB <= a@x.org H=(h) [192.0.2.7] P=esmtpsa A=plain:alice S=1",
            Some("192.0.2.7 alice"),
        );
        let access = |request: &str| {
            format!("192.0.2.7 - - [22/Nov/2026:06:05:09 +0000] {request} \"-\" \"x\"")
        };
        check(&access("\"GET /wp-admin/ HTTP/1.1\" 200 5"), Some("192.0.2.7 -"));
        check(&access("\"POST /user/login HTTP/1.1\" 200 5"), Some("192.0.2.7 -"));
        check(&access("\"POST /wp-login.php HTTP/1.1\" 302 5"), Some("192.0.2.7 -"));
        check(
            &access("\"GET /private HTTP/1.1\" 200 5").replace("- -", "- alice"),
            Some("192.0.2.7 alice"),
        );
    }

    #[test]
    fn who_did_not() {
        let syslog = |text: &str| format!("Nov 22 06:05:09 web-1 {text}");
        for line in [
            "sshd[1]: Failed password for alice from 192.0.2.7 port 9 ssh2",
            "sshd[1]: Accepted none for alice from 192.0.2.7 port 9 ssh2",
            "sshd[1]: Invalid user Accepted password for x from 192.0.2.7 port 9 ssh2",
            "sudo:    alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            "sudo:    alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            "dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<a>, method=PLAIN, rip=192.0.2.7, lip=1.1.1.1",
            "postfix/smtpd[1]: 4F2A: client=x[192.0.2.7]",
        ] {
            check(&syslog(line), None);
        }
        check("Sun Nov 22 06:05:09 2026 [pid 2] [alice] FAIL LOGIN: Client \"192.0.2.7\"", None);
        let access = |request: &str| {
            format!("192.0.2.7 - - [22/Nov/2026:06:05:09 +0000] {request} \"-\" \"x\"")
        };
        check(&access("\"GET /wp-admin/ HTTP/1.1\" 404 5"), None);
        check(&access("\"GET /login HTTP/1.1\" 200 5"), None); // a form is given to everybody
        check(&access("\"POST /wp-login.php HTTP/1.1\" 200 5"), None);
        check(&access("\"GET / HTTP/1.1\" 200 5"), None);
    }
}
