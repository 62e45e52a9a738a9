//! The jails as they are in force, and every change of them while guard runs: reload, stop, `set`.
//!
//! A change is prepared on the thread of whoever asks for it: read, compiled. Then the loop takes
//! it, or refuses it and nothing has changed; and last those who read are told. One at a time.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::Refusal;
use control::config::{JailChange, JailOption, Reload};
use control::guard::DisabledJail;
use jail::config::Jail;
use scan::Filter;
use serde_json::Value;

use crate::event::{Event, Reform};
use crate::option;
use crate::program::Program;
use crate::readers::{Plan, Readers};
use crate::ready::{self, Ready};
use crate::words::chain;

/// The jails in force, and who reads for them.
#[derive(Debug)]
pub(crate) struct Roster {
    inbox: SyncSender<Event>,
    program: Option<Arc<dyn Program>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    /// `None` before the start and after the end.
    readers: Option<Readers>,
}

/// A jail in force.
#[derive(Clone, Debug)]
struct Member {
    jail: Arc<Jail>,
    filter: Arc<Filter>,
    /// Whether nobody reads for it.
    idle: bool,
}

impl Member {
    fn of(ready: &Ready) -> Self {
        Self { jail: Arc::clone(&ready.jail), filter: Arc::clone(&ready.filter), idle: false }
    }
}

impl Roster {
    /// The roster of these jails, for which nobody reads yet.
    pub(crate) fn new(
        ready: &[Ready],
        inbox: SyncSender<Event>,
        program: Option<Arc<dyn Program>>,
    ) -> Self {
        let state = State { members: ready.iter().map(Member::of).collect(), readers: None };
        Self { inbox, program, state: Mutex::new(state) }
    }

    /// These read for the jails from now on.
    pub(crate) fn read_by(&self, readers: Readers) {
        self.lock().readers = Some(readers);
    }

    /// Has nobody read any more, and waits for that.
    pub(crate) fn end(&self) {
        if let Some(readers) = self.lock().readers.take() {
            readers.end();
        }
    }

