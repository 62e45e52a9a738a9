//! `report`: puts one offender into the spool and returns; called by fail2ban's action.

use std::ffi::OsString;
use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use exchange::{Addressee, Report, spool};
use jail::{Ban, BanTime, Subject};
use jiff::Timestamp;

use crate::cli::{self, Folders};
use crate::deliver;
use crate::exit::{Code, Failed, Outcome, escape};
use crate::jails::Source;
use crate::misp_action::{self, MispAction};
use crate::settings;

/// Matched lines are evidence, not an archive; what is beyond this is left out.
const MAX_MATCHES_BYTES: u64 = 64 * 1024;

/// The jail of reports that name none, as the article's script does.
const NO_JAIL: &str = "fail2ban";

/// Accepts the report, or says why not.
pub(crate) fn run(folders: &Folders, args: &cli::Report) -> Outcome {
    if args.restored == 1 {
        return Ok(Code::Done); // it was told when it was new
    }
    let subject = subject(&args.ip)?;
    let to = addressee(folders, args)?;
    let host = args.host.clone();
    let report = Report { host, to, ..Report::of(ban(subject, args)?) };
    spool::put(&folders.state, &[report]).map_err(Failed::other_side)?;
    // What is in the spool is safe; that nobody delivers it yet is no reason for fail2ban to think
    // that the report failed.
    if let Err(error) = deliver::ensure(folders) {
        eprintln!("fail2misp: {} is safe in the spool; {error:#}", escape(&args.ip));
    }
    Ok(Code::Done)
}

fn subject(ip: &str) -> Result<Subject, Failed> {
    match Subject::from(ip) {
        Subject::Id(id) => Err(Failed::usage(anyhow!(
            "report `{}`: neither an address nor a prefix; MISP is told of nothing else",
            escape(&id)
        ))),
        subject => Ok(subject),
    }
}

/// Where the report goes, as its caller or fail2ban's configuration names it; `None` where neither
/// does, and then our own configuration decides.
fn addressee(folders: &Folders, args: &cli::Report) -> Result<Option<Addressee>, Failed> {
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let source = Source::find(folders, &settings);
    let named = match article(&args.article)? {
        Some(named) => Some(named),
        None => configured(&source, args)?,
    };
    match named {
        Some(named) => named.into_addressee(&folders.state).map(Some).map_err(Failed::other_side),
        None if !settings.misp.is_empty() => Ok(None),
        None => Err(Failed::usage(anyhow!(
            "report `{}`: nobody says which MISP; put action.d/misp.conf into {source}, or a \
             [misp.NAME] into `{}`",
            escape(&args.ip),
            folders.config.display()
        ))),
    }
}

/// The article's other four arguments.
fn article(words: &[OsString]) -> Result<Option<MispAction>, Failed> {
    let [key, url, event, sight] = words else { return Ok(None) };
    let text = |name: &str, word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| Failed::usage(anyhow!("{name} is no text")))
    };
    let options = [
        ("misp_auth_key", text("KEY", key)?),
        ("misp_base_url", text("URL", url)?),
        ("misp_event", text("EVENT", event)?),
        ("misp_sight", text("SIGHT", sight)?),
    ];
    let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    misp_action::read(&options).map(Some).map_err(|error| Failed::usage(error.context("report")))
}

/// What the jail's own action line and `action.d/misp.conf` say. The action of the built-in jails
/// is a template: it names no MISP.
fn configured(source: &Source, args: &cli::Report) -> Result<Option<MispAction>, Failed> {
    if matches!(source, Source::BuiltIn(_)) {
        return Ok(None);
    }
    let jail = args.jail.as_deref();
    let options = source.misp_options(jail, args.action.as_deref()).or_else(|error| {
        // An action may be given a name of its own, and a jail may be broken by now: the offender
        // is told all the same.
        eprintln!("fail2misp: {error:#}; the values of action.d/misp.conf are taken");
        source.misp_options(None, None)
    });
    let Some(options) = options.map_err(Failed::usage)? else { return Ok(None) };
    let read = misp_action::read(&options).with_context(|| format!("action `misp` in {source}"));
    read.map(Some).map_err(Failed::usage)
}

fn ban(subject: Subject, args: &cli::Report) -> Result<Ban, Failed> {
    let now = Timestamp::now();
    let time = match args.time {
        Some(epoch) => Timestamp::from_millisecond((epoch * 1000.0) as i64)
            .map_err(|_out_of_range| Failed::usage(anyhow!("--time {epoch} is no time")))?,
        None => now,
    };
    let matches = match args.matches {
        Some(_) => matches_from_stdin().map_err(Failed::usage)?,
        None => Vec::new(),
    };
    Ok(Ban {
        jail: args.jail.clone().unwrap_or_else(|| NO_JAIL.to_owned()),
        subject,
        time,
        bantime: args.bantime.map_or(BanTime::Seconds(0), |it| BanTime::from(it as i64)),
        n_failures: args.failures,
        first_failure: time,
        last_failure: time,
        matches,
        fields: Vec::new(),
    })
}

fn matches_from_stdin() -> anyhow::Result<Vec<String>> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_MATCHES_BYTES).read_to_end(&mut bytes).context("read the matches")?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}
