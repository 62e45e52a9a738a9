//! A firewall that only remembers, for `--dry-run`, the demo and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Banned, Blocking, Change, Dropped, Firewall, FirewallError, Look};

/// Holds bans in memory and blocks nothing. Clones share what they hold, so that one of them can
/// be watched while guard moves the other.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    jails: BTreeSet<String>,
    /// When each ban ends; `None` for never.
    bans: BTreeMap<(String, IpNet), Option<Instant>>,
}

impl Memory {
    /// Who is banned now in which jail, in order.
    pub fn bans(&self) -> Vec<(String, IpNet)> {
        let now = Instant::now();
        self.held(|held| {
            let live = held.bans.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
            live.map(|(key, _)| key.clone()).collect()
        })
    }

    fn held<T>(&self, what: impl FnOnce(&mut Held) -> T) -> T {
        // Nothing between lock and unlock can leave the maps half changed.
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    /// The jail of a change must have rules, as a set of the kernel must be there.
    fn allows(&self, change: &Change) -> Result<(), FirewallError> {
        let jail = change.jail();
        if self.jails.contains(jail) {
            return Ok(());
        }
        Err(FirewallError::Refused { said: format!("jail `{jail}` has no rules") })
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::Ban { jail, target, timeout } => {
                self.bans.insert((jail.clone(), *target), end(*timeout));
            }
            Change::Unban { jail, target } => {
                self.bans.remove(&(jail.clone(), *target));
            }
        }
    }
}

/// A moment so far away that it cannot be told is never.
fn end(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

impl Firewall for Memory {
    fn describe(&self) -> String {
        "memory (nothing is blocked)".into()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn check(&mut self, _jails: &[Blocking]) -> Result<(), FirewallError> {
        Ok(())
    }

    fn beside(&self) -> Box<dyn Firewall> {
        Box::new(Self::default())
    }

    fn rebuild(
        &mut self,
        jails: &[Blocking],
        bans: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), FirewallError> {
        let mut new =
            Held { jails: jails.iter().map(|it| it.jail.clone()).collect(), ..Held::default() };
        for ban in bans {
            new.allows(&ban)?;
            new.make(&ban);
        }
        self.held(|held| *held = new);
        Ok(())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        self.held(|held| {
            changes.iter().try_for_each(|change| held.allows(change))?;
            changes.iter().for_each(|change| held.make(change));
            Ok(())
        })
    }

    fn banned(&mut self) -> Result<Banned, FirewallError> {
        let mut banned = Banned::new();
        for (jail, net) in self.bans() {
            banned.entry(jail).or_default().push(net);
        }
        Ok(banned)
    }

    fn look(&mut self) -> Result<Look, FirewallError> {
        Ok(self.held(|held| if held.jails.is_empty() { Look::Gone } else { Look::Untouched }))
    }

    fn dropped(&mut self) -> Result<Vec<Dropped>, FirewallError> {
        let dropped = |jail: &String| Dropped { by: jail.clone(), n_packets: 0, n_bytes: 0 };
        Ok(self.held(|held| held.jails.iter().map(dropped).collect()))
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        self.held(|held| *held = Held::default());
        Ok(())
    }
}
