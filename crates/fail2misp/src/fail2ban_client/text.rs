//! The values that fail2ban's server answers, as fail2ban-client prints them: to the letter, because
//! people's scripts read it.

use serde_json::Value;

use crate::exit::escape;

/// What fail2ban-client prints for the answer `value` to the command `words`.
pub(crate) fn of(words: &[&str], value: &Value) -> String {
    match words {
        ["ping", ..] => format!("Server replied: {}", plain(value)),
        ["start", _] => "Jail started".to_owned(),
        ["stop"] => "Shutdown successful".to_owned(),
        ["stop", _] => "Jail stopped".to_owned(),
        ["flushlogs"] => format!("logs: {}", plain(value)),
        ["echo", ..] => joined(value, " "),
        ["status"] => tree("Status", value),
        ["status", "--all", ..] => all_jails(value),
        ["stats" | "statistics"] => statistics(value),
        ["status", jail, ..] => jail_tree(jail, value),
        [_, option] | [_, option, _] if !server(option, value).is_empty() => server(option, value),
        [verb, jail, option, rest @ ..] => of_jail(verb, jail, option, rest, value),
        _ => plain(value),
    }
}

/// What is printed of an option of the daemon; nothing where it is none.
fn server(option: &str, value: &Value) -> String {
    let listed = |what: &str| format!("Current {what} is:\n`- {}", plain(value));
    match option {
        "syslogsocket" => listed("syslog socket"),
        "logtarget" => listed("logging target"),
        "loglevel" => format!("Current logging level is {}", python(value)),
        "dbfile" | "dbpurgeage" if value.is_null() => "Database currently disabled".to_owned(),
        "dbfile" => listed("database file"),
        "dbpurgeage" => format!("Current database purge age is:\n`- {}seconds", plain(value)),
        _ => String::new(),
    }
}

fn of_jail(verb: &str, jail: &str, option: &str, rest: &[&str], value: &Value) -> String {
    let none_or = |none: &str, some: &str, items: String| match items.is_empty() {
        true => none.to_owned(),
        false => format!("{some}\n{items}"),
    };
    match option {
        "logpath" | "addlogpath" | "dellogpath" => {
            none_or("No file is currently monitored", "Current monitored log file(s):", list(value))
        }
        "logencoding" => format!("Current log encoding is set to:\n{}", plain(value)),
        "journalmatch" | "addjournalmatch" | "deljournalmatch" => {
            let groups = items(value).iter().map(|group| joined(group, " ")).collect::<Vec<_>>();
            none_or("No journal match filter set", "Current match filter:", groups.join(" + "))
        }
        "datepattern" => {
            let is = match items(value) {
                [Value::Null, name] => plain(name),
                [pattern, name] => format!("{} ({})", plain(pattern), plain(name)),
                _ => "Not set/required".to_owned(),
            };
            format!("Current date pattern set to: {is}")
        }
        "ignoreip" | "addignoreip" | "delignoreip" => none_or(
            "No IP address/network is ignored",
            "These IP addresses/networks are ignored:",
            list(value),
        ),
        "failregex" | "addfailregex" | "delfailregex" | "ignoreregex" | "addignoreregex"
        | "delignoreregex" => none_or(
            "No regular expression is defined",
            "The following regular expression are defined:",
            branches(
                items(value).iter().enumerate().map(|(n, it)| format!("[{n}]: {}", plain(it))),
            ),
        ),
        "actions" => none_or(
            &format!("No actions for jail {jail}"),
            &format!("The jail {jail} has the following actions:"),
            joined(value, ", "),
        ),
        "actionproperties" => {
            let action = rest.first().copied().unwrap_or_default();
            none_or(
                &format!("No properties for jail {jail} action {action}"),
                &format!("The jail {jail} action {action} has the following properties:"),
                joined(value, ", "),
            )
        }
        "banip" if verb == "get" => joined(
            value,
            match rest {
                [] => " ",
                ["--with-time", ..] => "\n",
                [separator, ..] => separator,
            },
        ),
        _ => plain(value),
    }
}

/// `title`, and below it each name with its value.
fn tree(title: &str, value: &Value) -> String {
    let entries = items(value).iter().map(entry);
    format!("{title}\n{}", branches(entries))
}

/// `NAME:<tab>VALUE`
fn entry(pair: &Value) -> String {
    let [name, value] = items(pair) else { return String::new() };
    let value = if value.is_array() { joined(value, " ") } else { plain(value) };
    format!("{}:\t{value}", plain(name))
}

fn jail_tree(jail: &str, value: &Value) -> String {
    format!("Status for the jail: {jail}\n{}", jail_branches(value, ""))
}

