//! The actions of `action.d` that guard does not do itself: commands, run by a shell as fail2ban
//! runs them.
//!
//! Each jail has its own thread and queue, so that a slow command delays neither another jail nor
//! the firewall. It wakes for an order and ends when the queue is closed. What a filter caught is
//! hostile: it reaches the shell as an argument, never as text of the script.
//!
//! The rules are those of fail2ban 1.x, `server/action.py`: an action whose options differ by
//! family is started with its first ban of a family; a command that fails is tried once more, after
//! a check and, unless it was to lift a ban, a repair; bans are lifted in the families in which one
//! could be made; what starts, flushes and stops both families alike is run once; `norestored` actions are not told what they know already. `<ipfailures>` and its kin tell of this ban alone.

mod ignore;
mod names;
mod served;
mod shell;
mod tags;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jail::config::{Action, duration};
use jail::{Ban, Subject};

use crate::words::{Clean, chain};
pub(crate) use ignore::IgnoreCommand;
pub use served::Actions;
use shell::Fault;
pub(crate) use shell::Shell;
pub(crate) use tags::Counts;
use tags::{About, Moment};

/// Orders that wait for a jail's commands; a mail each minute is through them in a week.
const MAX_ORDERS: usize = 10_000;

/// How long a command may take where the action does not say `timeout`; fail2ban's own.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a jail's commands are to be told.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Somebody is banned.
    Ban {
        ban: Ban,
        /// In an earlier life already.
        restored: bool,
        /// The how many-th time, from 1.
        n_bans: u32,
    },
    /// A ban lasts longer now.
    Prolong(Ban),
    /// How many there are in the jail when the next order is given; for actions that ask.
    Counts(Counts),
    /// A ban is lifted.
    Unban(Subject),
    /// The configuration was read again, and says the same of these actions.
    Reload,
}

/// The queue of one jail's commands.
#[derive(Debug)]
pub(crate) struct Queue {
    jail: String,
    /// Boxed, as the channel has its room from the beginning.
    orders: SyncSender<Box<Order>>,
    thread: JoinHandle<()>,
    is_full: bool,
    /// Whether its commands ask how many there are in the jail.
    pub(crate) wants_counts: bool,
}

