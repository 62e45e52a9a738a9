//! Starts guard: what it needs, what may be missing, and the order in which all of it comes up.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use control::guard::DisabledJail;
use control::{Accounts, Server, ServerError};
use jail::config::{Backend, Jail};
use jail::judge::Rules;
use jiff::tz::TimeZone;
use scan::Filter;

use crate::answer::{self, Feed};
use crate::command::{Commands, Queue};
use crate::event::Event;
use crate::firewall::{Blocking, Firewall, FirewallError, blocking};
use crate::journal::Query;
use crate::readers::{Plan, Readers};
use crate::run::{Post, Run};
use crate::store::{Store, StoreError};
use crate::words::chain;

/// Events that wait for the loop. A batch is at most a chunk of a log, so this many are some
/// megabytes; a follower that is faster waits.
const MAX_INBOX: usize = 64;

/// Everything that guard needs.
pub struct Setup {
    /// The jails, as the configuration says.
    pub jails: Vec<Jail>,
    /// The jails that the configuration itself refused, for `status`.
    pub disabled: Vec<DisabledJail>,
    /// The folder of guard.db (`STATE/guard`); `None` keeps everything in memory.
    pub state: Option<PathBuf>,
    /// The control socket (`RUNTIME/guard/control.sock`); `None` serves none.
    pub socket: Option<PathBuf>,
    /// What holds the bans. [`crate::Memory`] makes a dry run.
    pub firewall: Box<dyn Firewall>,
    /// The zone of dates in logs that name none.
    pub zone: TimeZone,
}

