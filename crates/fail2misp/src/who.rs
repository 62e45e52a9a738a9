//! `who`: everything that is known of an address or a prefix, on one screen. What cannot be asked
//! says so in its place, and the rest is told all the same.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use control::exchange::{ExchangeClient, OutboxEntry};
use control::guard::GuardClient;
use control::pulled::{BlockListQuestion, BlockListView, Reason};
use guard::Followed;
use hunt::{Finding, Indicator, IndicatorSet, Input, Options, Progress};
use ipnet::IpNet;
use jail::{Ban, Subject};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::{self, Folders};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::hunt::filters;
use crate::jails::count;
use crate::operator::local;

/// Entries of the outbox that are looked through.
const MAX_ENTRIES: u32 = 10_000;
/// Lines of the logs that are shown.
const MAX_LINES: usize = 3;
/// How long the logs are searched; what was found by then is told.
const SEARCH_AT_MOST: Duration = Duration::from_secs(10);

/// `who`
pub(crate) fn run(folders: &Folders, args: &cli::Who, out: &mut dyn Write) -> Outcome {
    let net = net(&args.subject).map_err(Failed::usage)?;
    let known = Known::of(folders, net, &args.logs);
    let text = match args.format.is_json() {
        true => format!("{}\n", known.as_json()),
        false => known.as_text(),
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(if known.is_anything() { Code::Done } else { Code::No })
}

fn net(text: &str) -> Result<IpNet> {
    match Subject::from(text) {
        Subject::Addr(addr) => Ok(IpNet::from(addr)),
        Subject::Net(net) => Ok(net),
        Subject::Id(id) => Err(anyhow!(
            "who `{}`: neither an address nor a prefix; write it as 192.0.2.7 or 2001:db8::/64",
            escape(&id)
        )),
    }
}

/// What each part answers, or why it does not.
struct Known {
    net: IpNet,
    bans: Result<Vec<Ban>>,
    outbox: Result<Vec<OutboxEntry>>,
    block_list: Result<Vec<Reason>>,
    logs: Result<InLogs>,
}

/// What the logs hold.
struct InLogs {
    n_logs: usize,
    is_cut_short: bool,
    finding: Option<Finding>,
}

impl Known {
    fn of(folders: &Folders, net: IpNet, logs: &[String]) -> Self {
        let guard = || GuardClient::connect(&folders.guard_socket()).context("guard");
        let exchange = || ExchangeClient::connect(&folders.exchange_socket()).context("exchange");
        let holds = |subject: &Subject| match subject {
            Subject::Addr(addr) => net.contains(addr),
            Subject::Net(other) => net.contains(other) || other.contains(&net),
            Subject::Id(_) => false,
        };
        let bans = guard().and_then(|mut guard| {
            let mut bans = guard.banned(&[])?;
            bans.retain(|ban| holds(&ban.subject));
            Ok(bans)
        });
        let outbox = exchange().and_then(|mut exchange| {
            let mut entries = exchange.outbox(MAX_ENTRIES)?;
            entries.retain(|entry| holds(&entry.subject));
            Ok(entries)
        });
        let block_list = exchange().and_then(|mut exchange| {
            match exchange.block_lists(BlockListQuestion::Why { net })? {
                BlockListView::Why(reasons) => Ok(reasons),
                _ => Err(anyhow!("exchange answers something else")),
            }
        });
        let followed = || -> Result<Vec<Input>> {
            let followed = Followed::from(guard()?.status()?);
            Ok(hunt::find_rotated(&followed.files).0)
        };
        let inputs = if logs.is_empty() { followed() } else { Ok(hunt::find(logs).0) };
        let logs = inputs.and_then(|inputs| search(net, &inputs));
        Self { net, bans, outbox, block_list, logs }
    }

    fn is_anything(&self) -> bool {
        self.bans.as_ref().is_ok_and(|it| !it.is_empty())
            || self.outbox.as_ref().is_ok_and(|it| !it.is_empty())
            || self.block_list.as_ref().is_ok_and(|it| !it.is_empty())
            || self.logs.as_ref().is_ok_and(|it| it.finding.is_some())
    }

    fn as_json(&self) -> Value {
        let logs = self.logs.as_ref().map(|it| {
            json!({
                "logs": it.n_logs,
                "complete": !it.is_cut_short,
                "found": it.finding,
            })
        });
        json!({
            "subject": shown(self.net),
            "bans": or_error(self.bans.as_ref().map(|it| json!(it))),
            "outbox": or_error(self.outbox.as_ref().map(|it| json!(it))),
            "block_list": or_error(self.block_list.as_ref().map(|it| json!(it))),
            "logs": or_error(logs),
        })
    }

    fn as_text(&self) -> String {
        let mut text = format!("{}\n\n", shown(self.net));
        text += &section("banned here", &self.bans, |bans| bans.iter().map(ban).collect());
        text += &section("outbox", &self.outbox, |entries| entries.iter().map(entry).collect());
        text += &section("indicators", &self.block_list, |them| them.iter().map(reason).collect());
        text + &section("logs", &self.logs, in_logs)
    }
}

/// Searches logs for one address or prefix.
fn search(net: IpNet, inputs: &[Input]) -> Result<InLogs> {
    let indicator = Indicator::from(net);
    let set: IndicatorSet = [indicator.clone()].into_iter().collect();
    let options = Options {
        max_samples: MAX_LINES,
        n_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..Options::new(filters::compile()?, TimeZone::system(), Timestamp::now())
    };
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    // It ends with the process; a search that is through by then takes no notice.
    std::thread::spawn(move || {
        std::thread::sleep(SEARCH_AT_MOST);
        watched.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let report = hunt::search(inputs, &set, &options, &progress, Default::default());
    let finding = report.findings.get(&indicator).cloned();
    Ok(InLogs { n_logs: inputs.len(), is_cut_short: report.is_stopped, finding })
}

fn or_error(part: Result<Value, &anyhow::Error>) -> Value {
    part.unwrap_or_else(|error| json!({"error": format!("{error:#}")}))
}

/// A part of the screen: its title, then its lines.
fn section<T>(title: &str, part: &Result<T>, lines: impl FnOnce(&T) -> Vec<String>) -> String {
    let lines = match part {
        Ok(part) => lines(part),
        Err(error) => vec![format!("cannot be asked: {}", escape(&format!("{error:#}")))],
    };
    let lines = if lines.is_empty() { vec!["nothing".to_owned()] } else { lines };
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let title = if n == 0 { title } else { "" };
        text += &format!("{title:12} {line}\n");
    }
    text
}

fn ban(ban: &Ban) -> String {
    let until =
        ban.until().map_or_else(|| "for ever".to_owned(), |it| format!("until {}", local(it)));
    let mut text = format!(
        "{} in jail {}, {until}: {}",
        ban.subject,
        escape(&ban.jail),
        count(ban.n_failures as usize, "failure")
    );
    for line in ban.matches.iter().take(MAX_LINES) {
        text += &format!("\n{:15}{}", "", escape(line.trim_end()));
    }
    text
}

fn entry(entry: &OutboxEntry) -> String {
    let why = entry.why.as_ref().map_or_else(String::new, |why| format!(": {}", escape(why)));
    format!(
        "{} of jail {} waits for {}, since {}{why}",
        entry.subject,
        escape(&entry.jail),
        escape(&entry.destination),
        local(entry.time)
    )
}

fn reason(reason: &Reason) -> String {
    let tags: Vec<_> = reason.tags.iter().map(|tag| escape(tag)).collect();
    let fate = match (&reason.blocked_until, &reason.why_not) {
        (Some(until), _) => format!("blocked until {}", local(*until)),
        (None, Some(why)) => format!("not blocked: {}", escape(why)),
        (None, None) => "not blocked".to_owned(),
    };
    format!(
        "{} {} by {}, {} to {}; {fate} {}",
        escape(&reason.kind),
        reason.net,
        escape(&reason.source),
        local(reason.first),
        local(reason.last),
        tags.join(" ")
    )
}

fn in_logs(logs: &InLogs) -> Vec<String> {
    let searched = count(logs.n_logs, "log");
    let cut = if logs.is_cut_short { ", the search was cut short" } else { "" };
    let Some(finding) = &logs.finding else { return vec![format!("not in {searched}{cut}")] };
    let time = |time: Option<Timestamp>| time.map_or_else(|| "no date".to_owned(), local);
    let mut lines = vec![format!(
        "{}: {} in {searched}{cut}, {} to {}",
        finding.outcome.name(),
        count(usize::try_from(finding.count).unwrap_or(usize::MAX), "line"),
        time(finding.first),
        time(finding.last)
    )];
    let shown =
        finding.samples.iter().map(|sample| format!("  {}", escape(&sample.lines[sample.hit])));
    lines.extend(shown);
    lines
}

/// A prefix, or the one address that it is.
fn shown(net: IpNet) -> String {
    Indicator::from(net).to_string()
}
