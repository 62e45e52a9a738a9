//! The older firewall, for hosts without nftables: a set of ipset for each jail and family, and
//! rules of iptables that look into them, in chains of our own.
//!
//! Sets have the kernel's own timeouts: if guard dies, its bans still end. A set takes addresses and
//! prefixes, overlapping ones, too. A rebuild fills sets of a new generation, which no rule names;
//! then the rules of each family are turned to them in one step (`iptables-restore`), and the old
//! sets go.
//!
//! Each change starts a program, and ipset has no transactions: where one refuses, what came before
//! is done. Tried with ipset 7.17 and iptables 1.8.9, nf_tables and legacy, on Linux 6.18.

mod family;
mod name;
mod rules;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::program::Program;
use super::{Banned, Blocking, Change, Dropped, Firewall, FirewallError, Look, is_address};
use family::Family;
use name::{Name, Part};

/// What a set holds at most: a million bans are some 100 MB of the kernel's memory.
const MAX_SET: u32 = 1 << 20;

/// What ipset says of a set that is full.
const FULL: &str = "is full";

/// The longest timeout that ipset takes, in seconds; guard itself ends longer bans.
const MAX_TIMEOUT: u64 = 2_147_483;

/// Lines of one script: some megabyte of text.
const MAX_LINES: usize = 20_000;

/// How long `iptables-restore` waits for others who write rules, in seconds.
const PATIENCE: &str = "5";

/// How often a set is destroyed anew that the kernel still uses for rules that are gone: it lets go
/// of them a little later.
const MAX_TRIES: u32 = 50;
/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The prefixes that hold all addresses of a family, which ipset does not take.
const EVERYBODY: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// The program that moves sets.
const IPSET: Program = Program { name: "ipset", package: "ipset" };

/// The sets and chains, as this process made them.
#[derive(Debug)]
pub struct Ipset {
    part: Part,
    families: Vec<Family>,
    /// That of the sets which the rules look into; 0 before the first rebuild.
    generation: u32,
    /// The names of its jails; the place of each is in the names of its sets.
    jails: Vec<String>,
    /// Our rules of each family, as they were listed after the last rebuild.
    rules: Vec<Vec<String>>,
    /// What a set holds at most.
    max: u32,
}

impl Default for Ipset {
    fn default() -> Self {
        Self::new()
    }
}

impl Ipset {
    /// The firewall of the network namespace that this process is in.
    pub fn new() -> Self {
        Self::with_room_for(MAX_SET)
    }

    /// The same with sets that hold at most `max` bans each.
    pub fn with_room_for(max: u32) -> Self {
        let (jails, rules) = (Vec::new(), Vec::new());
        Self { part: Part::Bans, families: Family::all(), generation: 0, jails, rules, max }
    }

    /// Whether ipset and iptables work here.
    ///
    /// # Errors
    ///
    /// When they do not, and why.
    pub fn works() -> Result<(), FirewallError> {
        IPSET.works(&["list", "-n"])?;
        Family::all().into_iter().try_for_each(|it| it.save().works(&["-t", "filter"]))
    }

    /// The name of the set that a change is about.
    fn set(&self, change: &Change) -> Result<String, FirewallError> {
        let jail = change.jail();
        let place = self.jails.iter().position(|it| it == jail).ok_or_else(|| {
            FirewallError::Refused { said: format!("jail `{jail}` has no rules") }
        })?;
        let family = Family::of(change.target());
        Ok(Name { part: self.part, family, generation: self.generation, place }.with(jail))
    }

    fn make(&self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), FirewallError> {
        loop {
            let mut script = String::new();
            for change in changes.take(MAX_LINES) {
                let set = self.set(&change)?;
                for target in parts(change.target()) {
                    let target = words(&target);
                    // Writing to a string cannot fail.
                    let _ = match change {
                        Change::Ban { timeout, .. } => {
                            writeln!(script, "add {set} {target} timeout {}", seconds(timeout))
                        }
                        Change::Unban { .. } => writeln!(script, "del {set} {target}"),
                    };
                }
            }
            if script.is_empty() {
                return Ok(());
            }
            self.restore(&script)?;
        }
    }

