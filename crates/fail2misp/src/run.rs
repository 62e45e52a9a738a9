//! `run`: the daemon, both halves of it or one, and `deliver`, what `report` leaves to the background.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use exchange::{Destination, GuardSource, MetricsSetup, Mode};
use guard::{Actions, Guard, Reloader, Stopper};
use jail::config::{Configuration, Jail};
use jail::judge::{Crowd, Together};
use tracing::{error, info, warn};

use crate::cli::{Folders, Part, Run};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::jails::{self, Source};
use crate::log::{self, Log};
use crate::look_back::LookBack;
use crate::program::{self, LogFollows, Surroundings};
use crate::settings::{self, BlockList, FirewallChoice, Settings};
use crate::textfile::Textfile;
use crate::{allocator, deliver, destinations, firewall, pulling, signals, supervisor};

/// The target of what neither half says.
const LOG: &str = "fail2misp";

/// The longest that a delivery in the background tries; what then waits is delivered with the next
/// report, or by a daemon.
const DELIVER_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// `run`
pub(crate) fn run(folders: &Folders, args: &Run) -> Outcome {
    allocator::keep_little();
    if args.only == Some(Part::Actions) {
        return run_actions(folders);
    }
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let source = Source::find(folders, &settings);
    let configuration = source.read(&settings.guard);
    let log = begin_log(&settings, &configuration, args.dry_run);
    for fault in &configuration.faults {
        match &fault.jail {
            Some(_) => error!(target: LOG, "{}", jails::describe(fault)),
            None => warn!(target: LOG, "{}", jails::describe(fault)),
        }
    }
    let halves = Halves {
        guard: args.only != Some(Part::Exchange),
        // A dry run tells nobody.
        exchange: args.only != Some(Part::Guard) && !args.dry_run,
    };
    if halves.guard && configuration.jails.is_empty() {
        return Err(Failed::usage(anyhow!(
            "no jail of {source} is enabled and can start; `fail2misp check` says what is wrong"
        )));
    }
    let exchange = match halves.exchange {
        true => {
            let pull = pulling::setup(folders, &settings).map_err(Failed::usage)?;
            let setup = exchange_setup(folders, &settings, &source, &configuration.jails);
            Some(exchange::Setup { pull, ..setup })
        }
        false => None,
    };
    let guard = halves
        .guard
        .then(|| guard_setup(folders, &settings, source, configuration, log, args.dry_run));
    // A dry run has no socket to ask at.
    let textfile = settings.metrics.textfile.filter(|_| halves.guard && !args.dry_run);
    let textfile = textfile.map(|path| Textfile::start(path, folders.guard_socket()));
    let _textfile = textfile.transpose().context("metrics").map_err(Failed::other_side)?;
    let watched = (halves.guard && !args.dry_run).then(|| folders.guard_socket());
    both(guard, exchange, watched)
}

/// Runs the commands of actions for guard until the process is asked to end.
fn run_actions(folders: &Folders) -> Outcome {
    let serve = || -> Result<()> {
        let _actions = Actions::serve(&folders.actions_socket())?;
        supervisor::ready(None);
        signals::wait()?;
        supervisor::stopping();
        Ok(())
    };
    serve().context("actions").map(|()| Code::Done).map_err(Failed::other_side)
}

/// Which halves run here.
struct Halves {
    guard: bool,
    exchange: bool,
}

/// Runs the halves until one of them fails or the process is asked to end; one that fails ends the
/// other, so that a supervisor starts both anew, which is told of the guard at `watched`.
fn both(
    guard: Option<guard::Setup>,
    exchange: Option<exchange::Setup>,
    watched: Option<PathBuf>,
) -> Outcome {
    let guard = guard.map(Guard::start).transpose().context("guard");
    let guard = guard.map_err(Failed::other_side)?;
    let stop_exchange = exchange::Stop::default();
    let stop_both = {
        let (guard, exchange) = (guard.as_ref().map(Guard::stopper), stop_exchange.clone());
        move || {
            supervisor::stopping();
            guard.iter().for_each(Stopper::stop);
            exchange.stop();
        }
    };
    let reloader = guard.as_ref().map(Guard::reloader);
    signals::on_end_or_reload(stop_both.clone(), move || reloader.iter().for_each(reload))
        .map_err(Failed::other_side)?;
    let exchange = exchange.map(|setup| {
        thread::spawn(move || {
            let ended = exchange::run(setup, &stop_exchange).map(drop).context("exchange");
            stop_both();
            ended
        })
    });
    supervisor::ready(watched);
    if let Some(guard) = guard {
        guard.wait();
    }
    let ended = match exchange.map(JoinHandle::join) {
        None => Ok(()),
        Some(Ok(ended)) => ended,
        Some(Err(_panic)) => Err(anyhow!("exchange panicked")),
    };
    ended.map(|()| Code::Done).map_err(Failed::other_side)
}

fn reload(reloader: &Reloader) {
    if let Err(refusal) = reloader.reload() {
        error!(target: LOG, "{}", escape(&refusal.to_string()));
    }
}

