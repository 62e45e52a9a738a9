//! A jail with everything compiled that it needs: it can start, or it is said why not.

use std::sync::Arc;

use control::guard::DisabledJail;
use jail::config::Jail;
use scan::Filter;

use crate::command::Commands;
use crate::firewall::{Blocking, Firewall, FirewallError, blocking};
use crate::option;
use crate::words::chain;

/// A jail that can start.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) jail: Arc<Jail>,
    pub(crate) filter: Arc<Filter>,
    /// Its rules; `None` where it has no action that blocks.
    pub(crate) blocking: Option<Blocking>,
    /// The commands of the actions that guard does not do itself.
    pub(crate) commands: Vec<Commands>,
}

impl Ready {
    /// Compiles what `jail` needs; `known` is a filter that may be its own already.
    ///
    /// # Errors
    ///
    /// Why it cannot start, with the remedy.
    pub(crate) fn of(jail: Arc<Jail>, known: Option<&Arc<Filter>>) -> Result<Self, DisabledJail> {
        let fault = |why: String| DisabledJail { jail: jail.name.clone(), why };
        let filter = match known {
            Some(filter) => Arc::clone(filter),
            None => Arc::new(Filter::compile(&jail.filter).map_err(|it| fault(chain(&it)))?),
        };
        let blocking = Blocking::of(&jail).map_err(|error| fault(chain(&error)))?;
        let commands = commands(&jail).map_err(fault)?;
        Ok(Self { filter, blocking, commands, jail })
    }
}

/// A jail as guard keeps it: without what was written of it that guard is never asked for.
pub(crate) fn kept(mut jail: Jail) -> Arc<Jail> {
    jail.places.clear();
    jail.options.retain(|name, _| option::is_asked_for(name));
    Arc::new(jail)
}

/// Compiles what each jail needs; what cannot be goes to `disabled`.
pub(crate) fn all(jails: Vec<Jail>, disabled: &mut Vec<DisabledJail>) -> Vec<Ready> {
    let mut ready = Vec::new();
    for jail in jails {
        match Ready::of(kept(jail), None) {
            Ok(jail) => ready.push(jail),
            Err(fault) => leave_out(fault, disabled),
        }
    }
    ready
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
pub(crate) fn leave_out_refused(
    ready: &mut Vec<Ready>,
    firewall: &mut dyn Firewall,
    disabled: &mut Vec<DisabledJail>,
) -> Result<(), FirewallError> {
    let all: Vec<Blocking> = ready.iter().filter_map(|it| it.blocking.clone()).collect();
    match firewall.check(&all) {
        // Where it refuses to hold no rules at all, no jail is at fault.
        Err(FirewallError::Refused { .. }) => firewall.check(&[])?,
        outcome => return outcome,
    }
    for jail in std::mem::take(ready) {
        match firewall.check(jail.blocking.as_slice()) {
            Ok(()) => ready.push(jail),
            Err(error @ FirewallError::Refused { .. }) => {
                let why = format!("{error}; mend `port`, `protocol` or `banaction`");
                leave_out(DisabledJail { jail: jail.jail.name.clone(), why }, disabled);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn leave_out(fault: DisabledJail, disabled: &mut Vec<DisabledJail>) {
    let DisabledJail { jail, why } = &fault;
    tracing::error!(target: "fail2ban.jail", "Jail '{jail}' does not start: {why}");
    disabled.push(fault);
}
