//! `hunt`: searches old logs for indicators, and tells what each of them came to.

mod bar;
mod csv;
pub(crate) mod filters;
mod html;
mod indicators;
mod json;
mod resume;
mod sight;
mod table;

use std::fs;
use std::io::{IsTerminal as _, Write};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use hunt::{
    Company, Indicator, IndicatorSet, Input, Options, Outcome, Progress, Related, Report, Unread,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::{self, FailOn, Folders};
use crate::exit::{Code, Failed, Outcome as Ended, escape};
use crate::{moment, signals};

/// Lines of each indicator that are kept where nobody says how many.
const SAMPLES: usize = 3;

/// `hunt`
pub(crate) fn run(folders: &Folders, args: &cli::Hunt, out: &mut dyn Write) -> Ended {
    let wanted = indicators::read(folders, args)?;
    for problem in &wanted.problems {
        eprintln!("fail2misp: {problem}");
    }
    let set: IndicatorSet = wanted.indicators.into_iter().collect();
    if set.is_empty() {
        return Err(Failed::usage(anyhow!(
            "hunt: no list holds an indicator, so nothing is searched"
        )));
    }
    let options = options(args).map_err(Failed::usage)?;
    let (mut inputs, missing) = hunt::find(&args.paths);
    // A list that lies beside the logs holds every indicator, and tells nothing.
    let lists: Vec<_> = args.indicators.iter().filter_map(|it| fs::canonicalize(it).ok()).collect();
    inputs.retain(|input| fs::canonicalize(&input.path).map_or(true, |it| !lists.contains(&it)));
    let progress = Arc::new(Progress::default());
    let stopping = Arc::clone(&progress);
    signals::on_end(move || stopping.stop.store(true, Ordering::Relaxed))
        .map_err(Failed::other_side)?;
    let before = resume::read(args.resume.as_deref(), &inputs).map_err(Failed::usage)?;

    let began = Instant::now();
    let bar = bar::show(&progress, inputs.iter().map(|input| input.size).sum());
    let mut report = hunt::search(&inputs, &set, &options, &progress, before);
    bar.end();
    report.unread.splice(..0, missing);
    let related = match args.related && !report.is_stopped {
        true => related(&inputs, &set, &options, &report),
        false => Vec::new(),
    };

    let answer = Answer {
        n_indicators: set.len(),
        n_wide: wanted.n_wide,
        n_bad: wanted.n_bad,
        seconds: began.elapsed().as_secs_f64(),
        bytes: progress.bytes.load(Ordering::Relaxed),
        text_bytes: progress.text_bytes.load(Ordering::Relaxed),
        lines: progress.lines.load(Ordering::Relaxed),
        logs: inputs.iter().map(|input| input.path.display().to_string()).collect(),
        report,
        related,
    };
    answer.warn();
    show(&answer, args, out).map_err(Failed::other_side)?;
    resume::write(args.resume.as_deref(), &inputs, &answer.report).map_err(Failed::other_side)?;
    if args.sight {
        sight::spool(folders, &answer.report.findings).map_err(Failed::other_side)?;
    }
    Ok(answer.code(args.fail_on))
}

/// What a search came to, for whoever shows it.
pub(crate) struct Answer {
    pub(crate) n_indicators: usize,
    /// Prefixes that were left out, because they hold too much.
    pub(crate) n_wide: usize,
    /// Lines of lists that hold no indicator.
    pub(crate) n_bad: u64,
    pub(crate) seconds: f64,
    /// As they lie on the disk.
    pub(crate) bytes: u64,
    pub(crate) text_bytes: u64,
    pub(crate) lines: u64,
    /// The names of the logs.
    pub(crate) logs: Vec<String>,
    pub(crate) report: Report,
    /// Who has to do with what was found, where that was asked for.
    pub(crate) related: Vec<Related>,
}

impl Answer {
    /// How many indicators came to each outcome.
    pub(crate) fn outcomes(&self) -> [usize; Outcome::ALL.len()] {
        let mut counts = [0; Outcome::ALL.len()];
        for (_, finding) in self.report.findings.sorted() {
            counts[finding.outcome as usize] += 1;
        }
        counts
    }

    /// Says on standard error what was not searched.
    fn warn(&self) {
        for Unread { path, why } in &self.report.unread {
            let path = escape(&path.display().to_string());
            eprintln!("fail2misp: `{path}` was not read to its end: {}", escape(why));
        }
        if self.report.undated > 0 {
            eprintln!(
                "fail2misp: {} hits in lines without a date were left out; without --since and \
                 --until they count",
                self.report.undated
            );
        }
    }

    fn code(&self, fail_on: Option<FailOn>) -> Code {
        let least = match fail_on {
            Some(FailOn::Success) => Some(Outcome::Succeeded),
            Some(FailOn::Failure) => Some(Outcome::Failed),
            Some(FailOn::Hit) => Some(Outcome::Probed),
            None => None,
        };
        let worst = self.report.findings.sorted().first().map(|(_, finding)| finding.outcome);
        match (worst, least) {
            (None, _) => Code::No,
            (Some(worst), Some(least)) if worst >= least => Code::Found,
            _ => Code::Done,
        }
    }
}

/// Searches once more, for what stood beside the indicators, and tells who shares it.
fn related(
    inputs: &[Input],
    set: &IndicatorSet,
    options: &Options,
    report: &Report,
) -> Vec<Related> {
    let options = Options { company: Company::SameLine, max_samples: 0, ..options.clone() };
    // Standard input cannot be read twice.
    let is_file = |input: &&Input| input.path.as_os_str() != hunt::STDIN;
    let inputs: Vec<_> = inputs.iter().filter(is_file).cloned().collect();
    let clues = hunt::clues(&report.findings);
    let progress = Progress::default();
    let shared = hunt::search(&inputs, &clues, &options, &progress, Default::default());
    hunt::related(set, &report.findings, &shared.findings)
}

fn options(args: &cli::Hunt) -> Result<Options> {
    let (zone, now) = (TimeZone::system(), Timestamp::now());
    let time = |text: &Option<String>| {
        let read = |text: &String| moment::read(text, now, &zone);
        text.as_ref().map(read).transpose()
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let filters = filters::compile().context("the filters of outcomes")?;
    Ok(Options {
        since: time(&args.since).context("--since")?,
        until: time(&args.until).context("--until")?,
        max_samples: args.lines.unwrap_or(SAMPLES),
        n_context: args.context,
        in_names: args.in_names,
        n_threads: args.threads.unwrap_or(cores),
        company: if args.related { Company::NearLines } else { Company::None },
        ..Options::new(filters, zone.clone(), now)
    })
}

fn show(answer: &Answer, args: &cli::Hunt, out: &mut dyn Write) -> Result<()> {
    let text = if args.format.is_json() {
        json::lines(answer)
    } else if args.csv {
        csv::lines(answer)
    } else {
        let is_red = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        table::text(answer, args.lines.is_some() || args.context > 0, is_red)
    };
    out.write_all(text.as_bytes())?;
    if let Some(path) = &args.html {
        let page = html::page(answer)?;
        fs::write(path, page).with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

/// The logs of a finding by their names.
pub(crate) fn logs<'a>(
    answer: &'a Answer,
    finding: &'a hunt::Finding,
) -> impl Iterator<Item = (&'a str, u64)> {
    finding.logs.iter().map(|(log, n)| (answer.logs[*log as usize].as_str(), *n))
}

/// An indicator as a terminal may see it.
pub(crate) fn shown(indicator: &Indicator) -> String {
    escape(&indicator.to_string())
}
