//! Starts guard: what it needs, what may be missing, and the order in which all of it comes up.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use control::config::Reload;
use control::guard::DisabledJail;
use control::{Accounts, Caller, Refusal, Server};
use jail::config::Jail;
use jail::judge::Together;
use jiff::SignedDuration;

use crate::answer::{Desk, Rate};
use crate::block_list::{BlockLists, Limits};
use crate::clock::Clock;
use crate::command::Shell;
use crate::event::Event;
use crate::feed::Feed;
use crate::firewall::Firewall;
use crate::look_back::{LookBack, Past};
use crate::program::Program;
use crate::readers::{Plan, ReadSoFar, Readers};
use crate::ready;
use crate::roster::Roster;
use crate::run::Run;
use crate::start_error::StartError;
use crate::store::Store;

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
    /// Where fail2ban's own protocol is spoken, for programs that know no other; `None` for nowhere.
    pub fail2ban_socket: Option<PathBuf>,
    /// Where the role `actions` runs commands of `action.d` and resolves names for guard
    /// (`RUNTIME/actions/control.sock`); `None` where guard does so itself.
    pub actions: Option<PathBuf>,
    /// What holds the bans. [`crate::Memory`] makes a dry run.
    pub firewall: Box<dyn Firewall>,
    /// What is taken of block lists and of those who write them.
    pub block_limits: Limits,
    /// What time it is.
    pub clock: Clock,
    /// How long after a ban of thrice its length it is forgotten that there was one: fail2ban's
    /// `dbpurgeage`.
    pub purge_age: SignedDuration,
    /// Which addresses are counted and banned together; none, as in fail2ban, by default.
    pub together: Together,
    /// Whether a live session of an administrator, a connection to port 22, keeps its address from
    /// being banned for failures, too, and not by hand alone.
    pub protect_sessions: bool,
    /// What searches old logs for what is new among indicators; `None` where nothing does.
    pub look_back: Option<Arc<dyn LookBack>>,
    /// What of the program around it an operator may ask for; `None` where nothing.
    pub program: Option<Arc<dyn Program>>,
}

/// A guard at work.
#[derive(Debug)]
pub struct Guard {
    stopper: Stopper,
    roster: Arc<Roster>,
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
        let Setup {
            jails,
            mut disabled,
            state,
            socket,
            fail2ban_socket,
            actions,
            mut firewall,
            block_limits,
            clock,
            purge_age,
            together,
            protect_sessions,
            look_back,
            program,
        } = setup;
        let store = match &state {
            Some(folder) => Store::open(folder)?,
            None => Store::in_memory()?,
        };
        let store = store.with_purge_age(purge_age);
        let mut ready = ready::all(jails, &mut disabled);
        ready::leave_out_refused(&mut ready, firewall.as_mut(), &mut disabled)?;
        if ready.is_empty() {
            return Err(StartError::NoJail);
        }

        let (inbox, events) = sync_channel(MAX_INBOX);
        let feed = Arc::new(Feed::default());
        let roster = Arc::new(Roster::new(&ready, inbox.clone(), program.clone()));
        let (lists, keeper) =
            BlockLists::start(state.as_deref(), firewall.beside(), block_limits.clone())?;
        let past = look_back.map(Past::new);
        let desk = Arc::new(Desk {
            inbox: inbox.clone(),
            feed: Arc::clone(&feed),
            roster: Arc::clone(&roster),
            program,
            lists: lists.clone(),
            past: past.clone(),
            limits: block_limits,
            decoys: Rate::default(),
        });
        let mut servers = Vec::new();
        if let Some(path) = socket {
            let desk = Arc::clone(&desk);
            servers.push(Server::listen(&path, Accounts::of_host()?, move |caller, request| {
                desk.answer(caller, request)
            })?);
        }
        if let Some(path) = fail2ban_socket {
            let answer = move |caller: &Caller, request| desk.answer(caller, request);
            servers.push(Server::listen_as_fail2ban(&path, Accounts::of_host()?, answer)?);
        }

        let mut plan = Plan::of(ready.iter().map(|it| (&*it.jail, &it.filter)));
        let read_so_far = ReadSoFar::of(&store, &plan)?;
        let shell = actions.map_or(Shell::Here, Shell::At);
        let mut run = Run::new(
            ready,
            disabled,
            store,
            firewall,
            lists.clone(),
            shell.clone(),
            clock.clone(),
            Arc::clone(&feed),
            inbox.clone(),
        )?;
        run.protects_sessions = protect_sessions;
        run.count_together(together);
        run.restore()?;
        plan.names = run.names();
        roster.read_by(Readers::start(plan, read_so_far, &clock, shell, &inbox)?);
        let stopper = Stopper { inbox };
        let work = {
            let roster = Arc::clone(&roster);
            move || {
                let end = run.until_stop(&events);
                feed.close();
                past.iter().for_each(Past::stop);
                drop(servers);
                // Readers, and whoever changes them just now, may wait for room in the inbox.
                drop(events);
                roster.end();
                run.end(end);
                lists.stop(end);
                // A panic of it has been said by the panic itself.
                let _ = keeper.join();
            }
        };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(work)?;
        Ok(Self { stopper, roster, thread })
    }

    /// What has it read its configuration again, from another thread.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.roster))
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

/// Has a guard read its configuration again, from another thread.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<Roster>);

impl Reloader {
    /// Changes all that changed in the configuration.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it; nothing has changed then.
    pub fn reload(&self) -> Result<(), Refusal> {
        self.0.reload(&Reload::default())
    }
}
