//! What exchange asks guard about the past: whether old logs hold indicators that are new.
//!
//! One search at a time: [`LookBackRequest::Begin`], any number of [`LookBackRequest::Add`],
//! [`LookBackRequest::Search`], and then [`LookBackRequest::Results`] until they are there. A guard
//! that was started anew knows of no search, and whoever asks begins again.

use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::guard::{GuardAnswer, GuardClient, GuardRequest};

/// Prefixes in one step: those of IPv6 take some 45 bytes each, and a request has a megabyte.
pub const MAX_LOOK_BACK_STEP: usize = 10_000;

/// One step of a search, or the question what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum LookBackRequest {
    /// Begins a search; one that is not over yet is refused.
    Begin,
    /// Adds what is looked for.
    Add {
        /// At most [`MAX_LOOK_BACK_STEP`].
        nets: Vec<IpNet>,
    },
    /// Searches.
    Search,
    /// Asks what the search came to.
    Results {
        /// How long to wait for its end before answering that it goes on.
        wait_ms: u32,
    },
}

/// What guard answers to a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookBackAnswer {
    /// To a step before the last one.
    Taken,
    /// To [`LookBackRequest::Results`]: it goes on.
    Searching,
    /// To [`LookBackRequest::Results`]: it is over.
    Found(LookBackReport),
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LookBackReport {
    /// What was found, those that got in first, as far as an answer has room.
    pub hits: Vec<LookBackHit>,
    /// How much was found in all, by [`HitOutcome::ALL`].
    pub n_hits: [u64; HitOutcome::ALL.len()],
    /// Logs that were searched.
    pub n_logs: u64,
    /// Bytes of text in them.
    pub n_bytes: u64,
    /// Why not all of the past was searched, where it was not.
    pub cut_short: Option<String>,
}

/// An indicator that old logs hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookBackHit {
    /// The indicator.
    pub net: IpNet,
    /// Lines that hold it.
    pub n_lines: u64,
    /// The time of the earliest.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub first: Timestamp,
    /// The time of the latest.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub last: Timestamp,
    /// The worst that it came to.
    pub outcome: HitOutcome,
    /// One of the lines that say so; hostile.
    pub line: String,
}

/// What a hit came to, from the least to the worst.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitOutcome {
    /// Seen, with neither a failure nor a success.
    #[default]
    Probed,
    /// Failed, and never succeeded.
    Failed,
    /// Got in, or what counts as that.
    Succeeded,
}

impl HitOutcome {
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

impl GuardClient {
    /// Has old logs searched for `nets`.
    ///
    /// # Errors
    ///
    /// As [`crate::Client::ask`]; refused where guard does not look back, or does so already.
    pub fn look_back(&mut self, nets: &[IpNet]) -> Result<(), ClientError> {
        self.look_back_step(LookBackRequest::Begin)?;
        for nets in nets.chunks(MAX_LOOK_BACK_STEP) {
            self.look_back_step(LookBackRequest::Add { nets: nets.to_vec() })?;
        }
        self.look_back_step(LookBackRequest::Search).map(drop)
    }

    /// What the search came to; `None` while it goes on.
    ///
    /// # Errors
    ///
    /// As [`crate::Client::ask`]; refused where there was no search.
    pub fn look_back_results(
        &mut self,
        wait: Duration,
    ) -> Result<Option<LookBackReport>, ClientError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        Ok(match self.look_back_step(LookBackRequest::Results { wait_ms })? {
            LookBackAnswer::Found(report) => Some(report),
            LookBackAnswer::Taken | LookBackAnswer::Searching => None,
        })
    }

    fn look_back_step(&mut self, step: LookBackRequest) -> Result<LookBackAnswer, ClientError> {
        match self.ask(&GuardRequest::LookBack(step))? {
            GuardAnswer::LookBack(answer) => Ok(answer),
            _ => Err(self.unexpected()),
        }
    }
}
