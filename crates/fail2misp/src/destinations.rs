//! Which MISP is told what: the destinations of our configuration, and those that jails name by
//! fail2ban's action `misp`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use exchange::{Budget, Destination, EventChoice, EventTemplate, Policy, Transport, Treatment};
use jail::config::Jail;

use crate::cli::Folders;
use crate::jails::Source;
use crate::misp_action::{self, MispAction};
use crate::settings::{Misp, Settings, Share, Warninglists};

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// All destinations. One that cannot be used is left out, with the reason.
pub(crate) fn all(
    settings: &Settings,
    source: &Source,
    jails: &[Jail],
    state: &Path,
) -> (Vec<Destination>, Vec<anyhow::Error>) {
    let (mut usable, mut refused) = (Vec::new(), Vec::new());
    for (name, misp) in &settings.misp {
        match of_settings(name, misp, &settings.share) {
            Ok(destination) => usable.push(destination),
            Err(error) => refused.push(error),
        }
    }
    let mut by_action: BTreeMap<uuid::Uuid, Destination> = BTreeMap::new();
    for (jail, action) in
        jails.iter().flat_map(|jail| jail.actions.iter().map(move |it| (jail, it)))
    {
        if action.name != misp_action::NAME {
            continue;
        }
        match of_action(source, &action.options, &settings.share, state) {
            Ok(destination) => {
                let known = by_action.entry(destination.id()).or_insert(destination);
                known.jails.push(jail.name.clone());
            }
            Err(error) => {
                refused.push(error.context(format!("jail `{}`, action `misp`", jail.name)))
            }
        }
    }
    usable.extend(by_action.into_values());
    (usable, refused)
}

/// Every server that the configuration or a jail names, once each, for who asks and tells nothing.
pub(crate) fn servers(
    folders: &Folders,
    settings: &Settings,
) -> (Vec<Destination>, Vec<anyhow::Error>) {
    let source = Source::find(folders, settings);
    let jails = source.read(&settings.guard).jails;
    let (mut servers, refused) = all(settings, &source, &jails, &folders.state);
    let mut seen = BTreeSet::new();
    servers.retain(|it| seen.insert((it.url.clone(), it.key_file.clone())));
    (servers, refused)
}

/// A destination of our configuration.
pub(crate) fn of_settings(name: &str, misp: &Misp, share: &Share) -> Result<Destination> {
    let key_file = key_file(misp).with_context(|| format!("[misp.{name}]"))?;
    let event = EventChoice::from(misp.event.clone());
    let default = Destination::new(name, &misp.url, event, key_file);
    let template = EventTemplate {
        title: misp.title.clone().unwrap_or(default.template.title),
        by_jail: misp.by_jail,
        tags: misp.tags.clone(),
        threat_level: misp.threat_level.unwrap_or(default.template.threat_level),
        analysis: misp.analysis.unwrap_or(default.template.analysis),
        distribution: misp.distribution.unwrap_or(default.template.distribution),
        sharing_group: misp.sharing_group,
        max_attributes: misp.max_attributes.unwrap_or(default.template.max_attributes),
    };
    let transport = Transport {
        ca_file: misp.ca_file.clone(),
        client_file: misp.client_file.clone(),
        proxy: misp.proxy.clone(),
        verify: misp.verify,
        timeout: misp.timeout.unwrap_or(default.transport.timeout),
        relay: None,
    };
    let calls_per_minute = misp.calls_per_minute.unwrap_or(default.budget.calls_per_minute);
    Ok(Destination {
        jails: misp.jails.clone(),
        sightings: misp.sightings,
        sighting_interval: share.sighting_interval,
        publish: misp.publish.unwrap_or(default.publish),
        publish_every: misp.publish_every,
        comment: misp.comment.clone().unwrap_or(default.comment),
        context: misp.context,
        last_seen_every: misp.last_seen_every,
        expirations: misp.expirations,
        disable_correlation: misp.disable_correlation,
        template,
        budget: Budget { max_per_day: share.max_per_day, calls_per_minute },
        transport,
        ..default
    })
}

/// Where the key lies: in a file, or where systemd puts the credentials of a unit.
fn key_file(misp: &Misp) -> Result<PathBuf> {
    match (&misp.key_file, &misp.key_credential) {
        (Some(path), _) => Ok(path.clone()),
        (None, credential) => {
            let name = credential.as_deref().unwrap_or_default();
            let folder = env::var_os(CREDENTIALS).with_context(|| {
                format!(
                    "key_credential `{name}`: systemd gave no credentials ({CREDENTIALS} is not \
                     set); add `LoadCredential={name}:FILE` to the unit"
                )
            })?;
            Ok(Path::new(&folder).join(name))
        }
    }
}

fn of_action(
    source: &Source,
    options: &BTreeMap<String, String>,
    share: &Share,
    state: &Path,
) -> Result<Destination> {
    let addressee = misp_action_of(source, options)?.into_addressee(state)?;
    let mut destination = Destination::of_action(&addressee);
    destination.budget.max_per_day = share.max_per_day;
    Ok(destination)
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
        min_hosts: share.min_hosts,
        warninglists: treatment(&share.warninglists),
    }
}

/// What MISP's warninglists mean.
fn treatment(said: &Warninglists) -> Treatment {
    let default = Treatment::default();
    let or = |said: &Option<Vec<String>>, default| said.clone().unwrap_or(default);
    Treatment {
        short: or(&said.short, default.short),
        without_to_ids: or(&said.without_to_ids, default.without_to_ids),
        never: or(&said.never, default.never),
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
        let opened = key_file(misp).and_then(|path| {
            fs::File::open(&path).with_context(|| format!("key_file `{}`", path.display()))
        });
        opened.err().map(|error| error.context(format!("[misp.{name}]")))
    });
    let actions = jails.iter().flat_map(|jail| jail.actions.iter().map(move |it| (jail, it)));
    let ours = actions.filter(|(_, action)| action.name == misp_action::NAME);
    let by_action = ours.filter_map(|(jail, action)| {
        let error = misp_action_of(source, &action.options).err()?;
        Some(error.context(format!("jail `{}`, action `misp`", jail.name)))
    });
    named.chain(by_action).collect()
}
