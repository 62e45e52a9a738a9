//! The answer as CSV, RFC 4180: a header, and a line for each indicator that was found.

use super::{Answer, logs};

/// All lines.
pub(super) fn lines(answer: &Answer) -> String {
    let mut text = "indicator,outcome,count,first,last,undated,files,users\r\n".to_owned();
    for (indicator, finding) in answer.report.findings.sorted() {
        let time =
            |time: Option<jiff::Timestamp>| time.map_or_else(String::new, |it| it.to_string());
        let files: Vec<_> = logs(answer, finding).map(|(log, n)| format!("{log}:{n}")).collect();
        let users: Vec<_> = finding.users.iter().map(String::as_str).collect();
        let fields = [
            indicator.to_string(),
            finding.outcome.name().to_owned(),
            finding.count.to_string(),
            time(finding.first),
            time(finding.last),
            finding.undated.to_string(),
            files.join(" "),
            users.join(" "),
        ];
        text += &fields.map(|field| quoted(&field)).join(",");
        text += "\r\n";
    }
    text
}

/// A field that holds a comma, a quote, or the end of a line is quoted. One that a spreadsheet would
/// take for a formula is made plain text.
fn quoted(field: &str) -> String {
    let guarded = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = if guarded { format!("'{field}") } else { field.to_owned() };
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_breaks_out() {
        assert_eq!(quoted("192.0.2.7"), "192.0.2.7");
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(quoted("=cmd"), "'=cmd");
    }
}