/// Why guard could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Every jail is at fault, and each was said in the log; or there is none.
    #[error("no jail can start; enable one, or see the log for what is wrong with each")]
    NoJail,
    /// The memory of the last life.
    #[error("guard's memory cannot be used")]
    Store(#[from] StoreError),
    /// The firewall.
    #[error("the firewall cannot be prepared")]
    Firewall(#[from] FirewallError),
    /// The control socket.
    #[error("the control socket cannot be served")]
    Control(#[from] ServerError),
    /// The system.
    #[error("the system does not let guard start its work")]
    System(#[from] io::Error),
}

/// A guard at work.
#[derive(Debug)]
pub struct Guard {
    stopper: Stopper,
    thread: JoinHandle<()>,
}

/// Ends a guard from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    inbox: SyncSender<Event>,
}

impl Stopper {
    /// Ends it in order: everything that was read is dealt with and remembered, and its rules
    /// leave the firewall. Bans come back with the next start.
    pub fn stop(&self) {
        // It has ended already where nobody takes this.
        let _ = self.inbox.send(Event::Stop { leave_rules: false });
    }

    /// Ends it as `kill -9` does, for tests: nothing is put in order, and its rules stay.
    pub fn abandon(&self) {
        // As above.
        let _ = self.inbox.send(Event::Stop { leave_rules: true });
    }
}

/// A jail that can start.
struct Ready {
    jail: Jail,
    filter: Arc<Filter>,
    blocking: Option<Blocking>,
    commands: Vec<Commands>,
}

impl Ready {
    /// What the judge needs, and what the loop does; the commands start with it, unless it is a
    /// dry run.
    fn split(self, is_dry: bool) -> io::Result<(Rules, Post)> {
        let rules = Rules::from(&self.jail);
        let mut post = Post::new(self.jail.name.clone(), self.blocking);
        post.journal =
            (self.jail.backend == Backend::Journal).then(|| Query::of(&self.jail).to_string());
        if !self.commands.is_empty() && !is_dry {
            post.commands = Some(Queue::start(self.jail.name, self.commands)?);
        }
        Ok((rules, post))
    }
}

impl Guard {
    /// Starts guarding.
    ///
    /// A jail that is at fault is left out, said in the log and shown in `status`; the others
    /// start.
    ///
    /// # Errors
    ///
    /// When nothing can be guarded at all.
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        let Setup { jails, mut disabled, state, socket, mut firewall, zone } = setup;
        let store = match &state {
            Some(folder) => Store::open(folder)?,
            None => Store::in_memory()?,
        };
        let mut ready = prepare(jails, &mut disabled);
        leave_out_refused(&mut ready, firewall.as_mut(), &mut disabled)?;
        if ready.is_empty() {
            return Err(StartError::NoJail);
        }

        let (inbox, events) = sync_channel(MAX_INBOX);
        let feed = Arc::new(Feed::default());
        let server = match socket {
            Some(path) => {
                let (inbox, feed) = (inbox.clone(), Arc::clone(&feed));
                let accounts = Accounts::of_host()?;
                Some(Server::listen(&path, accounts, move |caller, request| {
                    answer::answer(caller, request, &inbox, &feed)
                })?)
            }
            None => None,
        };

        let plan = Plan::of(ready.iter().map(|it| (&it.jail, &it.filter)), &store)?;
        let is_dry = !firewall.blocks();
        let jails = ready.into_iter().map(|it| it.split(is_dry)).collect::<io::Result<_>>()?;
        let mut run = Run::new(jails, disabled, store, firewall, zone.clone(), Arc::clone(&feed))?;
        run.restore()?;
        let readers = Readers::start(plan, run.names(), &zone, &inbox)?;
        let stopper = Stopper { inbox };
        let work = move || {
            let end = run.until_stop(&events);
            feed.close();
            drop(server);
            readers.stop();
            // They may wait for room in the inbox.
            drop(events);
            readers.wait();
            run.end(end);
        };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(work)?;
        Ok(Self { stopper, thread })
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until it has ended.
    pub fn wait(self) {
        // A panic of the loop has been said by the panic itself, and ends the program.
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Compiles what each jail needs; what cannot be goes to `disabled`.
fn prepare(jails: Vec<Jail>, disabled: &mut Vec<DisabledJail>) -> Vec<Ready> {
    let mut ready = Vec::new();
    for jail in jails {
        match ready_jail(jail) {
            Ok(jail) => ready.push(jail),
            Err((jail, why)) => leave_out(jail, why, disabled),
        }
    }
    ready
}

fn ready_jail(jail: Jail) -> Result<Ready, (String, String)> {
    let fault = |why: String| (jail.name.clone(), why);
    let filter = Filter::compile(&jail.filter).map_err(|error| fault(chain(&error)))?;
    let blocking = Blocking::of(&jail).map_err(|error| fault(chain(&error)))?;
    let commands = commands(&jail).map_err(fault)?;
    Ok(Ready { filter: Arc::new(filter), blocking, commands, jail })
}

/// The commands of the actions that guard does not do itself; exchange does `misp`.
fn commands(jail: &Jail) -> Result<Vec<Commands>, String> {
    let mut commands = Vec::new();
    for action in jail.actions.iter().filter(|it| !blocking::is_native(it) && it.name != "misp") {
        if action.name.ends_with(".py") {
            tracing::warn!(
                target: "fail2ban.jail",
                "[{}] action {} is a program in Python for fail2ban's own inside and is not run: \
                 bans are made without it",
                jail.name,
                action.act_name
            );
        } else {
            let of_action = Commands::of(action);
            commands.push(of_action.map_err(|why| format!("action `{}`: {why}", action.name))?);
        }
    }
    Ok(commands)
}

/// Leaves out the jails whose rules the firewall does not understand: a port that no service has,
/// for example.
fn leave_out_refused(
    ready: &mut Vec<Ready>,
    firewall: &mut dyn Firewall,
    disabled: &mut Vec<DisabledJail>,
) -> Result<(), FirewallError> {
    let all: Vec<Blocking> = ready.iter().filter_map(|it| it.blocking.clone()).collect();
    match firewall.check(&all) {
        Err(FirewallError::Refused { .. }) => {}
        outcome => return outcome,
    }
    for jail in std::mem::take(ready) {
        match firewall.check(jail.blocking.as_slice()) {
            Ok(()) => ready.push(jail),
            Err(error @ FirewallError::Refused { .. }) => {
                let why = format!("{error}; mend `port`, `protocol` or `banaction`");
                leave_out(jail.jail.name, why, disabled);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn leave_out(jail: String, why: String, disabled: &mut Vec<DisabledJail>) {
    tracing::error!(target: "fail2ban.jail", "Jail '{jail}' does not start: {why}");
    disabled.push(DisabledJail { jail, why });
}