    fn restore(&self, script: &str) -> Result<(), FirewallError> {
        IPSET.run(&["-exist", "restore"], script).map(drop).map_err(|error| match error {
            FirewallError::Refused { said } if said.contains(FULL) => {
                FirewallError::Full { said, max: self.max }
            }
            error => error,
        })
    }

    /// Our rules of one family.
    fn listed(&self, family: Family) -> Result<Vec<String>, FirewallError> {
        family.save().run(&["-t", "filter"], "").map(|listing| rules::ours(self.part, &listing))
    }

    /// The names of our sets.
    fn sets(&self) -> Result<Vec<String>, FirewallError> {
        let listing = IPSET.run(&["list", "-n"], "")?;
        let listing = String::from_utf8_lossy(&listing);
        Ok(listing
            .lines()
            .filter(|name| Name::read(self.part, name).is_some())
            .map(str::to_owned)
            .collect())
    }

    /// Destroys sets that no rule looks into any more, as far as the kernel lets go of them; what it
    /// does not is left empty, and goes with the next rebuild.
    fn destroy(&self, mut sets: Vec<String>) -> Result<(), FirewallError> {
        let script = |verb: &str, sets: &[String]| -> String {
            sets.iter().map(|set| format!("{verb} {set}\n")).collect()
        };
        IPSET.run(&["restore"], &script("flush", &sets))?;
        for _ in 0..MAX_TRIES {
            match IPSET.run(&["restore"], &script("destroy", &sets)) {
                Ok(_) => break,
                Err(FirewallError::Refused { .. }) => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
            let left = self.sets()?;
            sets.retain(|set| left.contains(set));
        }
        Ok(())
    }

    /// Turns the rules to the sets of this generation.
    fn turn(&mut self, jails: &[Blocking]) -> Result<(), FirewallError> {
        self.rules.clear();
        for family in &self.families {
            let rules =
                rules::render(self.part, *family, jails, self.generation, &self.listed(*family)?);
            family.restore().run(&["--noflush", "-w", PATIENCE], &rules)?;
            self.rules.push(self.listed(*family)?);
        }
        Ok(())
    }
}

impl Firewall for Ipset {
    fn describe(&self) -> String {
        "ipset and iptables, chains fail2misp-input and fail2misp-forward".to_owned()
    }

    fn blocks(&self) -> bool {
        true
    }

    fn beside(&self) -> Box<dyn Firewall> {
        Box::new(Self { part: Part::Lists, ..Self::with_room_for(self.max) })
    }

    fn check(&mut self, jails: &[Blocking]) -> Result<(), FirewallError> {
        for family in &self.families {
            let rules = rules::trial(self.part, *family, jails);
            family.restore().run(&["--test", "--noflush", "-w", PATIENCE], &rules)?;
        }
        Ok(())
    }

    fn rebuild(
        &mut self,
        jails: &[Blocking],
        bans: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), FirewallError> {
        let old = self.sets()?;
        let newest =
            old.iter().filter_map(|it| Name::read(self.part, it)).map(|it| it.generation).max();
        let mut new = Self {
            generation: newest.unwrap_or(0).max(self.generation) + 1,
            jails: jails.iter().map(|it| it.jail.clone()).collect(),
            part: self.part,
            ..Self::with_room_for(self.max)
        };
        let mut script = String::new();
        for (place, jail) in new.jails.iter().enumerate() {
            for family in new.families.iter().copied() {
                let set =
                    Name { part: self.part, family, generation: new.generation, place }.with(jail);
                let options = format!("family {} timeout 0 maxelem {}", family.name(), self.max);
                // Writing to a string cannot fail.
                let _ = writeln!(script, "create {set} hash:net {options}");
            }
        }
        new.restore(&script)?;
        new.make(bans)?;
        new.turn(jails)?;
        *self = new;
        self.destroy(old)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        // Whose jail is unknown keeps the others from being made, too.
        changes.iter().try_for_each(|change| self.set(change).map(drop))?;
        self.make(&mut changes.iter().cloned())
    }

