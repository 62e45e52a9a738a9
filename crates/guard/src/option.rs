//! The options of a jail in force, as an operator asks for them and changes them: the values are
//! those that fail2ban's server answers.

use std::collections::BTreeMap;

use control::Refusal;
use control::config::{JailChange, JailOption};
use jail::config::{Action, IgnoreCache, Jail, LogPath, duration, is_true};
use jail::increment::Increment;
use jail::{BanTime, Subject};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::follow;

/// What `logencoding = auto` comes to here.
const OWN_ENCODING: &str = "UTF-8";

/// Seconds that a command of an action may take where it does not say; fail2ban's own.
const TIMEOUT: u64 = 60;

/// The options of growing bans.
const INCREMENT: [&str; 7] = [
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
];

/// Dates that have a name in place of a pattern.
const NAMED_DATES: [&str; 3] = ["Epoch", "LEpoch", "TAI64N"];

/// fail2ban's words for the default dates.
const DEFAULT_DATES: &str = "Default Detectors";

/// Whether the text of an option matters while guard runs, beside what was read from it.
pub(crate) fn is_asked_for(name: &str) -> bool {
    name == "backend" || name.starts_with("bantime.")
}

/// The value of an option.
///
/// # Errors
///
/// Where an action is named that the jail has not, or a property of it.
pub(crate) fn get(jail: &Jail, which: &JailOption) -> Result<Value, Refusal> {
    Ok(match which {
        // Whether it reads is no option of a jail.
        JailOption::Idle => Value::Null,
        JailOption::LogPath => files(jail).into(),
        JailOption::LogEncoding => match jail.log_encoding.as_str() {
            "auto" => OWN_ENCODING.into(),
            named => named.into(),
        },
        JailOption::JournalMatch => json!(jail.journal_match),
        JailOption::IgnoreSelf => jail.ignore_self.into(),
        JailOption::IgnoreIp => ignored(jail).into(),
        JailOption::IgnoreCommand => match &jail.ignore_command {
            Some(command) => command.as_str().into(),
            None => false.into(),
        },
        JailOption::IgnoreCache => match &jail.ignore_cache {
            Some(it) => json!([it.key, it.max_count, it.max_time.as_secs()]),
            None => Value::Null,
        },
        JailOption::PrefRegex => jail.filter.prefregex.as_deref().unwrap_or("").into(),
        JailOption::FailRegex => json!(jail.filter.failregex),
        JailOption::IgnoreRegex => json!(jail.filter.ignoreregex),
        JailOption::DatePattern => date_pattern(jail.filter.datepattern.as_deref()),
        JailOption::UseDns => use_dns(jail.filter.usedns.as_deref().unwrap_or("warn")).into(),
        JailOption::LogTimeZone => json!(jail.filter.logtimezone),
        JailOption::MaxLines => jail.filter.maxlines.unwrap_or(1).into(),
        JailOption::FindTime => jail.find_time.as_secs().into(),
        JailOption::MaxRetry => jail.max_retry.into(),
        JailOption::MaxMatches => jail.max_matches.into(),
        JailOption::BanTime => i64::from(jail.ban_time).into(),
        JailOption::BanTimeExtra(name) => {
            let written = jail.options.get(&format!("bantime.{name}")).filter(|it| !it.is_empty());
            match (written, name.as_str()) {
                (None, _) => Value::Null,
                (Some(text), "increment") => is_true(text).into(),
                (Some(text), "maxtime" | "rndtime") => seconds(text)?.into(),
                (Some(text), _) => text.as_str().into(),
            }
        }
        JailOption::Actions => jail.actions.iter().map(|it| it.act_name.clone()).collect(),
        JailOption::ActionProperties(name) => action(jail, name)?.options.keys().cloned().collect(),
        JailOption::Action { name, property } => {
            let action = action(jail, name)?;
            match (action.options.get(property), property.as_str()) {
                (Some(text), "timeout") => seconds(text)?.into(),
                (Some(text), _) => text.as_str().into(),
                (None, "timeout") => TIMEOUT.into(),
                (None, name) if name.starts_with("action") => "".into(),
                (None, _) => {
                    return Err(Refusal::Failed(format!("action `{name}` has no `{property}`")));
                }
            }
        }
    })
}

