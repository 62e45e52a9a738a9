//! `hub --upstream`: what many hosts bring to a hub is told on, by one writer with one key.
//!
//! Exchange follows the hub's log as it follows guard's on a host; merging, thresholds, batches,
//! retries and the outbox are its own. It lives in `relay` of the hub's folder, which is a state
//! folder and a runtime folder as any other: `fail2misp --runtime DATA/relay outbox`.

use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use exchange::destination::jail_of_event;
use exchange::{Destination, Mode, Part, Policy, Report, Source, SourceError, Stop};
use hub::{Hub, Log, LogEntry, StopHandle};
use jail::{Ban, BanTime, Subject};

use crate::cli::Folders;
use crate::destinations;
use crate::settings::{self, Settings};

/// A relay that runs.
pub(crate) struct Relay {
    stop: Stop,
    thread: JoinHandle<Result<()>>,
}

impl Relay {
    /// Starts to tell `upstreams`, by their names in the configuration, what is brought to `hub`,
    /// which is stopped where that cannot go on: a supervisor starts both anew.
    pub(crate) fn start(setup: exchange::Setup, hub: StopHandle) -> Self {
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let ended = exchange::run(setup, &stopped).map(drop).context("hub --upstream");
            hub.stop();
            ended
        });
        Self { stop, thread }
    }

    /// Ends it, and tells what went wrong.
    pub(crate) fn end(self) -> Result<()> {
        self.stop.stop();
        match self.thread.join() {
            Ok(ended) => ended,
            Err(_panic) => bail!("hub --upstream: the relay panicked"),
        }
    }
}

/// What a relay of `hub` is started with.
pub(crate) fn setup(
    folders: &Folders,
    data: &Path,
    hub: &Hub,
    upstreams: &[String],
) -> Result<exchange::Setup> {
    let settings = settings::read(&folders.config)?;
    let destinations = upstreams.iter().map(|name| upstream(&settings, hub, name));
    let destinations = destinations.collect::<Result<_>>()?;
    let state = data.join("relay");
    // Hosts have counted failures already.
    let policy = Policy { min_failures: 1, ..destinations::policy(&settings.share) };
    Ok(exchange::Setup {
        socket: Some(state.join("exchange/control.sock")),
        source: Some(Box::new(HubLog { name: hub.instance().to_string(), log: hub.log() })),
        destinations,
        // An agent beside the hub may write to the same upstream, and its events are its own.
        site: format!("hub {}", destinations::site(&settings.share)),
        policy,
        review: settings.share.review,
        ..exchange::Setup::new(state, Mode::Daemon)
    })
}

fn upstream(settings: &Settings, hub: &Hub, name: &str) -> Result<Destination> {
    let named = || format!("hub --upstream {name}");
    let Some(misp) = settings.misp.get(name) else {
        let known: Vec<_> = settings.misp.keys().map(|it| format!("[misp.{it}]")).collect();
        let remedy = match known.is_empty() {
            true => "write it, with url and key_file, into the configuration".to_owned(),
            false => format!("there is {}", known.join(", ")),
        };
        bail!("{}: there is no [misp.{name}]; {remedy}", named());
    };
    let mut it = destinations::of_settings(name, misp, &settings.share).with_context(named)?;
    if it.url == hub.url() {
        bail!("{}: {} is this hub itself; name another server", named(), it.url);
    }
    // The jails are those of the hosts, and are not known here.
    it.jails = vec!["*".to_owned()];
    it.transport.relay = Some(hub.instance());
    Ok(it)
}

/// The hub's own log.
struct HubLog {
    name: String,
    log: Log,
}

impl Source for HubLog {
    fn since(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Part, SourceError> {
        let hub::Entries { entries, last } = self.log.since(after, limit, wait)?;
        let reports = entries.into_iter().map(report).collect();
        Ok(Part { log: self.name.clone(), last, reports })
    }

    fn reached(&mut self, _log: &str, number: u64) -> Result<(), SourceError> {
        Ok(self.log.forget(number)?)
    }
}

/// What an entry reports. All jails of a kind are one here: an address that many of them saw is one
/// attribute, with one sighting in an interval.
fn report(entry: LogEntry) -> Report {
    let subject = Subject::from(entry.value);
    if entry.is_false_positive {
        return Report::mistake(subject, entry.time);
    }
    let ban = Ban {
        jail: jail_of_event(&entry.tags).to_owned(),
        subject,
        time: entry.time,
        bantime: BanTime::Seconds(0), // nobody is banned here
        n_failures: 1,
        first_failure: entry.first,
        last_failure: entry.last,
        matches: Vec::new(),
        fields: Vec::new(),
    };
    Report { host: Some(entry.host), ..Report::of(ban) }
}
