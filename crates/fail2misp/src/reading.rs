//! Reads a log with one filter, on all processors: pieces are skimmed on any thread, and gone
//! through in order on one.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::thread;

use crossbeam_channel::unbounded;
use jiff::Timestamp;
use scan::{Form, Reach, Scanner, Skimmed, Skimmer, Told};

use crate::lines::{Piece, Pieces};

/// Threads, at the most: the one that goes through the pieces keeps no more of them busy.
const MAX_THREADS: usize = 8;

/// Pieces for each further thread that are read and not gone through yet: one in work, one that
/// waits, one that is ready.
const DEPTH: usize = 3;

/// A piece on its way, with how dates were read when it was sent.
#[derive(Default)]
struct Job {
    number: usize,
    piece: Piece,
    form: Form,
    skimmed: Skimmed,
}

impl Job {
    fn skim(&mut self, skimmer: &mut Skimmer, now: Timestamp) {
        skimmer.skim(self.piece.text(), self.form, now, &mut self.skimmed);
    }
}

/// Shows all of a log to `scanner`, and tells what came of its lines in their order.
///
/// # Errors
///
/// When the log cannot be read, or `told` fails.
pub(crate) fn through<E: From<io::Error>>(
    input: impl Read,
    scanner: &mut Scanner,
    reach: Reach,
    now: Timestamp,
    mut told: impl FnMut(Told<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let n_others = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS) - 1;
    // Both ends are dropped when the way through ends, and with them the threads do.
    let (to_skim, waiting) = unbounded::<Job>();
    let (done, skimmed) = unbounded::<Job>();
    thread::scope(move |scope| {
        for _ in 0..n_others {
            let (waiting, done, mut skimmer) =
                (waiting.clone(), done.clone(), scanner.skimmer(reach));
            scope.spawn(move || {
                for mut job in waiting {
                    job.skim(&mut skimmer, now);
                    if done.send(job).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut skimmer = scanner.skimmer(reach);
        let (mut pieces, mut is_at_end) = (Pieces::new(input), false);
        let mut order = Order::default();
        loop {
            skimmed.try_iter().for_each(|job| order.put(job));
            if let Some(job) = order.next() {
                scanner.settle(job.piece.text(), &job.skimmed, &mut told)?;
                order.spare.push(job);
            } else if !is_at_end && order.under_way.len() <= n_others * DEPTH {
                let mut job = order.spare.pop().unwrap_or_default();
                is_at_end = !pieces.read(&mut job.piece)?;
                if !is_at_end {
                    job.form = scanner.form();
                    order.begin(&mut job);
                    // This thread holds a receiver, too.
                    let _ = to_skim.send(job);
                }
            } else if let Ok(mut job) = waiting.try_recv() {
                job.skim(&mut skimmer, now);
                order.put(job);
            } else if order.under_way.is_empty() {
                return Ok(());
            } else {
                let job = skimmed.recv().map_err(|_gone| io::Error::other("a thread has ended"))?;
                order.put(job);
            }
        }
    })
}

/// The pieces that are read and not gone through yet.
#[derive(Default)]
struct Order {
    /// In their order, those that are skimmed.
    under_way: VecDeque<Option<Job>>,
    n_ended: usize,
    /// Kept for their memory.
    spare: Vec<Job>,
}

impl Order {
    fn begin(&mut self, job: &mut Job) {
        job.number = self.n_ended + self.under_way.len();
        self.under_way.push_back(None);
    }

    fn put(&mut self, job: Job) {
        let place = job.number - self.n_ended;
        self.under_way[place] = Some(job);
    }

    /// The one that comes next, if it is skimmed.
    fn next(&mut self) -> Option<Job> {
        let job = self.under_way.front_mut()?.take()?;
        self.under_way.pop_front();
        self.n_ended += 1;
        Some(job)
    }
}
