//! Which MISP is told what: the destinations of our configuration, and those that jails name by
//! fail2ban's action `misp`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use exchange::{Destination, EventChoice, Policy};
use jail::config::Jail;

use crate::jails::Source;
use crate::misp_action::{self, MispAction};
use crate::settings::{Misp, Settings, Share};

/// All destinations. One that cannot be used is left out, with the reason.
pub(crate) fn all(
    settings: &Settings,
    source: &Source,
    jails: &[Jail],
    state: &Path,
) -> (Vec<Destination>, Vec<anyhow::Error>) {
    let named = settings.misp.iter().map(|(name, misp)| of_settings(name, misp, &settings.share));
    let mut by_action: BTreeMap<uuid::Uuid, Destination> = BTreeMap::new();
    let mut refused = Vec::new();
    for (jail, action) in
        jails.iter().flat_map(|jail| jail.actions.iter().map(move |it| (jail, it)))
    {
        if action.name != misp_action::NAME {
            continue;
        }
        match of_action(source, &action.options, state) {
            Ok(destination) => {
                let known = by_action.entry(destination.id()).or_insert(destination);
                known.jails.push(jail.name.clone());
            }
            Err(error) => {
                refused.push(error.context(format!("jail `{}`, action `misp`", jail.name)))
            }
        }
    }
    (named.chain(by_action.into_values()).collect(), refused)
}

fn of_settings(name: &str, misp: &Misp, share: &Share) -> Destination {
    let event = EventChoice::from(misp.event.clone());
    let mut destination = Destination::new(name, &misp.url, event, misp.key_file.clone());
    destination.jails = misp.jails.clone();
    destination.sightings = misp.sightings;
    destination.sighting_interval = share.sighting_interval;
    destination.publish_every = misp.publish_every;
    destination.tags = misp.tags.clone();
    destination.transport.ca_file = misp.ca_file.clone();
    destination
}

fn of_action(
    source: &Source,
    options: &BTreeMap<String, String>,
    state: &Path,
) -> Result<Destination> {
    let addressee = misp_action_of(source, options)?.into_addressee(state)?;
    Ok(Destination::of_action(&addressee))
}

fn misp_action_of(source: &Source, options: &BTreeMap<String, String>) -> Result<MispAction> {
    let options = source.settings_of_misp_action(options.clone())?;
    misp_action::read(&options.unwrap_or_default())
}

/// Who is never told about.
pub(crate) fn policy(share: &Share) -> Policy {
    Policy {
        never: share.never.clone(),
        allow: share.allow.clone(),
        own: guard::addresses::own(),
        min_failures: share.min_failures,
    }
}

/// What names this host at MISP.
pub(crate) fn site(share: &Share) -> String {
    share
        .site
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// What is wrong with the destinations, without keeping any key.
pub(crate) fn check(settings: &Settings, source: &Source, jails: &[Jail]) -> Vec<anyhow::Error> {
    let named = settings.misp.iter().filter_map(|(name, misp)| {
        let problem = fs::File::open(&misp.key_file).err()?;
        let path = misp.key_file.display();
        Some(anyhow::Error::new(problem).context(format!("[misp.{name}]: key_file `{path}`")))
    });
    let actions = jails.iter().flat_map(|jail| jail.actions.iter().map(move |it| (jail, it)));
    let ours = actions.filter(|(_, action)| action.name == misp_action::NAME);
    let by_action = ours.filter_map(|(jail, action)| {
        let error = misp_action_of(source, &action.options).err()?;
        Some(error.context(format!("jail `{}`, action `misp`", jail.name)))
    });
    named.chain(by_action).collect()
}