/// Makes a change of an option.
///
/// # Errors
///
/// When the value is no sound one; the jail may be half changed then, and is to be thrown away.
pub(crate) fn set(jail: &mut Jail, change: &JailChange) -> Result<(), Refusal> {
    match change {
        JailChange::Idle(_) => {}
        JailChange::AddLogPath { path, .. } if follow::files_of(path).is_empty() => {
            return refuse(format!(
                "there is no file `{path}`; one that is to come is followed by `logpath`"
            ));
        }
        JailChange::AddLogPath { path, from_end } => {
            if jail.log_paths.iter().all(|it| it.pattern != *path) {
                jail.log_paths.push(LogPath { pattern: path.clone(), from_end: *from_end });
            }
        }
        JailChange::DelLogPath(path) => {
            let (n_before, is_it) = (jail.log_paths.len(), |it: &LogPath| it.pattern == *path);
            jail.log_paths.retain(|it| !is_it(it));
            if jail.log_paths.len() == n_before {
                return refuse(format!("`{path}` is none of its paths and patterns"));
            }
        }
        JailChange::LogEncoding(name) => {
            jail.log_encoding.clone_from(name);
            jail.filter.logencoding = Some(name.clone());
        }
        JailChange::AddJournalMatch(terms) => {
            jail.journal_match.extend(terms.split(|it| it == "+").map(<[_]>::to_vec));
        }
        JailChange::DelJournalMatch(terms) if terms.is_empty() => jail.journal_match.clear(),
        JailChange::DelJournalMatch(terms) => {
            let gone: Vec<_> = terms.split(|it| it == "+").collect();
            jail.journal_match.retain(|it| !gone.contains(&it.as_slice()));
        }
        JailChange::IgnoreSelf(on) => jail.ignore_self = *on,
        JailChange::AddIgnoreIp(words) => {
            for word in words.iter().filter(|it| !it.is_empty()) {
                if !jail.ignore_ip.iter().any(|it| same(it, word)) {
                    jail.ignore_ip.push(word.clone());
                }
            }
        }
        JailChange::DelIgnoreIp(word) => {
            let n_before = jail.ignore_ip.len();
            jail.ignore_ip.retain(|it| !same(it, word));
            if jail.ignore_ip.len() == n_before {
                return refuse(format!("`{word}` is not in the list"));
            }
        }
        JailChange::IgnoreCommand(text) => {
            jail.ignore_command = Some(text.clone()).filter(|it| !it.is_empty());
        }
        JailChange::IgnoreCache(text) => {
            let cache = Some(text).filter(|it| !it.is_empty()).map(|it| IgnoreCache::parse(it));
            jail.ignore_cache = cache.transpose().map_err(|it| Refusal::Failed(it.to_string()))?;
        }
        JailChange::PrefRegex(text) => {
            jail.filter.prefregex = Some(text.clone()).filter(|it| !it.is_empty());
        }
        JailChange::AddFailRegex(text) => jail.filter.failregex.push(text.clone()),
        JailChange::AddIgnoreRegex(text) => jail.filter.ignoreregex.push(text.clone()),
        JailChange::DelFailRegex(n) => delete(&mut jail.filter.failregex, *n)?,
        JailChange::DelIgnoreRegex(n) => delete(&mut jail.filter.ignoreregex, *n)?,
        JailChange::DatePattern(text) => jail.filter.datepattern = Some(text.clone()),
        JailChange::UseDns(text) => jail.filter.usedns = Some(use_dns(text)),
        JailChange::LogTimeZone(text) => jail.filter.logtimezone = Some(text.clone()),
        JailChange::MaxLines(n) => jail.filter.maxlines = Some(*n),
        JailChange::FindTime(text) => jail.find_time = SignedDuration::from_secs(seconds(text)?),
        JailChange::MaxRetry(n) => jail.max_retry = *n,
        JailChange::MaxMatches(n) => jail.max_matches = *n,
        JailChange::BanTime(text) => jail.ban_time = BanTime::from(seconds(text)?),
        JailChange::BanTimeExtra { option, value } => {
            let option = format!("bantime.{option}");
            if !INCREMENT.contains(&option.as_str()) {
                return refuse(format!("`{option}` is none of {}", INCREMENT.join(", ")));
            }
            jail.options.insert(option, value.clone());
            let increment = Increment::of(&jail.options);
            jail.increment = increment.map_err(|error| Refusal::Failed(error.to_string()))?;
        }
        JailChange::AddAction(name) if jail.actions.iter().any(|it| it.act_name == *name) => {
            return refuse(format!("action `{name}` is there already"));
        }
        JailChange::AddAction(name) => jail.actions.push(Action {
            name: name.clone(),
            act_name: name.clone(),
            options: BTreeMap::new(),
            known: BTreeMap::new(),
        }),
        JailChange::DelAction(name) => {
            let at = jail.actions.iter().position(|it| it.act_name == *name);
            jail.actions.remove(at.ok_or_else(|| no_action(name))?);
        }
        JailChange::Action { name, property, value } => {
            let found = jail.actions.iter_mut().find(|it| it.act_name == *name);
            let action = found.ok_or_else(|| no_action(name))?;
            action.options.insert(property.clone(), value.clone());
        }
    }
    Ok(())
}