/// Begins the log where our configuration says, else where fail2ban's does. A dry run may stand beside
/// a live daemon, and leaves its log alone.
fn begin_log(settings: &Settings, configuration: &Configuration, is_dry: bool) -> Log {
    let ours = settings.log.target.as_ref();
    let named = ours.or_else(|| configuration.server.get("logtarget")).filter(|_| !is_dry);
    let target = named.map(|text| (text, log::Target::read(text)));
    let (target, trouble) = match target {
        None => (log::Target::Stderr, None),
        Some((text, None)) => {
            let trouble = format!("the log target `{text}` is not known, {}", log::TARGETS);
            (log::Target::Stderr, Some(trouble))
        }
        Some((text, Some(target))) => match target.try_out() {
            Ok(()) => (target, None),
            Err(error) => {
                (log::Target::Stderr, Some(format!("the log `{text}` cannot be written: {error}")))
            }
        },
    };
    let level = configuration.server.get("loglevel").map_or(log::DEFAULT_LEVEL, String::as_str);
    let log = log::begin(level, target);
    if let Some(trouble) = trouble {
        warn!(target: LOG, "{trouble}; the log goes to standard error");
    }
    log
}

fn guard_setup(
    folders: &Folders,
    settings: &Settings,
    source: Source,
    configuration: Configuration,
    log: Log,
    is_dry: bool,
) -> guard::Setup {
    let look_back =
        LookBack::of(&settings.look_back, &log).filter(|_| settings.blocklist.is_some());
    let look_back = look_back.map(|it| Arc::new(it) as Arc<dyn guard::LookBack>);
    let block_limits = settings.blocklist.as_ref().map(BlockList::limits).unwrap_or_default();
    let log_stays = settings.log.target.is_some() || is_dry;
    let settings = settings.guard.clone();
    let choice = if is_dry { FirewallChoice::Memory } else { settings.firewall };
    // A dry run may stand beside a live daemon, and leaves its memory and its socket alone.
    let state = (!is_dry).then(|| folders.state.join("guard"));
    let database = state.as_ref().map(|it| it.join("guard.db"));
    let purge_age = program::purge_age(&configuration.server);
    let fail2ban_socket = settings.fail2ban_socket.clone().filter(|_| !is_dry);
    let protect_sessions = settings.protect_sessions;
    // Where a unit of its own runs them, its folder is there before guard starts.
    let actions = Some(folders.actions_socket()).filter(|it| it.parent().is_some_and(Path::is_dir));
    let n_banned = settings.ipv4_prefix_after;
    let together = Together {
        ipv6_prefix: settings.ipv6_prefix,
        ipv4: settings.ipv4_prefix.map(|prefix| Crowd { prefix, n_banned }),
    };
    let server = configuration.server;
    let log_follows = Mutex::new(LogFollows::new(server.clone()));
    let program = Surroundings { source, settings, log, log_stays, log_follows, server, database };
    guard::Setup {
        jails: configuration.jails,
        disabled: program::refused(configuration.faults),
        state,
        socket: (!is_dry).then(|| folders.guard_socket()),
        firewall: firewall::open(choice),
        block_limits,
        clock: guard::Clock::system(),
        purge_age,
        fail2ban_socket,
        actions,
        together,
        protect_sessions,
        look_back,
        program: Some(Arc::new(program)),
    }
}

fn exchange_setup(
    folders: &Folders,
    settings: &Settings,
    source: &Source,
    jails: &[Jail],
) -> exchange::Setup {
    let (destinations, refused) = destinations::all(settings, source, jails, &folders.state);
    for error in refused {
        error!(target: LOG, "nobody is told: {error:#}");
    }
    if destinations.is_empty() {
        warn!(
            target: LOG,
            "no MISP is named; add the action `misp` to a jail, or a [misp.NAME] to `{}`",
            folders.config.display()
        );
    }
    for it in &destinations {
        info!(target: LOG, "jails {} are told to {} at {}", it.jails.join(", "), it.name, it.url);
    }
    let guard = GuardSource::new(folders.guard_socket());
    exchange::Setup {
        socket: Some(folders.exchange_socket()),
        metrics: settings
            .metrics
            .listen
            .map(|listen| MetricsSetup { listen, guard: folders.guard_socket() }),
        source: Some(Box::new(guard)),
        ..exchange_base(&folders.state, settings, destinations, Mode::Daemon)
    }
}

fn exchange_base(
    state: &Path,
    settings: &Settings,
    destinations: Vec<Destination>,
    mode: Mode,
) -> exchange::Setup {
    exchange::Setup {
        destinations,
        site: destinations::site(&settings.share),
        policy: destinations::policy(&settings.share),
        review: settings.share.review,
        ..exchange::Setup::new(state.to_owned(), mode)
    }
}

/// `deliver`: what waits goes to MISP, then the process ends.
pub(crate) fn deliver(folders: &Folders) -> Outcome {
    allocator::keep_little();
    deliver::detach(folders).map_err(Failed::other_side)?;
    deliver_spool(folders).map(|()| Code::Done).map_err(Failed::other_side)
}

fn deliver_spool(folders: &Folders) -> Result<()> {
    let settings = settings::read(&folders.config)?;
    // Jails are not read: a report says itself where it goes, unless our own configuration does.
    let nobody = Source::BuiltIn(crate::disk::BuiltIn::default());
    let (destinations, _none) = destinations::all(&settings, &nobody, &[], &folders.state);
    let mode = Mode::UntilEmpty { limit: DELIVER_AT_MOST };
    let setup = exchange_base(&folders.state, &settings, destinations, mode);
    exchange::run(setup, &exchange::Stop::default())?;
    Ok(())
}
