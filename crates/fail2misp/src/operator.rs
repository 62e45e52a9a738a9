//! What an operator asks of the running daemon: status, ping, ban, unban.

use std::io::Write;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use control::exchange::{ExchangeClient, ExchangeStatus};
use control::guard::{BanLogStatus, GuardClient, GuardStatus, JailStatus};
use control::pulled::SourceStatus;
use control::{ClientError, fail2ban};
use jail::{Ban, Subject};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::{BanWords, Banned, Folders, Format, Reload, Status, Unban, Words};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::fail2ban_client::{self, text};
use crate::mistake;

/// The width that tables keep to.
const TABLE_WIDTH: u16 = 100;

/// `ping`, in fail2ban-client's words.
pub(crate) fn ping(folders: &Folders, format: Format, out: &mut dyn Write) -> Outcome {
    guard(folders)?.ping().map_err(asked)?;
    match format.is_json() {
        true => writeln!(out, "{}", json!({"ping": "pong"})),
        false => writeln!(out, "Server replied: pong"),
    }
    .map_err(Failed::other_side)?;
    Ok(Code::Done)
}

/// `status [JAIL]`: fail2ban-client's tree, and below it what it has no word for.
pub(crate) fn status(folders: &Folders, args: &Status, out: &mut dyn Write) -> Outcome {
    let mut guard = guard(folders)?;
    let text = match &args.jail {
        Some(jail) => {
            let status = guard.jail_status(jail).map_err(asked)?;
            if args.format.is_json() { one_line(&json!(status)) } else { jail_tree(&status) }
        }
        None => {
            let status = guard.status().map_err(asked)?;
            // Guard alone is a whole daemon, too; that exchange is away is part of the answer.
            let exchange = ExchangeClient::connect(&folders.exchange_socket())
                .and_then(|mut exchange| exchange.status());
            if args.format.is_json() {
                let exchange =
                    exchange.map_or_else(|error| json!({"error": chain(&error)}), |it| json!(it));
                one_line(&json!({"guard": status, "exchange": exchange}))
            } else {
                let lag = exchange.as_ref().ok().and(lag(&status.ban_log));
                tree(&status) + &exchange_lines(&exchange) + &lag.unwrap_or_default()
            }
        }
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(Code::Done)
}

/// `banned [IP…]`: who is banned, where and until when.
pub(crate) fn banned(folders: &Folders, args: &Banned, out: &mut dyn Write) -> Outcome {
    let subjects = addresses(&args.ips)?;
    let bans = guard(folders)?.banned(&subjects).map_err(asked)?;
    let text = match args.format.is_json() {
        true => bans.iter().map(|ban| one_line(&json!(ban))).collect(),
        false => ban_table(&bans),
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(if bans.is_empty() && !subjects.is_empty() { Code::No } else { Code::Done })
}

/// `ban JAIL IP…`
pub(crate) fn ban(folders: &Folders, args: &BanWords, out: &mut dyn Write) -> Outcome {
    let subjects = addresses(&args.ips)?;
    let n = guard(folders)?.ban(&args.jail, &subjects, args.force).map_err(asked)?;
    writeln!(out, "{n}").map_err(Failed::other_side)?;
    Ok(Code::Done)
}

/// `unban [JAIL] IP… [--false-positive] | --all`
pub(crate) fn unban(folders: &Folders, args: &Unban, out: &mut dyn Write) -> Outcome {
    let (jail, subjects) = match args.words.split_first() {
        None => (None, None),
        Some((first, rest)) if !rest.is_empty() && is_no_address(first) => {
            (Some(first.as_str()), Some(addresses(rest)?))
        }
        Some(_) => (None, Some(addresses(&args.words)?)),
    };
    if let Some(subjects) = subjects.as_ref().filter(|_| args.false_positive) {
        mistake::tell(folders, subjects)?;
    }
    let mut guard = match GuardClient::connect(&folders.guard_socket()) {
        Err(ClientError::NoDaemon { .. }) if args.false_positive => {
            let words = "MISP is told; no guard runs here, lift the ban with fail2ban-client";
            return writeln!(out, "{words}").map(|()| Code::Done).map_err(Failed::other_side);
        }
        guard => guard.map_err(asked)?,
    };
    let n = guard.unban(jail, subjects.as_deref()).map_err(asked)?;
    writeln!(out, "{n}").map_err(Failed::other_side)?;
    Ok(if n == 0 && !args.all { Code::No } else { Code::Done })
}

/// `get`, `set` and their kin, in fail2ban-client's words.
pub(crate) fn client_command(
    folders: &Folders,
    verb: &str,
    args: &Words,
    out: &mut dyn Write,
) -> Outcome {
    fail2ban_client::run(guard(folders)?, verb, args, out)
}

/// `reload [JAIL]`
pub(crate) fn reload(folders: &Folders, args: &Reload) -> Outcome {
    let how = control::config::Reload {
        jail: args.jail.clone(),
        unban: args.unban,
        restart: args.restart,
        if_exists: args.if_exists,
    };
    guard(folders)?.reload(how).map_err(asked)?;
    Ok(Code::Done)
}

fn guard(folders: &Folders) -> Result<GuardClient, Failed> {
    GuardClient::connect(&folders.guard_socket()).map_err(asked)
}

/// The daemon could not be asked, or refused.
pub(crate) fn asked(error: ClientError) -> Failed {
    Failed::other_side(error)
}

/// An error with all that is behind it.
pub(crate) fn chain(error: &ClientError) -> String {
    Failed::other_side(anyhow::anyhow!("{error}")).to_string()
}

fn is_no_address(word: &str) -> bool {
    matches!(Subject::from(word), Subject::Id(_))
}

/// Addresses and prefixes as an operator types them; any other id is taken as it stands only where
/// it cannot be a misspelt address.
fn addresses(words: &[String]) -> Result<Vec<Subject>, Failed> {
    words
        .iter()
        .map(|word| match Subject::from(word.as_str()) {
            Subject::Id(id) if looks_like_an_address(&id) => Err(Failed::usage(anyhow::anyhow!(
                "`{id}` is neither an address nor a prefix; write it as 192.0.2.7 or 2001:db8::/64"
            ))),
            subject => Ok(subject),
        })
        .collect()
}

fn looks_like_an_address(word: &str) -> bool {
    word.contains([':', '/']) || word.chars().all(|char| char.is_ascii_digit() || char == '.')
}

/// One object of a stream.
pub(crate) fn one_line(value: &Value) -> String {
    format!("{value}\n")
}

/// What exchange has not taken over yet of guard's log of bans.
fn lag(log: &BanLogStatus) -> Option<String> {
    let n_bans = log.last.saturating_sub(log.reached);
    (n_bans > 0).then(|| format!("Exchange: {n_bans} bans wait to be taken over\n"))
}

/// fail2ban-client's `status`, and below it what it has no word for.
fn tree(status: &GuardStatus) -> String {
    let mut text = text::of(&["status"], &fail2ban::tree(status)) + "\n";
    for jail in &status.jails {
        text += &jail_lines(jail, &format!("{}: ", escape(&jail.jail)));
    }
    for jail in &status.disabled {
        text += &format!("Disabled: {}: {}\n", escape(&jail.jail), escape(&jail.why));
    }
    text + &format!("Firewall: {}\n", status.firewall)
}

/// fail2ban-client's `status JAIL`, and below it what it has no word for.
fn jail_tree(status: &JailStatus) -> String {
    let value = fail2ban::jail_tree(status, false);
    text::of(&["status", &status.jail], &value) + "\n" + &jail_lines(status, "")
}

/// What an administrator should know of a jail, a line each.
fn jail_lines(status: &JailStatus, of: &str) -> String {
    let awaited = status.awaited.iter();
    let awaited = awaited.map(|it| format!("Waiting for a file: {of}{}\n", escape(it)));
    let notes = status.notes.iter().map(|it| format!("Note: {of}{}\n", escape(it)));
    awaited.chain(notes).collect()
}

fn exchange_lines(exchange: &Result<ExchangeStatus, ClientError>) -> String {
    let status = match exchange {
        Ok(status) => status,
        Err(ClientError::NoDaemon { .. }) => return "Exchange: does not run\n".to_owned(),
        Err(error) => return format!("Exchange: {}\n", escape(&chain(error))),
    };
    let mut text = format!("Exchange: {} reports in the spool\n", status.n_spooled);
    if status.is_paused {
        text += "Exchange: paused, nobody is told; `fail2misp outbox resume` ends it\n";
    }
    for it in &status.destinations {
        text += &format!("MISP {}: {} wait", escape(&it.name), it.depth);
        if let Some(oldest) = it.oldest {
            let age =
                Duration::try_from(Timestamp::now().duration_since(oldest)).unwrap_or_default();
            text += &format!(", the oldest for {} s", age.as_secs());
        }
        text += &format!(", {} set aside", it.n_set_aside);
        if it.n_in_review > 0 {
            text += &format!(", {} for `outbox approve`", it.n_in_review);
        }
        if let Some(error) = &it.last_error {
            text += &format!("; {}", escape(error));
        }
        text.push('\n');
    }
    text.extend(status.sources.iter().map(source_line));
    text
}

/// How a source of the block lists is.
fn source_line(it: &SourceStatus) -> String {
    let age = it.pulled.map(|pulled| Timestamp::now().duration_since(pulled).as_secs().max(0));
    let pulled = age.map_or_else(|| "not yet".to_owned(), |age| format!("{age} s ago"));
    let mut text = format!(
        "Pull {}: {pulled}, {} indicators, {} blocked",
        escape(&it.name),
        it.n_indicators,
        it.n_entries
    );
    for (what, why) in [("; waits for `blocklist accept`: ", &it.waiting), ("; ", &it.last_error)] {
        if let Some(why) = why {
            text += what;
            text += &escape(why);
        }
    }
    text + "\n"
}

/// The bans that stand, as a table.
fn ban_table(bans: &[Ban]) -> String {
    let mut table = table(["address", "jail", "failures", "banned", "until"]);
    for ban in bans {
        let until = ban.until().map_or_else(|| "for ever".to_owned(), local);
        let subject = escape(&ban.subject.to_string());
        let failures = ban.n_failures.to_string();
        table.add_row([subject, ban.jail.clone(), failures, local(ban.time), until]);
    }
    format!("{table}\n")
}

/// An empty table in the house's look.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(TABLE_WIDTH)
        .set_header(header);
    // One blank between columns is enough to tell them apart, and leaves room for a uuid.
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    table
}

/// A time in RFC 3339, in this host's zone.
pub(crate) fn local(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trees_are_fail2bans_to_the_letter() {
        let status = JailStatus {
            jail: "sshd".into(),
            currently_failed: 1,
            total_failed: 7,
            files: vec!["/var/log/auth.log".into()],
            currently_banned: 2,
            total_banned: 3,
            banned: vec!["192.0.2.7".into(), "2001:db8::1".into()],
            ..JailStatus::default()
        };
        insta::assert_snapshot!(jail_tree(&status), @r"
        Status for the jail: sshd
        |- Filter
        |  |- Currently failed:	1
        |  |- Total failed:	7
        |  `- File list:	/var/log/auth.log
        `- Actions
           |- Currently banned:	2
           |- Total banned:	3
           `- Banned IP list:	192.0.2.7 2001:db8::1
        ");
    }

    #[test]
    fn what_is_wrong_with_a_jail_is_told_in_both_trees() {
        let sshd = JailStatus {
            jail: "sshd".into(),
            awaited: vec!["/var/log/auth.log".into()],
            notes: vec!["3 searches took too long".into()],
            ..JailStatus::default()
        };
        let want = "Waiting for a file: /var/log/auth.log\nNote: 3 searches took too long\n";
        assert!(jail_tree(&sshd).ends_with(want));
        let status = GuardStatus {
            version: String::new(),
            started: Timestamp::UNIX_EPOCH,
            firewall: "memory".into(),
            jails: vec![sshd],
            disabled: Vec::new(),
            ban_log: BanLogStatus::default(),
        };
        insta::assert_snapshot!(tree(&status), @r"
        Status
        |- Number of jail:	1
        `- Jail list:	sshd
        Waiting for a file: sshd: /var/log/auth.log
        Note: sshd: 3 searches took too long
        Firewall: memory
        ");
        let behind =
            |last, reached| lag(&BanLogStatus { last, reached, ..BanLogStatus::default() });
        assert_eq!(behind(7, 7), None);
        assert_eq!(behind(7, 5).as_deref(), Some("Exchange: 2 bans wait to be taken over\n"));
    }

    #[test]
    fn a_misspelt_address_is_refused() {
        let refused = |word: &str| addresses(&[word.to_owned()]).is_err();
        assert!(refused("192.0.2.300"));
        assert!(refused("2001:db8::g"));
        assert!(refused("192.0.2.0/33"));
        assert!(!refused("mallory"));
        assert!(!refused("192.0.2.0/24"));
    }
}
