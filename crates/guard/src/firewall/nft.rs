//! The kernel's firewall, nf_tables: our own table `inet fail2misp`, in it a set for each jail,
//! family and kind of target, and rules that look into them.
//!
//! The table is made by the program `nft`; elements come and go by `netlink`, which does not start
//! a program, or by `nft` where the kernel does not let us. They stand in sets with the kernel's
//! own timeouts: if guard dies, its bans still end. A rebuild fills sets of a new generation, which
//! no rule names, in as many parts as it takes; then all rules are turned to them in one step, and
//! the old sets go. A crash in between leaves the old rules, and the next rebuild takes the
//! leftovers away.
//!
//! Prefixes stand in small interval sets; because those accept no two that overlap, such a set is
//! written anew, with the widest prefixes only, whenever one changes.
//!
//! Tried with nft 1.0.6 on Linux 6.18.

mod batch;
mod frame;
mod interval;
mod message;
mod netlink;
mod script;
mod set;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ipnet::IpNet;

use super::nets::Nets;
use super::program::Program;
use super::{Banned, Blocking, Change, Dropped, Firewall, FirewallError, Look, is_address};
use batch::{MAX_ELEMENTS, Operation, Verb};
use frame::Frame;
use netlink::Netlink;
use set::Set;

/// A table of ours, in the family `inet`; nobody else's is touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Table {
    name: &'static str,
    /// Of its chains: before the ordinary filter (0), where fail2ban's own action is, too.
    priority: i32,
}

/// What the jails ban.
const BANS: Table = Table { name: "fail2misp", priority: -1 };
/// What the block lists hold; of its own, so that neither waits for a rebuild of the other.
const LISTS: Table = Table { name: "fail2misp-lists", priority: -2 };

/// Where rules are tried out: what is there already cannot be in their way.
const TRIAL: Table = Table { name: "fail2misp-trial", ..BANS };

/// Bans of one batch of a rebuild: the kernel makes nobody else's changes meanwhile, and needs some
/// ten milliseconds for so many.
const MAX_PART: usize = 5000;

/// The program that makes the table.
const NFT: Program = Program { name: "nft", package: "nftables" };

/// The table, as this process made it.
#[derive(Debug)]
pub struct Nft {
    table: Table,
    way: Way,
    /// That of the sets which the rules look into; 0 before the first rebuild.
    generation: u32,
    /// The prefixes that are banned in each jail, and until when.
    nets: BTreeMap<String, Nets>,
    /// That of the table's frame after the last rebuild; `None` before the first.
    digest: Option<u64>,
    /// The kernel's number of its rule set when the table was last found as it should be, less the
    /// batches of ours until then.
    seen: Option<u32>,
    /// Batches that changed elements, of this table and of the one beside it: each of them has moved
    /// the kernel's number by one.
    n_made: Arc<AtomicU32>,
}

/// How elements come and go.
#[derive(Debug)]
enum Way {
    /// By netlink; connected with the first change.
    Netlink(Option<Netlink>),
    /// By the program `nft`.
    Program,
}

impl Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "inet {}", self.name)
    }
}

impl Default for Nft {
    fn default() -> Self {
        Self::new()
    }
}

impl Nft {
    /// The firewall of the network namespace that this process is in.
    pub fn new() -> Self {
        Self::of(BANS, Way::Netlink(None))
    }

    /// The same, moved by the program `nft` alone; slower, and what [`Self::new`] falls back to.
    pub fn by_program() -> Self {
        Self::of(BANS, Way::Program)
    }

    /// Whether nf_tables can be moved here: the program is there, and the kernel knows it.
    ///
    /// # Errors
    ///
    /// When it cannot, and why.
    pub fn works() -> Result<(), FirewallError> {
        NFT.works(&["list", "tables"])
    }

    fn of(table: Table, way: Way) -> Self {
        Self {
            table,
            way,
            generation: 0,
            nets: BTreeMap::new(),
            digest: None,
            seen: None,
            n_made: Arc::default(),
        }
    }

