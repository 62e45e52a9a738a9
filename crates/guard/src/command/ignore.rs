//! The command of a jail that says whom to ignore: `ignorecommand`, with its cache.
//!
//! Each such jail has its own thread, so that a slow command delays nobody else. All failures of
//! the jail pass through it, in order. It wakes for a failure and ends when nobody sends any more.
//! As in fail2ban, the command ignores by returning 0.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jail::Failure;
use jail::config::IgnoreCache;
use jail::judge::Reading;

use super::shell::Fault;
use super::tags::{self, About, Moment};
use super::{Shell, TIMEOUT, family_of};
use crate::event::Event;
use crate::words::{Clean, chain};

/// Failures that wait for the command; with their lines they are some megabytes.
const MAX_WAITING: usize = 10_000;

/// What the command returns who is not ignored.
const NOT_IGNORED: i32 = 1;

/// The queue of the command of one jail.
#[derive(Debug)]
pub(crate) struct IgnoreCommand {
    command: String,
    cache: Option<IgnoreCache>,
    /// Boxed, as the channel has its room from the beginning.
    failures: SyncSender<Box<(Failure, Reading)>>,
    is_full: bool,
}

impl IgnoreCommand {
    /// Starts the thread that runs `command`; its answers go to `inbox`.
    pub(crate) fn start(
        command: String,
        cache: Option<IgnoreCache>,
        shell: Shell,
        inbox: SyncSender<Event>,
    ) -> io::Result<Self> {
        let (failures, waiting) = sync_channel(MAX_WAITING);
        let memory = cache.clone().map(Memory::new);
        let asker = Asker { command: command.clone(), shell, memory };
        // It ends with whoever sends it failures, and is not waited for.
        drop(
            thread::Builder::new()
                .name("guard-ignore".to_owned())
                .spawn(move || asker.run(&waiting, &inbox))?,
        );
        Ok(Self { command, cache, failures, is_full: false })
    }

    /// Whether it runs just this.
    pub(crate) fn runs(&self, command: &str, cache: Option<&IgnoreCache>) -> bool {
        self.command == command && self.cache.as_ref() == cache
    }

    /// Asks about a failure; one too many is said and forgotten, as nothing may wait for a command.
    pub(crate) fn ask(&mut self, failure: Failure, reading: Reading) {
        match self.failures.try_send(Box::new((failure, reading))) {
            Ok(()) => self.is_full = false,
            Err(TrySendError::Full(_)) if self.is_full => {}
            Err(TrySendError::Full(refused)) => {
                self.is_full = true;
                tracing::error!(
                    target: "fail2ban.filter",
                    "[{}] {MAX_WAITING} failures wait for its ignorecommand: further ones do not \
                     count until there is room; make it faster, or set ignorecache",
                    refused.0.jail
                );
            }
            // The thread panicked, and has said so.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Asks the command, or remembers what it said.
struct Asker {
    command: String,
    shell: Shell,
    memory: Option<Memory>,
}

impl Asker {
    fn run(mut self, waiting: &Receiver<Box<(Failure, Reading)>>, inbox: &SyncSender<Event>) {
        for (failure, reading) in waiting.iter().map(|it| *it) {
            let is_ignored = self.is_ignored(&failure);
            if inbox.send(Event::Judged { failure, reading, is_ignored }).is_err() {
                return;
            }
        }
    }

    fn is_ignored(&mut self, failure: &Failure) -> bool {
        let about = Some(About::failure(failure));
        let moment = Moment { family: family_of(&failure.subject), about, ..Moment::default() };
        let Some(memory) = &mut self.memory else {
            return runs(&self.shell, &self.command, &moment, failure);
        };
        let key = tags::plain(&memory.rules.key, &moment, &self.shell);
        if let Some(known) = memory.get(&key) {
            return known;
        }
        let is_ignored = runs(&self.shell, &self.command, &moment, failure);
        memory.put(key, is_ignored);
        is_ignored
    }
}

/// Runs the command; whether it ignores.
fn runs(shell: &Shell, command: &str, moment: &Moment<'_>, failure: &Failure) -> bool {
    match shell.run(&tags::fill(command, moment, shell), TIMEOUT) {
        Ok(()) => true,
        Err(Fault::Ended { code: Some(NOT_IGNORED), .. }) => false,
        Err(fault) => {
            tracing::error!(
                target: "fail2ban.filter",
                "[{}] ignorecommand for {} failed, so it counts: {}",
                failure.jail, Clean(&failure.subject), Clean(chain(&fault))
            );
            false
        }
    }
}

/// What the command said.
struct Memory {
    rules: IgnoreCache,
    said: HashMap<String, (bool, Instant)>,
    /// The keys, oldest first.
    order: VecDeque<String>,
}

impl Memory {
    fn new(rules: IgnoreCache) -> Self {
        Self { rules, said: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&self, key: &str) -> Option<bool> {
        let (said, since) = self.said.get(key)?;
        let max_time = Duration::try_from(self.rules.max_time).unwrap_or_default();
        (since.elapsed() <= max_time).then_some(*said)
    }

    fn put(&mut self, key: String, said: bool) {
        if self.said.insert(key.clone(), (said, Instant::now())).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.rules.max_count {
            let oldest = self.order.pop_front();
            oldest.map(|it| self.said.remove(&it));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn remembers_for_so_long_and_so_many() {
        let rules = |max_time| IgnoreCache { key: "<ip>".into(), max_count: 2, max_time };
        let mut memory = Memory::new(rules(SignedDuration::from_secs(60)));
        for (key, said) in [("a", true), ("b", false), ("b", true), ("c", false)] {
            memory.put(key.to_owned(), said);
        }
        assert_eq!(["a", "b", "c"].map(|it| memory.get(it)), [None, Some(true), Some(false)]);
        let mut memory = Memory::new(rules(SignedDuration::from_nanos(1)));
        memory.put("a".to_owned(), true);
        std::thread::yield_now();
        assert_eq!(memory.get("a"), None);
    }
}
