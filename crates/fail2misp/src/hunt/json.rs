//! The answer as JSON: an object for each indicator that was found and for whoever is related to
//! them, then a summary.

use std::collections::BTreeSet;

use hunt::{Finding, Indicator, Outcome, Related};
use serde_json::{Map, Value, json};

use super::{Answer, logs};

/// All lines.
pub(super) fn lines(answer: &Answer) -> String {
    let found = answer.report.findings.sorted();
    let objects = found.into_iter().map(|(indicator, it)| object(answer, indicator, it));
    let related = answer.related.iter().map(related);
    objects.chain(related).chain([summary(answer)]).map(|object| format!("{object}\n")).collect()
}

/// One indicator.
pub(crate) fn object(answer: &Answer, indicator: &Indicator, finding: &Finding) -> Value {
    let files: Map<_, _> =
        logs(answer, finding).map(|(log, n)| (log.to_owned(), json!(n))).collect();
    let days: Map<_, _> = finding
        .days
        .iter()
        .map(|(day, tally)| {
            let by_outcome = Outcome::ALL.map(Outcome::name).into_iter().zip(tally);
            let by_outcome: Map<_, _> =
                by_outcome.map(|(name, n)| (name.to_owned(), json!(n))).collect();
            (day.to_string(), Value::Object(by_outcome))
        })
        .collect();
    let lines: Vec<_> = finding
        .samples
        .iter()
        .map(|sample| {
            json!({
                "file": answer.logs[sample.log as usize],
                "time": sample.time.map(jiff::Timestamp::as_second),
                "outcome": sample.outcome,
                "line": sample.lines[sample.hit],
                "before": sample.lines[..sample.hit],
                "after": sample.lines[sample.hit + 1..],
            })
        })
        .collect();
    json!({
        "indicator": indicator.to_string(),
        "count": finding.count,
        "first": finding.first.map(jiff::Timestamp::as_second),
        "last": finding.last.map(jiff::Timestamp::as_second),
        "outcome": finding.outcome,
        "undated": finding.undated,
        "files": files,
        "days": days,
        "users": finding.users,
        "lines": lines,
    })
}

fn related(it: &Related) -> Value {
    let reasons: Vec<_> = it.reasons.iter().map(ToString::to_string).collect();
    let with: BTreeSet<_> =
        it.reasons.iter().flat_map(|reason| &reason.with).map(Indicator::to_string).collect();
    json!({
        "related": it.addr,
        "score": it.score,
        "to": with,
        "reasons": reasons,
        "first": it.seen.first.map(jiff::Timestamp::as_second),
        "last": it.seen.last.map(jiff::Timestamp::as_second),
        "outcome": it.seen.outcome,
    })
}

fn summary(answer: &Answer) -> Value {
    let [probed, failed, succeeded] = answer.outcomes();
    let unread: Vec<_> = answer
        .report
        .unread
        .iter()
        .map(|it| json!({"file": it.path.display().to_string(), "why": it.why}))
        .collect();
    json!({"summary": {
        "indicators": answer.n_indicators,
        "found": answer.report.findings.len(),
        "probed": probed,
        "failed": failed,
        "succeeded": succeeded,
        "files": answer.logs.len(),
        "lines": answer.lines,
        "bytes": answer.bytes,
        "text_bytes": answer.text_bytes,
        "seconds": answer.seconds,
        "complete": !answer.report.is_stopped && unread.is_empty(),
        "unread": unread,
        "undated_left_out": answer.report.undated,
        "bad_indicators": answer.n_bad,
        "wide_prefixes_left_out": answer.n_wide,
    }})
}