/// The two halves of a jail's status, each with what belongs to it.
fn jail_branches(value: &Value, indent: &str) -> String {
    let halves = items(value);
    let mut lines = Vec::new();
    for (n, half) in halves.iter().enumerate() {
        let [name, entries] = items(half) else { continue };
        let (branch, below) = if n + 1 == halves.len() { ("`-", "   ") } else { ("|-", "|  ") };
        lines.push(format!("{indent}{branch} {}", plain(name)));
        let entries = branches(items(entries).iter().map(entry));
        lines.extend(entries.lines().map(|line| format!("{indent}{below}{line}")));
    }
    lines.join("\n")
}

/// `status --all`, as fail2ban 1.1 prints it.
fn all_jails(value: &Value) -> String {
    let Some((Value::Object(jails), head)) = items(value).split_last() else {
        return plain(value);
    };
    if jails.is_empty() {
        return tree("Status", &Value::Array(head.to_vec()));
    }
    let mut text = "Status".to_owned();
    for pair in head {
        text += &format!("\n|- {}", entry(pair));
    }
    text += "\n`- Status for the jails:";
    for (n, (jail, status)) in jails.iter().enumerate() {
        let is_last = n + 1 == jails.len();
        let (branch, below) = if is_last { ("`-", "      ") } else { ("|-", "   |  ") };
        text += &format!("\n   {branch} Jail: {jail}\n{}", jail_branches(status, below));
    }
    text
}

/// `stats`: a line a jail.
fn statistics(value: &Value) -> String {
    let Some(Value::Object(jails)) = items(value).last() else { return plain(value) };
    let mut table = crate::operator::table(["jail", "failed", "total", "banned", "total"]);
    for (jail, status) in jails {
        let number = |half: usize, n: usize| plain(&status[half][1][n][1]);
        let numbers = [number(0, 0), number(0, 1), number(1, 0), number(1, 1)];
        table.add_row([jail.clone()].into_iter().chain(numbers));
    }
    table.to_string()
}

/// Each on a line of its own, the last one marked as such.
fn branches(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<_> = entries.collect();
    let last = entries.len().saturating_sub(1);
    let branch =
        |(n, it): (usize, &String)| format!("{} {it}", if n == last { "`-" } else { "|-" });
    entries.iter().enumerate().map(branch).collect::<Vec<_>>().join("\n")
}

fn list(value: &Value) -> String {
    branches(items(value).iter().map(plain))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn joined(value: &Value, separator: &str) -> String {
    items(value).iter().map(plain).collect::<Vec<_>>().join(separator)
}

/// A value as Python prints it. A log can make a subject or a path hostile to a terminal.
fn plain(value: &Value) -> String {
    match value {
        // fail2ban's own values hold line ends and tabs.
        Value::String(text) => text.split('\n').map(line).collect::<Vec<_>>().join("\n"),
        value => python(value),
    }
}

fn line(text: &str) -> String {
    text.split('\t').map(escape).collect::<Vec<_>>().join("\t")
}

/// A value as Python writes it in a list.
fn python(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let text = escape(&text.replace('\\', "\\\\"));
            let text = if quote == '\'' { text.replace('\'', "\\'") } else { text };
            format!("{quote}{text}{quote}")
        }
        Value::Array(items) => format!("[{}]", all(items.iter().map(python).collect())),
        Value::Object(entries) => {
            let pair = |(name, it): (&String, &Value)| {
                format!("{}: {}", python(&Value::from(name.as_str())), python(it))
            };
            format!("{{{}}}", all(entries.iter().map(pair).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(command: &str, value: &Value, want: &str) {
        let words: Vec<_> = command.split(' ').collect();
        assert_eq!(of(&words, value), want, "{command}");
    }

    #[test]
    fn prints_values_as_python_does() {
        check("banned", &json!([{"sshd": ["192.0.2.1"]}]), "[{'sshd': ['192.0.2.1']}]");
        check("get sshd logtimezone", &Value::Null, "None");
        check("set sshd idle on", &json!(true), "True");
        check("get sshd banned a b", &json!([1, 0]), "[1, 0]");
        check("banned x", &json!([["it's", "\"'\\"]]), "[[\"it's\", '\"\\'\\\\']]");
        check("get sshd banned", &json!(["\u{1b}[2K"]), "['\\u{1b}[2K']");
    }

    #[test]
    fn all_jails_are_one_tree() {
        let jail = json!([["Filter", [["File list", ["/a", "/b"]]]], ["Actions", [["Total", 1]]]]);
        let value = json!([["Jail list", "a, b"], {"a": jail, "b": jail}]);
        insta::assert_snapshot!(of(&["status", "--all"], &value), @r"
        Status
        |- Jail list:	a, b
        `- Status for the jails:
           |- Jail: a
           |  |- Filter
           |  |  `- File list:	/a /b
           |  `- Actions
           |     `- Total:	1
           `- Jail: b
              |- Filter
              |  `- File list:	/a /b
              `- Actions
                 `- Total:	1
        ");
    }
}
