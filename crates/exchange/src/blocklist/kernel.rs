//! Brings a list to guard, which checks it once more and moves the kernel.
//!
//! Guard keeps its lists over a restart and knows each by its version. It is told what changed
//! from the version that it holds, and all of it where it holds another.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use control::ClientError;
use control::block_list::{BlockEntry, BlockListAnswer, BlockListOutcome, WhyRefused};
use control::guard::GuardClient;
use ipnet::IpNet;
use jiff::Timestamp;
use tracing::{info, warn};

use super::store::Change;
use crate::LOG;
use crate::backoff::{FIRST_RETRY, backoff};

/// A guard that is away is asked again at least this often: on one host it is back in seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Guard, now or later.
#[derive(Debug)]
pub(crate) struct Kernel {
    path: PathBuf,
    client: Option<GuardClient>,
    n_failed: u32,
    next_try: Instant,
    /// What it refused, as far as that was said.
    said: HashSet<(String, WhyRefused)>,
}

/// What became of a list at guard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Brought {
    /// It holds the version now.
    Taken,
    /// It holds another one than was changed, and wants all of it.
    All,
    /// It cannot be asked; it is asked again later.
    Later,
}

impl Kernel {
    pub(crate) fn new(path: PathBuf) -> Self {
        let (n_failed, next_try) = (0, Instant::now());
        Self { path, client: None, n_failed, next_try, said: HashSet::new() }
    }

    /// Whether it is time to ask it again.
    pub(crate) fn is_due(&self) -> bool {
        self.n_failed == 0 || Instant::now() >= self.next_try
    }

    /// Changes the list of `source` from the version `base`, or makes it anew.
    pub(crate) fn bring(
        &mut self,
        source: &str,
        version: &str,
        base: Option<&str>,
        changes: &[Change],
    ) -> Brought {
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for (net, until) in changes {
            match until {
                Some(until) => add.push(entry(*net, *until)),
                None => remove.push(*net),
            }
        }
        let asked = self.ask(|guard| guard.change_block_list(source, version, base, &add, &remove));
        match asked {
            Some(BlockListAnswer::Committed(outcome)) => {
                self.say_refused(source, &outcome);
                Brought::Taken
            }
            Some(BlockListAnswer::OtherBase { .. }) => Brought::All,
            Some(BlockListAnswer::Taken | BlockListAnswer::Status(_)) | None => Brought::Later,
        }
    }

    /// The sources whose lists it holds, and their versions.
    pub(crate) fn versions(&mut self) -> Option<Vec<(String, String)>> {
        let lists = self.ask(GuardClient::block_lists)?;
        Some(lists.into_iter().map(|it| (it.source, it.version)).collect())
    }

    /// Has it forget the list of a source that is none any more.
    pub(crate) fn forget(&mut self, source: &str) {
        if self.ask(|guard| guard.forget_block_list(source)).is_some() {
            info!(target: LOG, "{source} is no source any more; what it had blocked is free");
        }
    }

    /// Has it lift the bans of its own jails: somebody whose word suffices for that calls `net` a
    /// false positive.
    pub(crate) fn lift(&self, net: IpNet, who: &str) {
        let lifted =
            GuardClient::connect(&self.path).and_then(|mut guard| guard.false_positive(net, who));
        match lifted {
            Ok(0) => {}
            Ok(n) => info!(target: LOG, "{who} calls {net} a false positive: {n} bans are lifted"),
            Err(error) => {
                warn!(target: LOG, "{who} calls {net} a false positive, and its bans stand: {error}");
            }
        }
    }

    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut GuardClient) -> Result<T, ClientError>,
    ) -> Option<T> {
        let client = match self.client.take() {
            Some(client) => Ok(client),
            None => GuardClient::connect(&self.path),
        };
        // After an error the connection is of no use any more.
        let asked = client.and_then(|mut client| {
            let answer = ask(&mut client)?;
            self.client = Some(client);
            Ok(answer)
        });
        match asked {
            Ok(answer) => {
                self.n_failed = 0;
                Some(answer)
            }
            Err(error) => {
                if self.n_failed == 0 {
                    info!(target: LOG, "guard does not take the block lists for now ({error}); they are brought again");
                }
                self.n_failed += 1;
                let pause = backoff(FIRST_RETRY, self.n_failed).min(LONGEST_PAUSE);
                self.next_try = Instant::now() + pause;
                None
            }
        }
    }

    /// Says what guard refused, once for each reason.
    fn say_refused(&mut self, source: &str, outcome: &BlockListOutcome) {
        for it in &outcome.refused {
            if self.said.insert((source.to_owned(), it.why)) {
                let (n, first) = (it.n, it.first);
                warn!(
                    target: LOG,
                    "guard does not block {n} entries of {source} ({:?}), first {first}", it.why
                );
            }
        }
    }
}

fn entry(net: IpNet, until: i64) -> BlockEntry {
    BlockEntry { net, until: Timestamp::from_second(until).ok() }
}