    fn make(&mut self, operations: &[Operation]) -> Result<(), FirewallError> {
        self.make_somehow(operations)?;
        // To flush may change nothing, where the set is empty.
        if operations.iter().any(|it| !it.elements.is_empty()) {
            self.n_made.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn make_somehow(&mut self, operations: &[Operation]) -> Result<(), FirewallError> {
        let table = self.table;
        match self.by_netlink(|netlink| netlink.make(table.name, operations)) {
            Some(Err(FirewallError::Io(error))) => {
                tracing::warn!(
                    target: "fail2ban.actions",
                    "netlink does not take bans: {error}; the program nft puts them in from now on, \
                     which is slower"
                );
                self.way = Way::Program;
            }
            Some(outcome) => return outcome,
            None => {}
        }
        NFT.run(&["-f", "-"], &script::operations(table, operations)).map(drop)
    }

    /// What `work` comes to; `None` where netlink is not the way.
    fn by_netlink<T>(
        &mut self,
        work: impl FnOnce(&mut Netlink) -> Result<T, FirewallError>,
    ) -> Option<Result<T, FirewallError>> {
        let Way::Netlink(kept) = &mut self.way else { return None };
        let mut netlink = match kept.take().map_or_else(Netlink::open, Ok) {
            Ok(netlink) => netlink,
            Err(error) => return Some(Err(error.into())),
        };
        let outcome = work(&mut netlink);
        // After an error, answers may be left that nobody asked for.
        *kept = outcome.is_ok().then_some(netlink);
        Some(outcome)
    }

    /// What makes the changes; `nets` follows what becomes of the prefixes.
    fn operations(&self, changes: &[Change], nets: &mut BTreeMap<String, Nets>) -> Vec<Operation> {
        let (addrs, changed) = split(changes);
        let runs = runs(&addrs);
        let mut operations: Vec<Operation> =
            runs.iter().flat_map(|run| run.operations(self.generation)).collect();
        note(&changed, nets);
        let jails: BTreeSet<&str> = changed.iter().map(|it| it.jail()).collect();
        for (jail, nets) in nets.iter_mut().filter(|(jail, _)| jails.contains(jail.as_str())) {
            operations.extend(prefixes(jail, nets, self.generation));
        }
        operations
    }

    /// Puts bans into sets of `generation` that hold nothing yet; `nets` gathers the prefixes.
    fn fill(
        &mut self,
        bans: &mut dyn Iterator<Item = Change>,
        generation: u32,
        nets: &mut BTreeMap<String, Nets>,
    ) -> Result<(), FirewallError> {
        loop {
            let part: Vec<Change> = bans.take(MAX_PART).collect();
            if part.is_empty() {
                break;
            }
            let (addrs, changed) = split(&part);
            let operations: Vec<Operation> =
                runs(&addrs).into_iter().map(|run| run.operation(Verb::Add, generation)).collect();
            self.make(&operations)?;
            note(&changed, nets);
        }
        let nets = nets.iter_mut().flat_map(|(jail, nets)| prefixes(jail, nets, generation));
        self.make(&nets.collect::<Vec<_>>())
    }

    /// Makes the table and its chains, where they are not there.
    fn lay_out(&self) -> Result<(), FirewallError> {
        let (table, base) = (self.table, script::base(self.table));
        match NFT.run(&["-f", "-"], &base) {
            Err(FirewallError::Refused { said }) => {
                tracing::warn!(
                    target: "fail2ban.actions",
                    "table {table} of the firewall is not as we make it ({said}): it is made anew"
                );
                NFT.run(&["-f", "-"], &format!("delete table {table}\n{base}")).map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Turns the rules to the sets of `generation`, in one step, and takes away all others.
    fn turn(&mut self, jails: &[Blocking], generation: u32) -> Result<(), FirewallError> {
        let there = self.frame()?;
        let mut script = script::rules(self.table, jails, generation);
        let table = self.table;
        let is_old = |name: &&String| Set::read(name).is_none_or(|(_, _, it)| it != generation);
        for set in there.sets.iter().filter(is_old) {
            script.push_str(&format!("delete set {table} {set}\n"));
        }
        let counters: HashSet<String> = jails.iter().map(|it| set::counter(&it.jail)).collect();
        for counter in there.counters.iter().filter(|it| !counters.contains(*it)) {
            script.push_str(&format!("delete counter {table} {counter}\n"));
        }
        NFT.run(&["-f", "-"], &script)?;
        self.digest = Some(self.frame()?.digest);
        Ok(())
    }

    /// What our table is made of.
    fn frame(&mut self) -> Result<Frame, FirewallError> {
        let table = self.table.name;
        match self.by_netlink(|netlink| netlink.frame(table)) {
            Some(frame) => frame,
            None => {
                // It reads all elements all the same (nft 1.0.6), which takes its time.
                let listing = NFT.run(&["-s", "-t", "list", "table", "inet", table], "")?;
                Ok(Frame::listed(&listing))
            }
        }
    }

    /// What the set of this name holds: its addresses, or its prefixes.
    fn elements(&mut self, set: Set, name: &str) -> Result<Vec<IpNet>, FirewallError> {
        let table = self.table.name;
        match self.by_netlink(|netlink| netlink.elements(table, name)) {
            Some(found) if set.holds_prefixes() => Ok(interval::nets(found?)),
            Some(found) => Ok(found?.into_iter().map(|it| it.key.into()).collect()),
            None => script::elements(&NFT.run(&["-j", "list", "set", "inet", table, name], "")?),
        }
    }
}

impl Firewall for Nft {
    fn describe(&self) -> String {
        match self.way {
            Way::Netlink(_) => format!("nftables, table {}", self.table),
            Way::Program => format!("nftables, table {}, by the program nft", self.table),
        }
    }

    fn blocks(&self) -> bool {
        true
    }

    fn beside(&self) -> Box<dyn Firewall> {
        let way = match self.way {
            Way::Netlink(_) => Way::Netlink(None),
            Way::Program => Way::Program,
        };
        Box::new(Self { n_made: Arc::clone(&self.n_made), ..Self::of(LISTS, way) })
    }

    fn check(&mut self, jails: &[Blocking]) -> Result<(), FirewallError> {
        let script =
            [script::base(TRIAL), script::sets(TRIAL, jails, 0), script::rules(TRIAL, jails, 0)];
        let script = script.concat();
        NFT.run(&["-c", "-f", "-"], &script).map(drop)
    }

    fn rebuild(
        &mut self,
        jails: &[Blocking],
        bans: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), FirewallError> {
        self.lay_out()?;
        let there = self.frame()?.sets;
        let newest = there.iter().filter_map(|name| Set::read(name)).map(|(_, _, it)| it).max();
        let generation = newest.unwrap_or(0).max(self.generation) + 1;
        NFT.run(&["-f", "-"], &script::sets(self.table, jails, generation))?;
        let mut nets = BTreeMap::new();
        self.fill(bans, generation, &mut nets)?;
        self.turn(jails, generation)?;
        (self.generation, self.nets, self.seen) = (generation, nets, None);
        Ok(())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError> {
        if changes.iter().all(|change| is_address(change.target())) {
            let operations = self.operations(changes, &mut BTreeMap::new());
            return self.make(&operations);
        }
        let mut nets = self.nets.clone();
        let operations = self.operations(changes, &mut nets);
        self.make(&operations)?;
        self.nets = nets;
        Ok(())
    }

    fn banned(&mut self) -> Result<Banned, FirewallError> {
        let mut banned = Banned::new();
        for name in self.frame()?.sets {
            let Some((set, jail, generation)) = Set::read(&name) else { continue };
            if self.generation != 0 && generation != self.generation {
                continue;
            }
            let mut elements = self.elements(set, &name)?;
            elements.sort_unstable();
            if let Some(nets) = self.nets.get(&jail).filter(|_| set.holds_prefixes()) {
                // A set holds only the widest; those in them are banned all the same.
                let covered = nets.live(Instant::now()).filter(|net| lies_in(net, &elements));
                let covered: Vec<IpNet> = covered.collect();
                elements.extend(covered);
            }
            if !elements.is_empty() {
                banned.entry(jail).or_default().extend(elements);
            }
        }
        for nets in banned.values_mut() {
            nets.sort_unstable();
            nets.dedup();
        }
        Ok(banned)
    }

    fn look(&mut self) -> Result<Look, FirewallError> {
        // Read first: a batch that is made meanwhile looks like somebody else's, which does no harm.
        let n_made = self.n_made.load(Ordering::SeqCst);
        let number = self.by_netlink(Netlink::generation).transpose()?;
        let number = number.map(|it| it.wrapping_sub(n_made));
        if number.is_some() && number == self.seen {
            return Ok(Look::Untouched);
        }
        match self.frame() {
            Ok(frame) if Some(frame.digest) == self.digest => {
                self.seen = number;
                Ok(Look::Touched)
            }
            Ok(_) | Err(FirewallError::Refused { .. }) => Ok(Look::Gone),
            Err(error) => Err(error),
        }
    }

    fn dropped(&mut self) -> Result<Vec<Dropped>, FirewallError> {
        let table = self.table.name;
        let counters = match self.by_netlink(|netlink| netlink.counters(table)) {
            Some(counters) => counters?,
            None => script::counters(&NFT.run(&["-j", "list", "counters"], "")?, table)?,
        };
        let of_jail = |it: Dropped| Some(Dropped { by: set::counted(&it.by)?, ..it });
        Ok(counters.into_iter().filter_map(of_jail).collect())
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        let table = self.table;
        NFT.run(&["-f", "-"], &format!("add table {table}\ndelete table {table}\n"))?;
        let way = std::mem::replace(&mut self.way, Way::Program);
        *self = Self { n_made: Arc::clone(&self.n_made), ..Self::of(table, way) };
        Ok(())
    }
}

/// Whether one of `cover`, which are in order and do not overlap, holds `net`.
fn lies_in(net: &IpNet, cover: &[IpNet]) -> bool {
    let n_before = cover.partition_point(|it| it <= net);
    cover[..n_before].last().is_some_and(|it| it.contains(net))
}

/// The changes of addresses, and those of prefixes.
fn split(changes: &[Change]) -> (Vec<&Change>, Vec<&Change>) {
    changes.iter().partition(|change| is_address(change.target()))
}

/// Notes what becomes of prefixes.
fn note(changes: &[&Change], nets: &mut BTreeMap<String, Nets>) {
    let now = Instant::now();
    for change in changes {
        let of_jail = nets.entry(change.jail().to_owned()).or_default();
        match change {
            Change::Ban { target, timeout, .. } => of_jail.insert(*target, *timeout, now),
            Change::Unban { target, .. } => of_jail.remove(target),
        }
    }
}

/// What writes the sets of a jail's prefixes anew.
fn prefixes(jail: &str, nets: &mut Nets, generation: u32) -> Vec<Operation> {
    let cover = nets.cover(Instant::now());
    let mut operations = Vec::new();
    for set in [Set::Net4, Set::Net6] {
        let elements = cover.iter().filter(|(net, _)| Set::of(net) == set).copied().collect();
        let operation = |verb, elements| Operation {
            verb,
            set: set.name(jail, generation),
            intervals: true,
            elements,
        };
        operations.push(operation(Verb::Flush, Vec::new()));
        operations.push(operation(Verb::Add, elements));
    }
    operations
}

/// Changes of one kind in one set, of different addresses: they can share their messages.
struct Run<'a>(&'a [&'a Change]);

/// The changes, cut into runs; their order is kept.
fn runs<'a>(changes: &'a [&'a Change]) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    let (mut start, mut targets) = (0, HashSet::new());
    for (at, change) in changes.iter().enumerate() {
        let first = changes[start];
        let fits = std::mem::discriminant(first) == std::mem::discriminant(*change)
            && first.jail() == change.jail()
            && Set::of(first.target()) == Set::of(change.target())
            && at - start < MAX_ELEMENTS
            && targets.insert(change.target());
        if !fits {
            runs.push(Run(&changes[start..at]));
            start = at;
            targets = HashSet::from([change.target()]);
        }
    }
    if start < changes.len() {
        runs.push(Run(&changes[start..]));
    }
    runs
}

impl Run<'_> {
    /// What makes these changes where the set may hold anything.
    ///
    /// To delete what is absent would undo the whole batch, so it is added first: nft 1.0.6 and
    /// Linux before 6.3 cannot destroy what may not be there. To add what is there keeps its old
    /// timeout on Linux 6.1, so a ban is deleted before it is added.
    fn operations(&self, generation: u32) -> Vec<Operation> {
        let mut add_at_first = self.operation(Verb::Add, generation);
        add_at_first.elements.iter_mut().for_each(|(_, timeout)| *timeout = None);
        let delete = Operation { verb: Verb::Delete, ..add_at_first.clone() };
        match self.0[0] {
            Change::Ban { .. } => {
                vec![add_at_first, delete, self.operation(Verb::Add, generation)]
            }
            Change::Unban { .. } => vec![add_at_first, delete],
        }
    }

    fn operation(&self, verb: Verb, generation: u32) -> Operation {
        let first = &self.0[0];
        let set = Set::of(first.target()).name(first.jail(), generation);
        let elements = self.0.iter().map(|it| (*it.target(), it.timeout())).collect();
        Operation { verb, set, intervals: false, elements }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::netns;

    #[track_caller]
    fn check(changes: &[(&str, Option<u64>)], want: &str) {
        let changes: Vec<Change> = changes
            .iter()
            .map(|&(target, seconds)| {
                let target = target.parse().expect("the row holds a prefix");
                let jail = "sshd".to_owned();
                match seconds {
                    Some(0) => Change::Unban { jail, target },
                    _ => Change::Ban { jail, target, timeout: seconds.map(Duration::from_secs) },
                }
            })
            .collect();
        let nft = Nft::by_program();
        let script = script::operations(BANS, &nft.operations(&changes, &mut BTreeMap::new()));
        assert_eq!(script.replace(" element inet fail2misp", ""), want);
    }

    #[test]
    fn where_netlink_refuses_the_program_bans() {
        netns::within(|| {
            let jail = |jail: &str| Blocking { jail: jail.to_owned(), rules: Vec::new() };
            let ban = |target: &str| Change::Ban {
                jail: "sshd".to_owned(),
                target: target.parse().expect("a prefix"),
                timeout: None,
            };
            let mut firewall = Nft::new();
            let outcome = firewall.rebuild(&[jail("sshd")], &mut [ban("192.0.2.1/32")].into_iter());
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(firewall.describe(), "nftables, table inet fail2misp");

            // Whoever tells of sockets knows nothing of sets.
            let stranger = Netlink::to(rustix::net::netlink::SOCK_DIAG).expect("a connection");
            firewall.way = Way::Netlink(Some(stranger));
            let outcome = firewall.apply(&[ban("192.0.2.2/32"), ban("198.51.100.0/24")]);
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(firewall.describe(), "nftables, table inet fail2misp, by the program nft");
            let banned = firewall.banned().expect("it tells");
            let banned: Vec<String> = banned["sshd"].iter().map(IpNet::to_string).collect();
            assert_eq!(banned, ["192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24"]);
        });
    }

    #[test]
    fn makes_changes() {
        // Bans of one set share their statements.
        check(
            &[("192.0.2.1/32", Some(60)), ("192.0.2.2/32", None)],
            "add addr4-sshd.0 { 192.0.2.1, 192.0.2.2 }\n\
             delete addr4-sshd.0 { 192.0.2.1, 192.0.2.2 }\n\
             add addr4-sshd.0 { 192.0.2.1 timeout 60000ms, 192.0.2.2 }\n",
        );
        // The order of changes to one address is kept.
        check(
            &[("192.0.2.1/32", None), ("192.0.2.1/32", Some(0))],
            "add addr4-sshd.0 { 192.0.2.1 }\n\
             delete addr4-sshd.0 { 192.0.2.1 }\n\
             add addr4-sshd.0 { 192.0.2.1 }\n\
             add addr4-sshd.0 { 192.0.2.1 }\n\
             delete addr4-sshd.0 { 192.0.2.1 }\n",
        );
        // Of prefixes that overlap, the widest.
        check(
            &[("192.0.2.0/25", None), ("192.0.2.0/24", None), ("2001:db8::/64", None)],
            "flush set inet fail2misp net4-sshd.0\n\
             add net4-sshd.0 { 192.0.2.0/24 }\n\
             flush set inet fail2misp net6-sshd.0\n\
             add net6-sshd.0 { 2001:db8::/64 }\n",
        );
    }
}
