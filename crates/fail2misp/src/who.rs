//! `who`: everything that is known of an address or a prefix, on one screen. What cannot be asked
//! says so in its place, and the rest is told all the same.

mod misp;

use std::fs;
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
use lists::places::{Place, Places};
use serde_json::{Value, json};

use self::misp::Held;
use crate::cli::{self, Folders};
use crate::destinations;
use crate::exit::{Code, Failed, Outcome, escape};
use crate::hunt::filters;
use crate::jails::count;
use crate::operator::local;
use crate::settings::{self, Settings};

/// Entries of the outbox that are looked through.
const MAX_ENTRIES: u32 = 10_000;
/// Bans of the past that are looked through, those of a week under heavy attack.
const MAX_PAST_BANS: usize = 100_000;
/// Bans of the past that are shown, the latest.
const MAX_PAST: usize = 5;
/// Lines of the logs that are shown.
const MAX_LINES: usize = 3;
/// How long the logs are searched; what was found by then is told.
const SEARCH_AT_MOST: Duration = Duration::from_secs(10);

/// `who`
pub(crate) fn run(folders: &Folders, args: &cli::Who, out: &mut dyn Write) -> Outcome {
    let net = net(&args.subject).map_err(Failed::usage)?;
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let known = Known::of(folders, &settings, net, args);
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
    /// Bans that are over, the latest last.
    past: Result<Vec<Ban>>,
    /// The warninglist that names him.
    warned: Result<Option<String>>,
    /// Where he is; nothing where no file knows.
    place: Result<Place>,
    /// What MISPs and hubs hold; nothing where none was asked.
    misp: Vec<Held>,
}

/// What the logs hold.
struct InLogs {
    n_logs: usize,
    is_cut_short: bool,
    finding: Option<Finding>,
}

impl Known {
    fn of(folders: &Folders, settings: &Settings, net: IpNet, args: &cli::Who) -> Self {
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
        let inputs = match args.logs.is_empty() {
            true => followed(),
            false => Ok(hunt::find(&args.logs).0),
        };
        let standing = |ban: &Ban| bans.as_ref().is_ok_and(|bans| bans.contains(ban));
        let past = guard().and_then(|mut guard| {
            let mut past = past_bans(&mut guard)?;
            past.retain(|ban| holds(&ban.subject) && !standing(ban));
            Ok(past)
        });
        Self {
            net,
            past,
            outbox,
            block_list,
            logs: inputs.and_then(|inputs| search(net, &inputs)),
            warned: exchange().and_then(|mut it| Ok(it.warned(&Subject::from(net))?)),
            place: place(settings, net),
            misp: if args.offline { Vec::new() } else { ask_servers(folders, settings, net) },
            bans,
        }
    }

    fn is_anything(&self) -> bool {
        self.bans.as_ref().is_ok_and(|it| !it.is_empty())
            || self.outbox.as_ref().is_ok_and(|it| !it.is_empty())
            || self.block_list.as_ref().is_ok_and(|it| !it.is_empty())
            || self.logs.as_ref().is_ok_and(|it| it.finding.is_some())
            || self.past.as_ref().is_ok_and(|it| !it.is_empty())
            || self.warned.as_ref().is_ok_and(Option::is_some)
            || self.misp.iter().any(Held::is_anything)
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
            "place": or_error(self.place.as_ref().map(|it| json!(it))),
            "bans": or_error(self.bans.as_ref().map(|it| json!(it))),
            "past_bans": or_error(self.past.as_ref().map(|it| json!(it))),
            "outbox": or_error(self.outbox.as_ref().map(|it| json!(it))),
            "block_list": or_error(self.block_list.as_ref().map(|it| json!(it))),
            "warninglist": or_error(self.warned.as_ref().map(|it| json!(it))),
            "misp": self.misp.iter().map(Held::as_json).collect::<Vec<_>>(),
            "logs": or_error(logs),
        })
    }

    fn as_text(&self) -> String {
        let mut text = format!("{}\n\n", shown(self.net));
        if !matches!(&self.place, Ok(place) if *place == Place::default()) {
            text += &section("place", &self.place, |it| vec![place_in_words(it)]);
        }
        text += &section("banned here", &self.bans, |bans| bans.iter().map(ban).collect());
        text += &section("before", &self.past, |past| {
            past.iter().rev().take(MAX_PAST).map(ban).collect()
        });
        text += &section("outbox", &self.outbox, |entries| entries.iter().map(entry).collect());
        text += &section("indicators", &self.block_list, |them| them.iter().map(reason).collect());
        text +=
            &section("warninglist", &self.warned, |it| it.iter().map(|it| escape(it)).collect());
        if !self.misp.is_empty() {
            let held = Ok(self.misp.iter().flat_map(Held::lines).collect::<Vec<_>>());
            text += &section("MISP", &held, Clone::clone);
        }
        text + &section("logs", &self.logs, in_logs)
    }
}

/// The bans that guard's log of bans still holds.
fn past_bans(guard: &mut GuardClient) -> Result<Vec<Ban>> {
    let (mut past, mut after) = (Vec::new(), 0);
    while past.len() < MAX_PAST_BANS {
        let bans = guard.bans_since(after, u32::MAX, Duration::ZERO)?.bans;
        let Some(last) = bans.last() else { break };
        after = last.number;
        past.extend(bans.into_iter().map(|it| it.ban));
    }
    Ok(past)
}

/// Where it is, by the files of `[who] geoip`.
fn place(settings: &Settings, net: IpNet) -> Result<Place> {
    let mut places = Places::default();
    for path in &settings.who.geoip {
        let named = || format!("who.geoip: `{}`", path.display());
        places.add(fs::read(path).with_context(named)?).with_context(named)?;
    }
    Ok(places.of(net.network()))
}

fn place_in_words(place: &Place) -> String {
    let country = place.country.as_deref().unwrap_or("country unknown");
    let system = place.system.as_ref();
    let system = system.map(|it| format!(", AS{} {}", it.number, it.name)).unwrap_or_default();
    escape(&format!("{country}{system}"))
}

/// What each MISP and hub holds. One that cannot be asked for reasons of our own is `doctor`'s.
fn ask_servers(folders: &Folders, settings: &Settings, net: IpNet) -> Vec<Held> {
    let (servers, _refused) = destinations::servers(folders, settings);
    servers.into_iter().map(|server| misp::ask(server, &shown(net))).collect()
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