    fn banned(&mut self) -> Result<Banned, FirewallError> {
        let listing = IPSET.run(&["save"], "")?;
        let listing = String::from_utf8_lossy(&listing);
        let read = |line: &str| {
            let mut words = line.strip_prefix("add ")?.split(' ');
            let name = Name::read(self.part, words.next()?)?;
            let jail = self.jails.get(name.place).filter(|_| name.generation == self.generation)?;
            Some((jail.clone(), target(words.next()?)?))
        };
        let mut banned = Banned::new();
        for (jail, net) in listing.lines().filter_map(read) {
            banned.entry(jail).or_default().push(net);
        }
        for nets in banned.values_mut() {
            nets.sort_unstable();
            EVERYBODY.into_iter().for_each(|all| join(nets, all));
        }
        Ok(banned)
    }

    /// Whether somebody changed a set cannot be told without reading it.
    fn look(&mut self) -> Result<Look, FirewallError> {
        if self.rules.is_empty() {
            return Ok(Look::Gone);
        }
        for (family, rules) in self.families.iter().zip(&self.rules) {
            if self.listed(*family)? != *rules {
                return Ok(Look::Gone);
            }
        }
        Ok(Look::Touched)
    }

    fn dropped(&mut self) -> Result<Vec<Dropped>, FirewallError> {
        let none = |jail: &String| Dropped { by: jail.clone(), n_packets: 0, n_bytes: 0 };
        let mut dropped: Vec<Dropped> = self.jails.iter().map(none).collect();
        for family in &self.families {
            let listing = family.save().run(&["-c", "-t", "filter"], "")?;
            for (place, it) in rules::dropped(self.part, &listing) {
                if let Some(sum) = dropped.get_mut(place) {
                    sum.n_packets += it.n_packets;
                    sum.n_bytes += it.n_bytes;
                }
            }
        }
        Ok(dropped)
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        for family in &self.families {
            let removal = rules::removal(&self.listed(*family)?);
            family.restore().run(&["--noflush", "-w", PATIENCE], &removal)?;
        }
        self.destroy(self.sets()?)?;
        *self = Self { part: self.part, ..Self::with_room_for(self.max) };
        Ok(())
    }
}

/// The parts of a target that ipset takes.
fn parts(target: &IpNet) -> Vec<IpNet> {
    let halves = target.subnets(1).ok().filter(|_| EVERYBODY.contains(target));
    halves.map_or_else(|| vec![*target], Iterator::collect)
}

/// Puts `all` in the place of its [`parts`], where `nets`, which are in order, have them.
fn join(nets: &mut Vec<IpNet>, all: IpNet) {
    let parts = parts(&all);
    if parts.iter().all(|it| nets.binary_search(it).is_ok()) {
        nets.retain(|it| !parts.contains(it));
        nets.insert(nets.partition_point(|it| *it < all), all);
    }
}

/// A target as ipset writes it.
fn words(target: &IpNet) -> String {
    if is_address(target) { target.addr().to_string() } else { target.to_string() }
}

/// Reads what [`words`] writes.
fn target(words: &str) -> Option<IpNet> {
    words.parse().or_else(|_| words.parse().map(|addr: std::net::IpAddr| addr.into())).ok()
}

/// A timeout as ipset takes it: whole seconds, 0 for ever.
fn seconds(timeout: Option<Duration>) -> u64 {
    let Some(timeout) = timeout else { return 0 };
    let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
    if seconds > MAX_TIMEOUT { 0 } else { seconds.max(1) }
}
