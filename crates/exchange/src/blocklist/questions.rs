//! Answers about the block lists, and does what an operator wants done about them.

use control::block_list::BlockEntry;
use control::pulled::{
    BlockListQuestion, BlockListView, Difference, ListView, Reason, SourceStatus,
};
use ipnet::IpNet;
use jiff::Timestamp;
use tracing::{info, warn};

use super::Keeping;
use super::brake::Window;
use super::list::difference;
use crate::LOG;
use crate::store::StoreError;

impl Keeping {
    pub(super) fn answer(
        &mut self,
        question: &BlockListQuestion,
    ) -> Result<BlockListView, StoreError> {
        let now = Timestamp::now().as_second();
        let n = self.sources.len();
        Ok(match question {
            BlockListQuestion::Sources => {
                BlockListView::Sources((0..n).map(|it| self.status(it)).collect::<Result<_, _>>()?)
            }
            BlockListQuestion::Show { limit } => {
                let lists = (0..n).map(|it| self.list(it, *limit));
                BlockListView::Lists(lists.collect::<Result<_, _>>()?)
            }
            BlockListQuestion::Why { net } => BlockListView::Why(self.why(*net, now)?),
            BlockListQuestion::Diff { limit } => {
                let lists = (0..n).map(|it| self.difference(it, *limit, now));
                BlockListView::Differences(lists.collect::<Result<_, _>>()?)
            }
            BlockListQuestion::Accept => {
                let lists = (0..n).map(|it| self.accept(it, now));
                BlockListView::Changed(lists.collect::<Result<_, _>>()?)
            }
            BlockListQuestion::Rollback => {
                let lists = (0..n).map(|it| self.roll_back(it));
                BlockListView::Changed(lists.collect::<Result<_, _>>()?)
            }
        })
    }

    fn status(&self, origin: usize) -> Result<SourceStatus, StoreError> {
        let source = &self.sources[origin];
        let row = self.store.source(&source.name)?;
        Ok(SourceStatus {
            name: source.name.clone(),
            pulled: row.pulled.map(time),
            sequence: row.progress.follower.map(|it| it.place.sequence),
            n_indicators: self.store.n_indicators(&source.name)?,
            n_entries: self.store.n_blocked(&source.name)? as u64,
            waiting: row.waiting,
            last_error: source.trouble.as_ref().map(ToString::to_string),
        })
    }

    fn list(&self, origin: usize, limit: u32) -> Result<ListView, StoreError> {
        let source = self.sources[origin].name.clone();
        let list = self.store.blocked(&source)?;
        let entry = |(net, until)| BlockEntry { net, until: Some(time(until)) };
        let n_entries = list.len() as u64;
        let entries = list.into_iter().take(limit as usize).map(entry).collect();
        Ok(ListView { source, n_entries, entries })
    }

    /// What is told of `asked`, and of each prefix around it.
    fn why(&self, asked: IpNet, now: i64) -> Result<Vec<Reason>, StoreError> {
        let mut reasons = Vec::new();
        for source in &self.sources {
            for len in (0..=asked.prefix_len()).rev() {
                let Ok(around) = IpNet::new(asked.network(), len) else { continue };
                let around = around.trunc();
                for it in self.store.indicators(&source.name, around)? {
                    let judged = self.policy.judge(&it, now);
                    reasons.push(Reason {
                        source: source.name.clone(),
                        net: it.net,
                        first: time(it.first),
                        last: time(it.last),
                        blocked_until: self.store.until(&source.name, around)?.map(time),
                        score: judged.as_ref().ok().map(|it| it.score),
                        why_not: judged.err().map(|it| it.to_string()),
                        kind: it.kind,
                        tags: it.tags,
                    });
                }
            }
        }
        Ok(reasons)
    }

    fn difference(&self, origin: usize, limit: u32, now: i64) -> Result<Difference, StoreError> {
        let name = &self.sources[origin].name;
        let (before, wanted) = self.wanted(name, now)?;
        let (changes, amount) = difference(&before, &wanted);
        let is_blocked = |net: &IpNet| before.binary_search_by_key(net, |(it, _)| *it).is_ok();
        let limit = limit as usize;
        let added = changes.iter().filter(|(net, it)| it.is_some() && !is_blocked(net));
        let removed = changes.iter().filter(|(_, it)| it.is_none());
        Ok(Difference {
            source: name.clone(),
            waiting: self.store.source(name)?.waiting,
            n_added: amount.n_added as u64,
            n_removed: amount.n_removed as u64,
            added: added.map(|(net, _)| *net).take(limit).collect(),
            removed: removed.map(|(net, _)| *net).take(limit).collect(),
        })
    }

    fn accept(&mut self, origin: usize, now: i64) -> Result<Difference, StoreError> {
        let name = self.sources[origin].name.clone();
        let accepted = self.difference(origin, 0, now)?;
        let (before, wanted) = self.wanted(&name, now)?;
        let (changes, _) = difference(&before, &wanted);
        self.store.write(&name, |it| it.wait(None))?;
        self.sources[origin].window = Window::default();
        let row = self.store.source(&name)?;
        self.change(origin, &row, &changes, now)?;
        let Difference { n_added, n_removed, .. } = accepted;
        info!(target: LOG, "{name}: accepted, {n_added} more and {n_removed} fewer are blocked");
        Ok(accepted)
    }

    fn roll_back(&mut self, origin: usize) -> Result<Difference, StoreError> {
        let source = self.sources[origin].name.clone();
        let Some((batch, before)) = self.store.last_batch(&source)? else {
            return Ok(Difference { source, ..Difference::default() });
        };
        let row = self.store.source(&source)?;
        let why = format!("it was put back to what it was before {}", time(batch.began));
        let list = self.store.blocked(&source)?;
        let is_blocked = |net: &IpNet| list.binary_search_by_key(net, |(it, _)| *it).is_ok();
        let put_back = before.iter().filter(|(net, was)| was.is_some() && !is_blocked(net));
        let lifted = before.iter().filter(|(net, was)| was.is_none() && is_blocked(net));
        let rolled_back = Difference {
            source: source.clone(),
            waiting: Some(why.clone()),
            n_added: put_back.count() as u64,
            n_removed: lifted.count() as u64,
            ..Difference::default()
        };
        self.store.write(&source, |it| {
            it.wait(Some(&why))?;
            it.take_back(batch, &before)
        })?;
        warn!(target: LOG, "{source}: {why}; it stays so until `fail2misp blocklist accept`");
        self.sources[origin].n_blocked = None;
        self.bring(origin, &row, &before);
        Ok(rolled_back)
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}