/// `usedns`; what it does not know is `no`, as in fail2ban.
fn use_dns(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    if ["yes", "warn", "no", "raw"].contains(&text.as_str()) { text } else { "no".to_owned() }
}

fn refuse<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::Failed(why))
}

fn delete(expressions: &mut Vec<String>, n: usize) -> Result<(), Refusal> {
    if n >= expressions.len() {
        return refuse(format!("there is no expression {n}; they count from 0"));
    }
    expressions.remove(n);
    Ok(())
}

/// Whole seconds, as fail2ban cuts them.
fn seconds(text: &str) -> Result<i64, Refusal> {
    let seconds = duration::seconds(text).map_err(|error| {
        Refusal::Failed(format!("`{text}` is no time: {error}; write seconds, or `1d 12h 30m`"))
    })?;
    #[expect(clippy::cast_possible_truncation, reason = "what no number can hold is the largest")]
    Ok(seconds as i64)
}

/// The files that its paths name now.
fn files(jail: &Jail) -> Vec<String> {
    let mut files = Vec::new();
    for path in jail.log_paths.iter().flat_map(|it| follow::files_of(&it.pattern)) {
        let path = path.display().to_string();
        if !files.contains(&path) {
            files.push(path);
        }
    }
    files
}

/// Who is never banned, as fail2ban lists them: names and prefixes first, then single addresses.
fn ignored(jail: &Jail) -> Vec<String> {
    let subjects = jail.ignore_ip.iter().map(|word| Subject::from(word.as_str()));
    let (single, wide): (Vec<_>, Vec<_>) = subjects.partition(|it| matches!(it, Subject::Addr(_)));
    wide.iter().chain(&single).map(ToString::to_string).collect()
}

fn same(word: &str, other: &str) -> bool {
    Subject::from(word) == Subject::from(other)
}

fn action<'a>(jail: &'a Jail, name: &str) -> Result<&'a Action, Refusal> {
    jail.actions.iter().find(|it| it.act_name == name).ok_or_else(|| no_action(name))
}

fn no_action(name: &str) -> Refusal {
    Refusal::Failed(format!("'Invalid Action name: {name}'"))
}

/// The pattern and fail2ban's name for it; none where the default dates are looked for.
fn date_pattern(pattern: Option<&str>) -> Value {
    let Some(pattern) = pattern else { return json!([null, DEFAULT_DATES]) };
    let (anchor, name) = match pattern.strip_prefix('^') {
        Some(rest) => ("{^LN-BEG}", rest),
        None => ("", pattern),
    };
    if let Some(name) = NAMED_DATES.iter().find(|it| it.eq_ignore_ascii_case(name)) {
        return json!([null, format!("{anchor}{name}")]);
    }
    // A pattern in braces stands for several.
    match pattern.contains(['{', '\n']) {
        false => json!([pattern, in_words(pattern)]),
        true => json!([null, DEFAULT_DATES]),
    }
}

/// A date pattern with fail2ban's words for what its letters stand for.
fn in_words(pattern: &str) -> String {
    let mut words = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        words.push_str(before);
        let exact = if after.starts_with("Ex") { 2 } else { 0 };
        let Some(letter) = after[exact..].chars().next() else {
            rest = "%";
            break;
        };
        match word(letter) {
            Some(word) => words.push_str(word),
            None => words.extend(["%", &after[..exact + letter.len_utf8()]]),
        }
        rest = &after[exact + letter.len_utf8()..];
    }
    words + rest
}

/// fail2ban's word for what a letter of a date pattern stands for.
fn word(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "DAY",
        'A' => "DAYNAME",
        'b' => "MON",
        'B' => "MONTH",
        'd' => "Day",
        'k' | 'H' => "24hour",
        'l' | 'I' => "12hour",
        'j' => "Yearday",
        'm' => "Month",
        'M' => "Minute",
        'p' => "AMPM",
        'S' => "Second",
        'U' | 'W' => "Yearweek",
        'w' => "Weekday",
        'y' => "Year2",
        'Y' => "Year",
        'z' => "Zone offset",
        'f' => "Microseconds",
        'Z' => "Zone name",
        '%' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, want: &str) {
        assert_eq!(in_words(pattern), want, "{pattern}");
    }

    #[test]
    fn names_date_patterns_as_fail2ban_does() {
        check("%Y-%m-%d %H:%M:%S", "Year-Month-Day 24hour:Minute:Second");
        check("^%%Y%b", "^%YMON");
        check("%ExY%Exm end%", "YearMonth end%");
    }
}
