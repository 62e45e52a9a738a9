//! Reads a log with one filter, on all processors: each piece is skimmed on a thread of its own,
//! and gone through in order.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use jiff::Timestamp;
use scan::{Form, Reach, Scanner, Skimmed, Skimmer, Told};

use crate::lines::{Piece, Pieces};

/// Threads that skim, at the most: the one that goes through the pieces keeps no more of them busy.
const MAX_SKIMMERS: usize = 8;

/// Pieces that wait for each of them, or for being gone through.
const DEPTH: usize = 2;

/// A piece on its way, with how dates were read when it was sent; comes back skimmed.
#[derive(Default)]
struct Job {
    piece: Piece,
    form: Form,
    skimmed: Skimmed,
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
    let mut pieces = Pieces::new(input);
    let n_skimmers = thread::available_parallelism().map_or(1, usize::from).min(MAX_SKIMMERS);
    if n_skimmers == 1 {
        let (mut job, mut skimmer) = (Job::default(), scanner.skimmer(reach));
        while pieces.read(&mut job.piece)? {
            skimmer.skim(job.piece.text(), scanner.form(), now, &mut job.skimmed);
            scanner.settle(job.piece.text(), &job.skimmed, &mut told)?;
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let bench = |_| {
            let (to_skim, jobs) = sync_channel(DEPTH);
            let (done, skimmed) = sync_channel(DEPTH);
            let skimmer = scanner.skimmer(reach);
            scope.spawn(move || skim(skimmer, now, &jobs, &done));
            Bench { to_skim, skimmed }
        };
        let benches: Vec<Bench> = (0..n_skimmers).map(bench).collect();
        let (mut n_sent, mut n_settled) = (0, 0);
        let mut settle = |n_settled: usize, scanner: &mut Scanner| {
            let job = benches[n_settled % n_skimmers].skimmed.recv();
            let job = job.map_err(|_gone| io::Error::other("a thread ended by itself"))?;
            scanner.settle(job.piece.text(), &job.skimmed, &mut told)?;
            Ok::<Job, E>(job)
        };
        let mut job = Job::default();
        while pieces.read(&mut job.piece)? {
            job.form = scanner.form();
            // Where the thread is gone, `settle` says so.
            let _ = benches[n_sent % n_skimmers].to_skim.send(job);
            n_sent += 1;
            job = if n_sent - n_settled == n_skimmers * DEPTH {
                n_settled += 1;
                settle(n_settled - 1, scanner)?
            } else {
                Job::default()
            };
        }
        (n_settled..n_sent).try_for_each(|number| settle(number, scanner).map(drop))
    })
}

/// The way to a thread that skims, and back.
struct Bench {
    to_skim: SyncSender<Job>,
    skimmed: Receiver<Job>,
}

/// Skims until nobody sends or wants any more.
fn skim(mut skimmer: Skimmer, now: Timestamp, jobs: &Receiver<Job>, done: &SyncSender<Job>) {
    for mut job in jobs {
        skimmer.skim(job.piece.text(), job.form, now, &mut job.skimmed);
        if done.send(job).is_err() {
            return;
        }
    }
}
