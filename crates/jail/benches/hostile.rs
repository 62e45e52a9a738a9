//! What hostile lines cost: fail2ban's samples blown up to several lengths, the dearest of each filter.
//!
//!     cargo bench -p jail --bench hostile [FILTER]
//!
//! It takes some minutes. `FAIL2BAN_CONFIG_DIR` and `FAIL2BAN_ROOT` name another fail2ban than the
//! installed one.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]

#[path = "../tests/debian/mod.rs"]
mod debian;
#[path = "../tests/hostile_lines/mod.rs"]
mod hostile_lines;

use std::sync::Arc;
use std::time::Duration;

use hostile_lines::{FILLS, Target, blown_up};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use scan::{Scanner, Settings};

/// Lengths in bytes, and every how many samples are blown up to that: the longer take longer.
const LENGTHS: [(usize, usize); 5] =
    [(1000, 2), (4000, 3), (8 << 10, 3), (60_000, 20), (1 << 20, 150)];

/// A line that costs more than the dearest so far is looked at so many times: the best counts.
const RUNS: usize = 7;

/// Filters that are shown for each length.
const SHOWN: usize = 10;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut targets = hostile_lines::targets().unwrap();
    targets.retain(|target| wanted.as_ref().is_none_or(|wanted| target.name.starts_with(wanted)));
    for (length, every) in LENGTHS {
        let mut dearest: Vec<_> = targets
            .iter()
            .map(|target| (Dearest::of(target, length, every), &target.name))
            .collect();
        dearest.sort_by_key(|(it, _)| std::cmp::Reverse(it.cost));
        println!("lines of {length} bytes\n{:>8} {:>8} {:32} line", "ms", "given up", "filter");
        for (Dearest { cost, n_exceeded, line }, name) in dearest.iter().take(SHOWN) {
            let ms = cost.as_secs_f64() * 1e3;
            println!("{ms:8.2} {n_exceeded:>8} {name:32.32} {line:.80}");
        }
    }
}

/// The line that costs a filter the most.
#[derive(Default)]
struct Dearest {
    cost: Duration,
    n_exceeded: u64,
    line: String,
}

impl Dearest {
    fn of(target: &Target, length: usize, every: usize) -> Self {
        let mut scanner = Scanner::new(Arc::clone(&target.filter), Settings::default());
        let mut dearest = Self::default();
        for (sample, is_dated) in target.samples.iter().step_by(every) {
            for fill in FILLS {
                for (at, line) in blown_up(sample, fill, length) {
                    let mut looks = (0..RUNS).map(|_| look(&mut scanner, &line, *is_dated));
                    // Most lines are cheap at once.
                    let is_dearer = looks.by_ref().take_while(|(cost, _)| *cost > dearest.cost);
                    let seen: Vec<_> = is_dearer.collect();
                    if seen.len() == RUNS {
                        let (cost, n_exceeded) = seen.into_iter().min().unwrap();
                        let line = format!("{fill:?} at byte {at} of {sample}");
                        dearest = Self { cost, n_exceeded, line };
                    }
                }
            }
        }
        dearest
    }
}

/// The processor's time for a line, and the searches that were given up.
fn look(scanner: &mut Scanner, line: &str, is_dated: bool) -> (Duration, u64) {
    let now = Timestamp::UNIX_EPOCH;
    let before = scanner.statistics().n_exceeded;
    let start = processor_time();
    if is_dated {
        scanner.dated_line(line.as_bytes(), now, now);
    } else {
        scanner.line(line.as_bytes(), now);
    }
    (processor_time().saturating_sub(start), scanner.statistics().n_exceeded - before)
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}
