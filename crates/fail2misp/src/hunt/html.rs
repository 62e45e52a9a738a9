//! The answer as one page of HTML: no script, no other file, every text of a log escaped.

use anyhow::Result;
use askama::Template;
use hunt::{Finding, Indicator, Outcome};
use jiff::ToSpan as _;
use jiff::civil::Date;

use super::{Answer, logs};
use crate::operator::local;

/// Indicators on the page; a browser shows no more in good time.
const MAX_SHOWN: usize = 5_000;
/// Days on the picture; older ones are in the table.
const MAX_DAYS: usize = 366;
/// The picture, in units of its own.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 160.0;

/// Makes the page.
///
/// # Errors
///
/// When the template fails, which it does for no answer.
pub(super) fn page(answer: &Answer) -> Result<String> {
    let found = answer.report.findings.sorted();
    let [probed, failed, succeeded] = answer.outcomes();
    let page = Page {
        answer,
        n_found: found.len(),
        probed,
        failed,
        succeeded,
        n_hidden: found.len().saturating_sub(MAX_SHOWN),
        timeline: Timeline::of(found.iter().map(|(_, finding)| *finding)),
        rows: found
            .iter()
            .take(MAX_SHOWN)
            .map(|(it, finding)| Row::of(answer, it, finding))
            .collect(),
        made: local(jiff::Timestamp::now()),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "hunt.html")]
struct Page<'a> {
    answer: &'a Answer,
    n_found: usize,
    probed: usize,
    failed: usize,
    succeeded: usize,
    n_hidden: usize,
    timeline: Option<Timeline>,
    rows: Vec<Row>,
    made: String,
}

/// One indicator.
struct Row {
    indicator: String,
    outcome: &'static str,
    count: u64,
    first: String,
    last: String,
    logs: Vec<(String, u64)>,
    users: Vec<String>,
    lines: Vec<(String, Vec<(bool, String)>)>,
}

impl Row {
    fn of(answer: &Answer, indicator: &Indicator, finding: &Finding) -> Self {
        let time = |it: Option<jiff::Timestamp>| it.map_or_else(|| "no date".to_owned(), local);
        let lines = finding.samples.iter().map(|sample| {
            let lines = sample.lines.iter().enumerate();
            let lines = lines.map(|(n, line)| (n == sample.hit, line.clone())).collect();
            (answer.logs[sample.log as usize].clone(), lines)
        });
        Self {
            indicator: indicator.to_string(),
            outcome: finding.outcome.name(),
            count: finding.count,
            first: time(finding.first),
            last: time(finding.last),
            logs: logs(answer, finding).map(|(log, n)| (log.to_owned(), n)).collect(),
            users: finding.users.iter().cloned().collect(),
            lines: lines.collect(),
        }
    }
}

/// Hits by day, as a picture.
struct Timeline {
    from: Date,
    to: Date,
    most: u64,
    bars: Vec<Bar>,
}

/// A part of a day's column.
struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    outcome: &'static str,
    title: String,
}

impl Timeline {
    fn of<'f>(findings: impl Iterator<Item = &'f Finding>) -> Option<Self> {
        let mut days = std::collections::BTreeMap::new();
        for (day, tally) in findings.flat_map(|finding| &finding.days) {
            let all: &mut hunt::Tally = days.entry(*day).or_default();
            all.iter_mut().zip(tally).for_each(|(all, n)| *all += n);
        }
        let to = *days.last_key_value()?.0;
        let from = (*days.first_key_value()?.0).max(to - (MAX_DAYS as i64 - 1).days());
        let most = days.range(from..).map(|(_, tally)| tally.iter().sum()).max()?;
        let n_days = f64::from((to - from).get_days() + 1);
        let width = WIDTH / n_days;
        let mut bars = Vec::new();
        for (day, tally) in days.range(from..) {
            let x = width * f64::from((*day - from).get_days());
            let mut y = HEIGHT;
            // The worst at the bottom, where it is seen however few there are.
            for outcome in Outcome::ALL.into_iter().rev() {
                let n: u64 = tally[outcome as usize];
                let height = HEIGHT * n as f64 / most as f64;
                y -= height;
                if n > 0 {
                    let title = format!("{day}: {n} {}", outcome.name());
                    let width = (width * 0.9).min(40.0);
                    bars.push(Bar { x, y, width, height, outcome: outcome.name(), title });
                }
            }
        }
        Some(Self { from, to, most, bars })
    }
}