impl Queue {
    /// Starts the thread that runs these actions' commands, once those before have ended.
    pub(crate) fn start(
        jail: String,
        actions: Vec<Commands>,
        shell: Shell,
        before: Option<JoinHandle<()>>,
    ) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(MAX_ORDERS);
        let wants_counts = actions.iter().any(|it| it.mentions("<jail."));
        let (standing, counts) = (HashMap::new(), Counts::default());
        let runner = Runner { jail: jail.clone(), actions, shell, standing, counts };
        let thread = thread::Builder::new().name("guard-actions".to_owned()).spawn(move || {
            // It can only have panicked, and has said so.
            before.map(JoinHandle::join);
            runner.run(&inbox);
        })?;
        Ok(Self { jail, orders, thread, is_full: false, wants_counts })
    }

    /// Adds an order; one too many is said and dropped, as nothing may wait for a command.
    pub(crate) fn add(&mut self, order: Order) {
        match self.orders.try_send(Box::new(order)) {
            Ok(()) => self.is_full = false,
            Err(TrySendError::Full(_)) if self.is_full => {}
            Err(TrySendError::Full(_)) => {
                self.is_full = true;
                tracing::error!(
                    target: "fail2ban.actions",
                    "[{}] {MAX_ORDERS} bans wait for the commands of its actions: further ones are \
                     made without them until there is room; make the commands faster",
                    self.jail
                );
            }
            // The thread panicked, and has said so.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Has the actions stopped, once every order is carried out; the thread ends with that.
    pub(crate) fn leave(self) -> JoinHandle<()> {
        self.thread
    }
}

/// The commands of one action.
#[derive(Debug)]
pub(crate) struct Commands {
    name: String,
    /// The options for each family that there is a difference between, all tags but those of the
    /// moment replaced.
    options: BTreeMap<Family, BTreeMap<String, String>>,
    on_demand: bool,
    no_restored: bool,
    repairs_on_unban: bool,
    timeout: Duration,
    started: BTreeSet<Family>,
    /// The families of those who were banned.
    filled: BTreeSet<Family>,
}

/// For whom an action is started: fail2ban's names.
type Family = &'static str;

impl Commands {
    /// The commands of `action`.
    ///
    /// # Errors
    ///
    /// Says in words which option leads back to itself.
    pub(crate) fn of(action: &Action) -> Result<Self, String> {
        let differs = action.options.keys().any(|option| option.contains("?family="));
        let families: &[Family] = if differs { &["inet4", "inet6"] } else { &[""] };
        let mut options = BTreeMap::new();
        for &family in families {
            let expanded = action.expanded(Some(family).filter(|it| !it.is_empty()));
            options.insert(family, expanded.map_err(|error| chain(&error))?);
        }
        let on_demand = match action.options.get("actionstart_on_demand") {
            Some(_) => action.is("actionstart_on_demand"),
            None => differs,
        };
        let timeout = action.options.get("timeout").map_or(TIMEOUT, |text| seconds(text));
        Ok(Self {
            name: action.act_name.clone(),
            options,
            on_demand,
            no_restored: action.is("norestored"),
            repairs_on_unban: action.is("actionrepair_on_unban"),
            timeout,
            started: BTreeSet::new(),
            filled: BTreeSet::new(),
        })
    }

    /// The family whose options are for subjects of `family`.
    fn options_for(&self, family: Family) -> Family {
        match self.options.contains_key(family) {
            true => family,
            false => "",
        }
    }

    fn command(&self, family: Family, name: &str) -> &str {
        self.options.get(family).and_then(|it| it.get(name)).map_or("", |text| text.trim())
    }

    /// Whether any option of it names this.
    fn mentions(&self, text: &str) -> bool {
        self.options.values().flat_map(BTreeMap::values).any(|it| it.contains(text))
    }

    /// Runs one of its commands; one that is empty succeeds.
    fn run(
        &self,
        shell: &Shell,
        family: Family,
        name: &str,
        moment: &Moment<'_>,
    ) -> Result<(), Fault> {
        match self.command(family, name) {
            "" => Ok(()),
            text => shell.run(&tags::fill(text, moment, shell), self.timeout),
        }
    }

    fn start(&mut self, shell: &Shell, family: Family) -> Result<(), Fault> {
        let command = |it| self.command(it, "actionstart");
        if self.started.iter().all(|it| command(it) != command(family)) {
            self.run(shell, family, "actionstart", &Moment::of_family(family))?;
        }
        self.started.insert(family);
        Ok(())
    }

    /// Runs `name` for a subject, and once more where it fails; where the check fails, too, all is
    /// made anew first.
    fn tell(
        &mut self,
        shell: &Shell,
        name: &str,
        moment: &Moment<'_>,
        family: Family,
    ) -> Result<(), Fault> {
        if !self.started.contains(family) {
            self.start(shell, family)?;
        }
        let Err(fault) = self.run(shell, family, name, moment) else { return Ok(()) };
        let of_family = Moment::of_family(family);
        if self.run(shell, family, "actioncheck", &of_family).is_err() {
            // What is not there needs not be made to lift a ban of it.
            if name == "actionunban" && !self.repairs_on_unban {
                return Err(fault);
            }
            if self.command(family, "actionrepair").is_empty() {
                // What cannot be stopped is perhaps gone already.
                let _ = self.run(shell, family, "actionstop", &of_family);
                self.start(shell, family)?;
            } else {
                self.run(shell, family, "actionrepair", &of_family)?;
            }
            self.run(shell, family, "actioncheck", &of_family)?;
        }
        self.run(shell, family, name, moment)
    }
}

/// Runs the orders of one jail.
struct Runner {
    jail: String,
    actions: Vec<Commands>,
    shell: Shell,
    /// Who is banned: what an unban tells of.
    standing: HashMap<Subject, (Ban, u32)>,
    counts: Counts,
}

impl Runner {
    fn run(mut self, inbox: &Receiver<Box<Order>>) {
        for action in self.actions.iter_mut().filter(|it| !it.on_demand) {
            for family in action.options.keys().copied().collect::<Vec<_>>() {
                let outcome = action.start(&self.shell, family);
                complain(&self.jail, &action.name, "starting", outcome);
            }
        }
        for order in inbox {
            match *order {
                Order::Ban { ban, restored, n_bans } => {
                    self.tell("actionban", &ban, n_bans, restored);
                    self.standing.insert(ban.subject.clone(), (ban, n_bans));
                }
                Order::Prolong(ban) => self.tell("actionprolong", &ban, 1, false),
                Order::Counts(counts) => self.counts = counts,
                Order::Reload => self.reload(),
                Order::Unban(subject) => {
                    if let Some((ban, n_bans)) = self.standing.remove(&subject) {
                        self.tell("actionunban", &ban, n_bans, false);
                    }
                }
            }
        }
        self.stop();
    }

    fn tell(&mut self, name: &str, ban: &Ban, n_bans: u32, restored: bool) {
        for action in self.actions.iter_mut().filter(|it| !(restored && it.no_restored)) {
            let family = family_of(&ban.subject);
            if name == "actionunban" && !action.filled.contains(family) {
                continue;
            }
            let about = Some(About::ban(ban, n_bans, restored));
            let moment = Moment { family, about, counts: self.counts };
            let outcome = action.tell(&self.shell, name, &moment, action.options_for(family));
            if outcome.is_ok() {
                action.filled.insert(family);
            }
            let doing = format!("{name} of {}", Clean(&ban.subject));
            complain(&self.jail, &action.name, &doing, outcome);
        }
    }

    fn reload(&self) {
        for action in &self.actions {
            for family in &action.started {
                let outcome =
                    action.run(&self.shell, family, "actionreload", &Moment::of_family(family));
                complain(&self.jail, &action.name, "reloading", outcome);
            }
        }
    }

    /// Takes everything back: at once where an action knows how, else one by one.
    fn stop(mut self) {
        for action in &mut self.actions {
            let mut done = BTreeSet::new();
            for family in std::mem::take(&mut action.started) {
                let mut is_new = |name| done.insert((name, action.command(family, name)));
                let of_family = Moment::of_family(family);
                let filled = action.filled.iter().filter(|it| action.options_for(it) == family);
                let filled: Vec<Family> = filled.copied().collect();
                if action.command(family, "actionflush").is_empty() {
                    for (ban, n_bans) in self.standing.values() {
                        let its_family = family_of(&ban.subject);
                        if !filled.contains(&its_family) {
                            continue;
                        }
                        let about = Some(About::ban(ban, *n_bans, false));
                        let moment = Moment { family: its_family, about, counts: self.counts };
                        let outcome = action.run(&self.shell, family, "actionunban", &moment);
                        complain(&self.jail, &action.name, "lifting a ban", outcome);
                    }
                } else if !filled.is_empty() && is_new("actionflush") {
                    let outcome = action.run(&self.shell, family, "actionflush", &of_family);
                    complain(&self.jail, &action.name, "flushing", outcome);
                }
                if is_new("actionstop") {
                    let outcome = action.run(&self.shell, family, "actionstop", &of_family);
                    complain(&self.jail, &action.name, "stopping", outcome);
                }
            }
        }
    }
}

/// How long a command may take, as fail2ban writes times.
fn seconds(text: &str) -> Duration {
    let seconds = duration::seconds(text).ok();
    seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).unwrap_or(TIMEOUT)
}

fn family_of(subject: &Subject) -> Family {
    match subject {
        Subject::Addr(IpAddr::V4(_)) | Subject::Net(ipnet::IpNet::V4(_)) => "inet4",
        Subject::Addr(IpAddr::V6(_)) | Subject::Net(ipnet::IpNet::V6(_)) => "inet6",
        Subject::Id(_) => "",
    }
}

fn complain(jail: &str, action: &str, doing: &str, outcome: Result<(), Fault>) {
    if let Err(fault) = outcome {
        let fault = Clean(chain(&fault));
        tracing::error!(target: "fail2ban.actions", "[{jail}] {action}: {doing} failed: {fault}");
    }
}
