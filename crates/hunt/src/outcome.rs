//! What a line says became of somebody: filters for success and for failure decide.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, Hit, Pass, Settings};
use serde::{Deserialize, Serialize};

use crate::indicator::Indicator;

/// How much of a line is judged: no daemon writes more of use, and expressions are slow.
const MAX_JUDGED_BYTES: usize = 8 << 10;
/// The group that holds a user's name.
const USER: &str = "user";

/// What it came to, from the least to the worst.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Seen, with neither a failure nor a success.
    #[default]
    Probed,
    /// Failed, and never succeeded.
    Failed,
    /// Got in, or what counts as that.
    Succeeded,
}

impl Outcome {
    /// All, from the least to the worst.
    pub const ALL: [Self; 3] = [Self::Probed, Self::Failed, Self::Succeeded];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probed => "probed",
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
        }
    }
}

/// The filters that decide.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// What they catch is a success.
    pub success: Vec<Arc<Filter>>,
    /// What they catch is a failure.
    pub failure: Vec<Arc<Filter>>,
}

/// What a line says of one subject.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// An address, or another id.
    pub(crate) subject: String,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) user: Option<String>,
}

/// The filters at work.
#[derive(Debug)]
pub(crate) struct Judge {
    pass: Pass,
    n_success: usize,
}

impl Judge {
    pub(crate) fn new(filters: &Filters, zone: &TimeZone) -> Self {
        let all = filters.success.iter().chain(&filters.failure);
        let settings = Settings { zone: zone.clone(), raw: true, ..Settings::default() };
        let pass = Pass::new(all.map(|it| (Arc::clone(it), settings.clone())).collect());
        Self { pass, n_success: filters.success.len() }
    }

    /// What `line` says, written at about `now`.
    pub(crate) fn judge(&mut self, line: &[u8], now: Timestamp) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::new();
        let line = &line[..line.len().min(MAX_JUDGED_BYTES)];
        let n_success = self.n_success;
        self.pass.line(line, now, |place, outcome| {
            if let scan::Outcome::Failure(hit) = outcome {
                let succeeds = place < n_success;
                let outcome = if succeeds { Outcome::Succeeded } else { Outcome::Failed };
                verdicts.push(Verdict::new(outcome, hit));
            }
        });
        // What one filter calls a failure is no success, whatever another one says.
        let failed: Vec<_> = verdicts.iter().filter(|it| it.outcome == Outcome::Failed).collect();
        let failed: Vec<_> = failed.iter().map(|it| it.subject.clone()).collect();
        verdicts.retain(|it| it.outcome == Outcome::Failed || !failed.contains(&it.subject));
        verdicts
    }
}

impl Verdict {
    fn new(outcome: Outcome, hit: Hit) -> Self {
        let addr = hit.id.parse::<IpAddr>().ok().map(|addr| addr.to_canonical());
        let user = hit.fields.into_iter().find(|(name, _)| name == USER).map(|(_, user)| user);
        Self { outcome, subject: hit.id, addr, user }
    }

    /// Whether it is of `indicator`, which stands in the line it was made of.
    pub(crate) fn is_of(&self, indicator: &Indicator) -> bool {
        match indicator {
            Indicator::Address(addr) => self.addr == Some(*addr),
            Indicator::Prefix(net) => self.addr.is_some_and(|addr| net.contains(&addr)),
            Indicator::User(name) => self.user.as_ref() == Some(name) || self.subject == *name,
            // Whose key it is, the line does not say twice.
            Indicator::Fingerprint(_) => true,
        }
    }
}
