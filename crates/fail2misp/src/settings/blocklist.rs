//! `[blocklist]`: what comes back, and what of it is blocked. Where it is absent nothing is pulled.

use std::path::PathBuf;
use std::time::Duration;

use exchange::{ADDRESS_TYPES, BlockPolicy};
use lists::net::Widest;
use serde::{Deserialize, Deserializer, de};

use super::duration;

/// `[blocklist]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BlockList {
    /// Names of `[misp.NAME]`; all of them where none is named.
    pub(crate) from: Vec<String>,
    #[serde(deserialize_with = "duration")]
    pub(crate) pull_every: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) max_age: Duration,
    /// Scores fade from 80 to nothing; up to this one nobody is blocked.
    pub(crate) min_score: f64,
    pub(crate) require_tags: Vec<String>,
    pub(crate) refuse_tags: Vec<String>,
    /// Names of organisations, as at the MISP; the number of one that it does not name.
    pub(crate) organisations: Vec<String>,
    pub(crate) types: Vec<String>,
    /// The widest prefixes, of IPv4 and of IPv6: `["/16", "/32"]`.
    #[serde(deserialize_with = "widest")]
    pub(crate) widest: Widest,
    pub(crate) max_entries: usize,
    pub(crate) max_change: f64,
    pub(crate) max_added: usize,
    /// Who is never blocked by a list.
    pub(crate) never: Vec<ipnet::IpNet>,
    /// Files of MISP's warninglists.
    pub(crate) warninglists: Vec<PathBuf>,
    /// Organisations that must call somebody a false positive.
    pub(crate) false_positives: usize,
    /// Whose word alone suffices, and lifts bans of this host, too: organisations at a MISP, hubs by
    /// their names here.
    pub(crate) trusted_false_positives: Vec<String>,
}

impl Default for BlockList {
    fn default() -> Self {
        let policy = BlockPolicy::default();
        Self {
            from: Vec::new(),
            pull_every: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(policy.max_age.unsigned_abs()),
            min_score: policy.decay.threshold,
            require_tags: policy.require_tags,
            refuse_tags: policy.refuse_tags,
            organisations: policy.organisations,
            types: policy.types,
            widest: policy.widest,
            max_entries: policy.max_entries,
            max_change: policy.max_change,
            max_added: policy.max_added,
            never: Vec::new(),
            warninglists: Vec::new(),
            false_positives: policy.votes,
            trusted_false_positives: policy.trusted,
        }
    }
}

impl BlockList {
    /// What guard holds every list to, whoever sends it.
    pub(crate) fn limits(&self) -> guard::Limits {
        guard::Limits {
            widest_v4: self.widest.v4,
            widest_v6: self.widest.v6,
            max_entries: self.max_entries,
            trusted: self.trusted_false_positives.clone(),
        }
    }

    /// What is wrong with it that its form does not show.
    pub(super) fn problem(&self) -> Option<String> {
        let unknown = self.types.iter().find(|it| !ADDRESS_TYPES.contains(&it.as_str()));
        if let Some(unknown) = unknown {
            let known = ADDRESS_TYPES.join("`, `");
            return Some(format!("`{unknown}` names no address; there is `{known}`"));
        }
        (!(0.0..=1.0).contains(&self.max_change))
            .then(|| "`max_change` is a share, from 0 to 1".to_owned())
    }
}

fn widest<'de, D: Deserializer<'de>>(input: D) -> Result<Widest, D::Error> {
    let [v4, v6] = <[String; 2]>::deserialize(input)?;
    let length = |text: &str, most: u8| {
        let length = text.strip_prefix('/').and_then(|it| it.parse().ok());
        length.filter(|it| *it <= most).ok_or_else(|| {
            let problem = format!("`{text}` is no length of a prefix; write `[\"/16\", \"/32\"]`");
            de::Error::custom(problem)
        })
    };
    Ok(Widest { v4: length(&v4, 32)?, v6: length(&v6, 128)? })
}
