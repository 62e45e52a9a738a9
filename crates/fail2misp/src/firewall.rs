//! Which firewall holds the bans, and which actions it takes the place of.

use std::collections::BTreeMap;

use guard::firewall::{Blocking, blocking};
use guard::{Firewall, FirewallError, Ipset, Memory, Nft};
use jail::config::{Fault, Jail};
use tracing::warn;

use crate::settings::{FirewallChoice, Guard};

/// The option of an action that leaves it to its commands; `[guard] native = false` sets it for all.
const NATIVE: &str = "native";

/// The firewall that the configuration names, or the one that works here.
pub(crate) fn open(choice: FirewallChoice) -> Box<dyn Firewall> {
    match choice {
        FirewallChoice::Nftables => Box::new(Nft::new()),
        FirewallChoice::Ipset => Box::new(Ipset::new()),
        FirewallChoice::Memory => Box::new(Memory::default()),
        FirewallChoice::Auto => match Nft::works() {
            // A process without rights may not use the other one either.
            Ok(()) | Err(FirewallError::Denied) => Box::new(Nft::new()),
            Err(why) => match Ipset::works() {
                Ok(()) => {
                    warn!(
                        target: "fail2misp",
                        "nftables does not work here ({why}); bans go to ipset and iptables"
                    );
                    Box::new(Ipset::new())
                }
                // Its fault is said when guard starts.
                Err(_) => Box::new(Nft::new()),
            },
        },
    }
}

/// Leaves all actions to their commands, where the configuration says so.
pub(crate) fn leave_to_commands(guard: &Guard, jails: &mut [Jail]) {
    if guard.native {
        return;
    }
    for action in jails.iter_mut().flat_map(|jail| &mut jail.actions) {
        action.options.insert(NATIVE.to_owned(), "false".to_owned());
    }
}

/// Has every ban of a jail shut out its address from all of this host, where the configuration says
/// so.
pub(crate) fn widen(guard: &Guard, jails: &mut [Jail]) {
    if !guard.ban_from_everything {
        return;
    }
    for action in jails.iter_mut().flat_map(|jail| &mut jail.actions) {
        if blocking::is_native(action) {
            action.options.insert("type".to_owned(), "allports".to_owned());
            action.options.insert("protocol".to_owned(), "all".to_owned());
        }
    }
}

/// The actions of all jails by their names, each with its jails.
#[derive(Debug, Default)]
pub(crate) struct Actions<'a> {
    /// Those that guard does itself.
    pub(crate) native: BTreeMap<&'a str, Vec<&'a str>>,
    /// Those whose commands are run.
    pub(crate) commands: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Actions<'a> {
    pub(crate) fn of(jails: &'a [Jail]) -> Self {
        let mut actions = Self::default();
        for jail in jails {
            if jail.ignore_command.is_some() {
                actions.commands.entry("ignorecommand").or_default().push(jail.name.as_str());
            }
            // Exchange does `misp`; those in Python are not run.
            for action in jail.actions.iter().filter(|it| it.name != "misp" && !it.is_python()) {
                let kind = match blocking::is_native(action) {
                    true => &mut actions.native,
                    false => &mut actions.commands,
                };
                kind.entry(action.name.as_str()).or_default().push(jail.name.as_str());
            }
        }
        actions
    }
}

/// Actions and their jails in words.
pub(crate) fn in_words(actions: &BTreeMap<&str, Vec<&str>>) -> String {
    let words = actions.iter().map(|(action, jails)| format!("{action} ({})", jails.join(", ")));
    words.collect::<Vec<_>>().join(", ")
}

/// What is wrong with the actions of a jail that guard does itself.
pub(crate) fn fault(jail: &Jail) -> Option<Fault> {
    let error = Blocking::of(jail).err()?;
    Some(Fault {
        place: jail.places.get("action").or_else(|| jail.places.get("banaction")).cloned(),
        problem: error.to_string(),
        jail: Some(jail.name.clone()),
    })
}
