//! Where indicators come from, and what of them is blocked, by our configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use exchange::{BlockPolicy, Destination, LookBack, Origin, Pull};
use ipnet::IpNet;
use lists::decay::Model;
use lists::warninglist::Warninglist;

use crate::cli::Folders;
use crate::destinations;
use crate::settings::{BlockList, Settings};

/// What is pulled, if anything is.
pub(crate) fn setup(folders: &Folders, settings: &Settings) -> Result<Option<Pull>> {
    let Some(list) = &settings.blocklist else { return Ok(None) };
    if let Some(unknown) = list.from.iter().find(|it| !settings.misp.contains_key(*it)) {
        bail!("blocklist.from: there is no [misp.{unknown}]");
    }
    let mut origins = Vec::new();
    for (name, misp) in &settings.misp {
        if !list.from.is_empty() && !list.from.contains(name) {
            continue;
        }
        let hub_key = misp.hub_key.as_deref().map(str::parse).transpose();
        let Destination { name, url, key_file, transport, .. } =
            destinations::of_settings(name, misp, &settings.share)?;
        origins.push(Origin {
            url,
            key_file,
            transport,
            hub_key: hub_key.with_context(|| format!("misp.{name}.hub_key"))?,
            name,
        });
    }
    let (policy, guard) = (policy(list)?, folders.guard_socket());
    let look_back =
        settings.look_back.is_on().then_some(LookBack { sightings: settings.look_back.sightings });
    Ok(Some(Pull { origins, every: list.pull_every, policy, guard, look_back }))
}

fn policy(list: &BlockList) -> Result<BlockPolicy> {
    let own = guard::addresses::own().into_iter().map(IpNet::from);
    let warninglists = list.warninglists.iter().map(|path| warninglist(path));
    Ok(BlockPolicy {
        require_tags: list.require_tags.clone(),
        refuse_tags: list.refuse_tags.clone(),
        organisations: list.organisations.clone(),
        types: list.types.clone(),
        max_age: i64::try_from(list.max_age.as_secs()).unwrap_or(i64::MAX),
        decay: Model { threshold: list.min_score, ..Model::default() },
        votes: list.false_positives,
        trusted: list.trusted_false_positives.clone(),
        widest: list.widest,
        never: own.chain(list.never.iter().copied()).collect(),
        warninglists: warninglists.collect::<Result<_>>()?,
        max_entries: list.max_entries,
        max_change: list.max_change,
        max_added: list.max_added,
    })
}

fn warninglist(path: &Path) -> Result<Arc<Warninglist>> {
    let named = || format!("blocklist.warninglists: `{}`", path.display());
    let bytes = fs::read(path).with_context(named)?;
    Warninglist::read(&bytes).map(Arc::new).with_context(named)
}
