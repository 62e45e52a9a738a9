//! The answer as a table for people: those that got in first, and in red.

use hunt::{Finding, Outcome, Related};
use jiff::Timestamp;

use super::{Answer, shown};
use crate::exit::escape;
use crate::jails::count;
use crate::operator::{local, table};

/// Indicators that are listed; more fill no screen that anybody reads, and `--json` has all.
const MAX_LISTED: usize = 1_000;

/// Related addresses that are listed.
const MAX_RELATED: usize = 50;

const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// The table, the lines themselves `with_lines`, and the summary.
pub(super) fn text(answer: &Answer, with_lines: bool, is_red: bool) -> String {
    let found = answer.report.findings.sorted();
    let mut text = String::new();
    if !found.is_empty() {
        let mut table = table(["outcome", "indicator", "lines", "first", "last", "logs"]);
        for (indicator, it) in found.iter().take(MAX_LISTED) {
            table.add_row([
                it.outcome.name().to_owned(),
                shown(indicator),
                it.count.to_string(),
                time(it.first),
                time(it.last),
                it.logs.len().to_string(),
            ]);
        }
        for row in table.to_string().lines() {
            let is_red = is_red && row.starts_with(Outcome::Succeeded.name());
            let (red, plain) = if is_red { (RED, PLAIN) } else { ("", "") };
            text += &format!("{red}{}{plain}\n", row.trim_end());
        }
        if found.len() > MAX_LISTED {
            text += &format!("… and {} more; --json lists all\n", found.len() - MAX_LISTED);
        }
        text.push('\n');
    }
    if with_lines {
        for (indicator, finding) in found.iter().take(MAX_LISTED) {
            text += &format!(
                "{}: {}\n{}\n",
                shown(indicator),
                finding.outcome.name(),
                lines(answer, finding)
            );
        }
    }
    if !answer.related.is_empty() {
        text += &related(&answer.related);
    }
    text + &summary(answer)
}

/// Who has to do with what was found, and why.
fn related(related: &[Related]) -> String {
    let mut text = "related, by what they share with the above:\n".to_owned();
    for it in related.iter().take(MAX_RELATED) {
        let reasons: Vec<_> = it.reasons.iter().map(|it| escape(&it.to_string())).collect();
        let (addr, outcome) = (it.addr.to_string(), it.seen.outcome.name());
        text += &format!("{:>3} {addr:39} {outcome:9} {}\n", it.score, reasons.join("; "));
    }
    if related.len() > MAX_RELATED {
        text += &format!("… and {} more; --json lists all\n", related.len() - MAX_RELATED);
    }
    text + "\n"
}

fn lines(answer: &Answer, finding: &Finding) -> String {
    let mut text = String::new();
    for sample in &finding.samples {
        text += &format!("  {}\n", escape(&answer.logs[sample.log as usize]));
        for (n, line) in sample.lines.iter().enumerate() {
            let mark = if n == sample.hit { '>' } else { ' ' };
            text += &format!("  {mark} {}\n", escape(line));
        }
    }
    text
}

fn summary(answer: &Answer) -> String {
    let [probed, failed, succeeded] = answer.outcomes();
    let mut text = match answer.report.findings.len() {
        0 => format!("none of {} was found", count(answer.n_indicators, "indicator")),
        n => format!(
            "{n} of {} found: {succeeded} succeeded, {failed} failed, {probed} probed",
            count(answer.n_indicators, "indicator")
        ),
    };
    text += &format!(
        "\n{} lines, {:.1} MB in {}, {:.1} s\n",
        answer.lines,
        answer.text_bytes as f64 / 1e6,
        count(answer.logs.len(), "log"),
        answer.seconds
    );
    if answer.n_wide > 0 {
        let wide = count(answer.n_wide, "prefix");
        text += &format!("{wide} wider than /{} left out; --any takes them\n", hunt::WIDEST_PREFIX);
    }
    if answer.report.is_stopped {
        text += &format!(
            "interrupted after {:.1} MB; --resume FILE lets the next search go on\n",
            answer.bytes as f64 / 1e6
        );
    }
    text
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), local)
}