    /// Reads the configuration again, and changes what changed.
    ///
    /// # Errors
    ///
    /// Says all that is wrong with it; nothing has changed then.
    pub(crate) fn reload(&self, how: &Reload) -> Result<(), Refusal> {
        let mut state = self.running()?;
        if let Some(jail) = how.jail.as_deref().filter(|_| !how.if_exists) {
            state.member(jail)?;
        }
        let (jails, mut faults) = self.read()?;
        if let Some(name) = &how.jail {
            faults.retain(|it| it.jail == *name);
        }
        let mut ready = Vec::new();
        for (jail, idle) in state.with(jails, how.jail.as_deref()) {
            match state.ready(jail) {
                Ok(jail) => ready.push((jail, idle)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Broken(faults));
        }
        match &how.jail {
            Some(jail) => tracing::info!(target: "fail2ban.server", "Reload jail {jail}"),
            None => tracing::info!(target: "fail2ban.server", "Reload all jails"),
        }
        let named = |name: &str| how.jail.as_ref().is_none_or(|jail| jail == name);
        let standing = state.members.iter().map(|it| it.jail.name.clone()).filter(|it| named(it));
        let names = ready.iter().map(|(it, _)| it.jail.name.clone()).filter(|it| named(it));
        let reform = Reform {
            restarted: if how.restart { names.collect() } else { Vec::new() },
            // Those that leave are unbanned, too.
            unbanned: if how.unban { standing.collect() } else { Vec::new() },
            // What keeps jails from starting is mended.
            disabled: how.jail.is_none().then(Vec::new),
            is_reload: true,
            jails: Vec::new(),
        };
        self.put_in_force(&mut state, ready, reform)?;
        self.program.iter().for_each(|it| it.follow_jails());
        tracing::info!(target: "fail2ban.server", "Reload finished.");
        Ok(())
    }

    /// Ends a jail, or all of them; a reload brings back what the configuration enables.
    pub(crate) fn stop(&self, jail: Option<&str>) -> Result<(), Refusal> {
        let mut state = self.running()?;
        if let Some(jail) = jail {
            state.member(jail)?;
        }
        let stays = |it: &&Member| jail.is_some_and(|jail| it.jail.name != jail);
        let stay: Vec<_> =
            state.members.iter().filter(stays).map(|it| (Arc::clone(&it.jail), it.idle)).collect();
        self.change(&mut state, stay)
    }

    /// An option of a jail.
    pub(crate) fn get(&self, jail: &str, which: &JailOption) -> Result<Value, Refusal> {
        let state = self.lock();
        let member = state.member(jail)?;
        match which {
            JailOption::Idle => Ok(member.idle.into()),
            which => option::get(&member.jail, which),
        }
    }

    /// Changes an option of a jail, and returns its new value.
    ///
    /// # Errors
    ///
    /// When the value is no sound one; nothing has changed then.
    pub(crate) fn set(&self, jail: &str, change: &JailChange) -> Result<Value, Refusal> {
        let mut state = self.running()?;
        state.member(jail)?;
        let mut jails = Vec::new();
        for Member { jail: other, idle, .. } in &state.members {
            let (mut other, mut idle) = (Arc::clone(other), *idle);
            if other.name == jail {
                match change {
                    JailChange::Idle(on) => idle = *on,
                    change => option::set(Arc::make_mut(&mut other), change)?,
                }
            }
            jails.push((other, idle));
        }
        self.change(&mut state, jails)?;
        drop(state);
        self.get(jail, &change.option())
    }

    fn read(&self) -> Result<(Vec<Jail>, Vec<DisabledJail>), Refusal> {
        let program = self.program.as_ref().ok_or_else(|| {
            Refusal::Failed("this guard was given its jails and reads none; restart it".to_owned())
        })?;
        program.jails().map_err(Refusal::Failed)
    }

    /// Puts these jails in force, each with whether it is idle.
    fn change(&self, state: &mut State, jails: Vec<(Arc<Jail>, bool)>) -> Result<(), Refusal> {
        let mut ready = Vec::new();
        for (jail, idle) in jails {
            ready.push((state.ready(jail).map_err(|it| Refusal::Failed(it.why))?, idle));
        }
        self.put_in_force(state, ready, Reform::default())
    }

    fn put_in_force(
        &self,
        state: &mut State,
        ready: Vec<(Ready, bool)>,
        reform: Reform,
    ) -> Result<(), Refusal> {
        let members =
            ready.iter().map(|(jail, idle)| Member { idle: *idle, ..Member::of(jail) }).collect();
        let jails = ready.into_iter().map(|(jail, _)| jail).collect();
        let (reply, answer) = sync_channel(1);
        let reform = Event::Reform(Reform { jails, ..reform }, reply);
        self.inbox.send(reform).map_err(|_| Refusal::Stopping)?;
        let names = answer.recv().map_err(|_| Refusal::Stopping)??;
        state.members = members;
        let active = state.members.iter().filter(|it| !it.idle);
        let mut plan = Plan::of(active.map(|it| (&*it.jail, &it.filter)));
        plan.names = names;
        let Some(readers) = &mut state.readers else { return Err(Refusal::Stopping) };
        readers.change(plan).map_err(|error| {
            let why = chain(&error);
            Refusal::Failed(format!("some logs are not followed any more: {why}; restart it"))
        })
    }

    /// The state, while guard runs.
    fn running(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.lock();
        if state.readers.is_none() { Err(Refusal::Stopping) } else { Ok(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The members are replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn member(&self, jail: &str) -> Result<&Member, Refusal> {
        let found = self.members.iter().find(|it| it.jail.name == jail);
        found.ok_or_else(|| Refusal::NoJail(jail.to_owned()))
    }

    /// `jail`, compiled; a filter that did not change is not compiled again.
    fn ready(&self, jail: Arc<Jail>) -> Result<Ready, DisabledJail> {
        let known = self.members.iter().find(|it| it.jail.filter == jail.filter);
        Ready::of(jail, known.map(|it| &it.filter))
    }

    /// The jails after a reload, each with whether it is idle: those that were `read`; only the one
    /// of them, with the others as they are, where one is named.
    fn with(&self, read: Vec<Jail>, named: Option<&str>) -> Vec<(Arc<Jail>, bool)> {
        let mut read = read.into_iter().map(ready::kept);
        let Some(named) = named else { return read.map(|it| (it, false)).collect() };
        let mut new = read.find(|it| it.name == named);
        let mut jails = Vec::new();
        for Member { jail, idle, .. } in &self.members {
            if jail.name == named {
                jails.extend(new.take().map(|it| (it, false)));
            } else {
                jails.push((Arc::clone(jail), *idle));
            }
        }
        jails.extend(new.map(|it| (it, false)));
        jails
    }
}
