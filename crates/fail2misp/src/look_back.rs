//! The look back of `run`: searches the logs that guard follows, and what was rotated away from
//! them, for indicators that are new. Bounded in time, bytes and processors.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::look_back::{HitOutcome, LookBackHit, LookBackReport};
use guard::Followed;
use hunt::{
    Finding, Findings, Indicator, IndicatorSet, Input, Options, Outcome, Progress, Unread,
    WIDEST_PREFIX,
};
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::hunt::filters;
use crate::log::{Log, Target};
use crate::settings;

/// Where systemd keeps the journal.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Hits that are told one by one: with a line each they are some megabytes at the control socket.
const MAX_HITS: usize = 10_000;

/// How often it is looked whether time or bytes are up.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How much more text than bytes on the disk a search reads: logs pack to a tenth, and an archive
/// that pretends to be one unpacks without end.
const TEXT_PER_BYTE: u64 = 10;

/// Searches old logs for guard.
pub(crate) struct LookBack {
    settings: settings::LookBack,
    /// The log that this program writes: what it says of somebody is no trace of him.
    own: Log,
}

impl LookBack {
    /// As configured; none where it is switched off.
    pub(crate) fn of(settings: &settings::LookBack, own: &Log) -> Option<Self> {
        settings.is_on().then(|| Self { settings: settings.clone(), own: own.clone() })
    }

    /// The logs to search, the newest first, as many as there is room for; and why not all.
    fn inputs(&self, followed: &Followed, since: Timestamp) -> (Vec<Input>, Option<String>) {
        let (mut inputs, mut unread) = hunt::find_rotated(&followed.files);
        if followed.journal {
            let there = JOURNALS.iter().filter(|it| PathBuf::from(it).exists());
            let (journals, not_read) =
                hunt::find(&there.map(ToString::to_string).collect::<Vec<_>>());
            inputs.extend(journals);
            unread.extend(not_read);
        }
        let own = match self.own.target() {
            Target::File(path) => hunt::find_rotated(&[path]).0,
            Target::Stderr | Target::Stdout | Target::Syslog(_) | Target::Journal(_) => Vec::new(),
        };
        inputs.retain(|input| {
            input.modified.is_none_or(|time| time >= since)
                && own.iter().all(|own| own.file != input.file)
        });
        inputs.sort_by_key(|input| std::cmp::Reverse(input.modified));
        let n_all = inputs.len();
        let mut room = self.settings.max_bytes;
        inputs.retain(|input| {
            let fits = input.size <= room;
            room = room.saturating_sub(input.size);
            fits
        });
        let cut = match n_all - inputs.len() {
            0 => unread.first().map(Unread::to_string),
            n => Some(format!("{n} of {n_all} logs are beyond `[look_back] max_bytes`")),
        };
        (inputs, cut)
    }
}

impl guard::LookBack for LookBack {
    fn search(&self, nets: &[IpNet], followed: &Followed, stop: &AtomicBool) -> LookBackReport {
        let now = Timestamp::now();
        let since = now.checked_sub(self.settings.within).unwrap_or(Timestamp::MIN);
        let (inputs, cut) = self.inputs(followed, since);
        let filters = match filters::compile() {
            Ok(filters) => filters,
            Err(error) => {
                let cut_short = Some(format!("{error:#}"));
                return LookBackReport { cut_short, ..LookBackReport::default() };
            }
        };
        let options = Options {
            since: Some(since),
            max_samples: 1,
            ..Options::new(filters, TimeZone::system(), now)
        };
        let wanted = nets.iter().filter(|net| net.prefix_len() >= WIDEST_PREFIX);
        let set: IndicatorSet = wanted.copied().map(Indicator::from).collect();
        let progress = Progress::default();
        let max_text = self.settings.max_bytes.saturating_mul(TEXT_PER_BYTE);
        let is_over = AtomicBool::new(false);
        let (report, ran_out) = thread::scope(|scope| {
            let watch = scope.spawn(|| self.watch(&progress, max_text, stop, &is_over));
            let report = hunt::search(&inputs, &set, &options, &progress, Default::default());
            is_over.store(true, Ordering::Relaxed);
            (report, watch.join().unwrap_or_default())
        });
        let unread = report.unread.first().map(Unread::to_string);
        LookBackReport {
            n_hits: counts(&report.findings),
            hits: hits(&report.findings),
            n_logs: inputs.len() as u64,
            n_bytes: progress.text_bytes.load(Ordering::Relaxed),
            cut_short: ran_out.or(cut).or(unread),
        }
    }
}

impl LookBack {
    /// Stops a search whose time or bytes are up, or which is asked to stop; says which.
    fn watch(
        &self,
        progress: &Progress,
        max_text: u64,
        stop: &AtomicBool,
        is_over: &AtomicBool,
    ) -> Option<String> {
        let began = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            let why = if stop.load(Ordering::Relaxed) {
                Some("guard is stopping".to_owned())
            } else if began.elapsed() >= self.settings.at_most {
                Some(format!("it took {:?}, `[look_back] at_most`", self.settings.at_most))
            } else if progress.text_bytes.load(Ordering::Relaxed) > max_text {
                Some(format!("the logs hold more than {max_text} bytes of text"))
            } else {
                None
            };
            if why.is_some() {
                progress.stop.store(true, Ordering::Relaxed);
                return why;
            }
            thread::sleep(WATCH_EVERY);
        }
        None
    }
}

fn counts(findings: &Findings) -> [u64; HitOutcome::ALL.len()] {
    let mut counts = [0; HitOutcome::ALL.len()];
    for (_, finding) in findings.sorted() {
        counts[outcome(finding.outcome) as usize] += 1;
    }
    counts
}

/// What was found, those that got in first.
fn hits(findings: &Findings) -> Vec<LookBackHit> {
    findings.sorted().into_iter().filter_map(|(it, found)| hit(it, found)).take(MAX_HITS).collect()
}

fn hit(indicator: &Indicator, finding: &Finding) -> Option<LookBackHit> {
    let net = match indicator {
        Indicator::Address(addr) => IpNet::from(*addr),
        Indicator::Prefix(net) => *net,
        Indicator::Fingerprint(_) | Indicator::User(_) => return None,
    };
    let line = finding.samples.first().map(|sample| sample.lines[sample.hit].clone());
    Some(LookBackHit {
        net,
        n_lines: finding.count,
        first: finding.first?,
        last: finding.last?,
        outcome: outcome(finding.outcome),
        line: line.unwrap_or_default(),
    })
}

fn outcome(of: Outcome) -> HitOutcome {
    match of {
        Outcome::Probed => HitOutcome::Probed,
        Outcome::Failed => HitOutcome::Failed,
        Outcome::Succeeded => HitOutcome::Succeeded,
    }
}
