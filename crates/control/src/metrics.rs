//! Numbers as Prometheus reads them: its text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Guard's numbers bear the names that fail2ban's exporters gave them, so that dashboards work on.
//! No address and no user name is ever a label.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::guard::{GuardMetrics, JailMetrics, LookBackMetrics};
use crate::look_back::HitOutcome;

/// The media type of a [`Page`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often values fell below each of some bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The upper bounds, each above the one before.
    bounds: Vec<f64>,
    /// Values up to each bound and above the one before; the last are above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// A histogram of no values yet; `bounds` rise.
    pub fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds a value.
    pub fn observe(&mut self, value: f64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        // What came over a socket may have fewer counts than bounds.
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
            self.sum += value;
        }
    }

    /// How many values it holds.
    pub fn n_values(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A page of numbers.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Adds what guard counts; `None` where it does not answer.
    pub fn guard(&mut self, guard: Option<&GuardMetrics>) {
        self.gauge("f2b_up", "Whether guard answers.").is(u64::from(guard.is_some()));
        let Some(GuardMetrics { jails, log_to_ban, ban_log_waiting, look_back }) = guard else {
            return;
        };
        self.gauge("f2b_jail_count", "Jails that guard.").is(jails.len() as u64);
        self.jails(jails);
        let help = "From reading the line that completed a ban to its element in the firewall.";
        self.histogram("fail2misp_log_to_ban_seconds", help, log_to_ban);
        let help = "Bans that exchange has not taken from guard's log.";
        self.gauge("fail2misp_ban_log_waiting", help).is(*ban_log_waiting);
        self.look_back(look_back);
    }

    fn look_back(&mut self, counts: &LookBackMetrics) {
        let help = "Searches of old logs for new indicators.";
        self.counter("fail2misp_look_back_searches_total", help).is(counts.n_searches);
        let help = "Bytes of text that they read.";
        self.counter("fail2misp_look_back_bytes_total", help).is(counts.n_bytes);
        let help = "Indicators that they found, by what came of them.";
        let mut hits = self.counter("fail2misp_look_back_hits_total", help);
        for (outcome, n) in HitOutcome::ALL.into_iter().zip(counts.n_hits) {
            hits.of("outcome", outcome.name(), n);
        }
    }

    fn jails(&mut self, jails: &[JailMetrics]) {
        type Number = fn(&JailMetrics) -> i128;
        let gauges: [(&str, &str, Number); 5] = [
            ("f2b_jail_banned_current", "Bans that stand.", |it| it.currently_banned.into()),
            ("f2b_jail_failed_current", "Subjects with failures that still count.", |it| {
                it.currently_failed.into()
            }),
            ("f2b_config_jail_ban_time", "bantime in seconds; -1 for ever.", |it| {
                it.ban_time.into()
            }),
            ("f2b_config_jail_find_time", "findtime in seconds.", |it| it.find_time.into()),
            ("f2b_config_jail_max_retries", "maxretry.", |it| it.max_retry.into()),
        ];
        let counters: [(&str, &str, Number); 3] = [
            ("f2b_jail_banned_total", "Bans since the start.", |it| it.total_banned.into()),
            ("f2b_jail_failed_total", "Failures since the start.", |it| it.total_failed.into()),
            ("fail2misp_lines_total", "Lines looked at since the start.", |it| it.n_lines.into()),
        ];
        for (name, help, number) in gauges {
            let mut family = self.gauge(name, help);
            jails.iter().for_each(|it| family.of("jail", &it.jail, number(it)));
        }
        for (name, help, number) in counters {
            let mut family = self.counter(name, help);
            jails.iter().for_each(|it| family.of("jail", &it.jail, number(it)));
        }
    }

    /// Begins a number that rises and falls.
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "gauge")
    }

    /// Begins a number that only rises.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "counter")
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let text = self.family(name, help, "histogram").text;
        let mut n_below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            n_below += count;
            line(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {n_below}"));
        }
        let n_values = histogram.n_values();
        line(text, format_args!("{name}_bucket{{le=\"+Inf\"}} {n_values}"));
        line(text, format_args!("{name}_sum {}", histogram.sum));
        line(text, format_args!("{name}_count {n_values}"));
    }

    /// The page as text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Family<'a> {
        line(&mut self.text, format_args!("# HELP {name} {help}"));
        line(&mut self.text, format_args!("# TYPE {name} {kind}"));
        Family { name, text: &mut self.text }
    }
}

/// The values of one number.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Family<'_> {
    /// Its only value.
    pub fn is(&mut self, value: impl std::fmt::Display) {
        line(self.text, format_args!("{} {value}", self.name));
    }

    /// Its value where `label` is `of`.
    pub fn of(&mut self, label: &str, of: &str, value: impl std::fmt::Display) {
        let of = of.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        line(self.text, format_args!("{}{{{label}=\"{of}\"}} {value}", self.name));
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_prometheus_reads() {
        let mut log_to_ban = Histogram::new(&[0.001, 0.5]);
        [0.0005, 0.001, 0.25, 7.0].into_iter().for_each(|it| log_to_ban.observe(it));
        let jail = JailMetrics {
            jail: "a\"b\\c\nd".to_owned(),
            n_lines: 9,
            ban_time: -1,
            ..JailMetrics::default()
        };
        let look_back = LookBackMetrics { n_searches: 2, n_bytes: 9, n_hits: [5, 0, 1] };
        let metrics = GuardMetrics { jails: vec![jail], log_to_ban, ban_log_waiting: 3, look_back };
        let mut page = Page::default();
        page.guard(Some(&metrics));
        let text = page.into_text();
        for want in [
            "# HELP f2b_up Whether guard answers.\n# TYPE f2b_up gauge\nf2b_up 1\n",
            "f2b_jail_count 1\n",
            r#"f2b_config_jail_ban_time{jail="a\"b\\c\nd"} -1"#,
            "# TYPE fail2misp_lines_total counter\nfail2misp_lines_total{jail=",
            "fail2misp_log_to_ban_seconds_bucket{le=\"0.001\"} 2\n\
             fail2misp_log_to_ban_seconds_bucket{le=\"0.5\"} 3\n\
             fail2misp_log_to_ban_seconds_bucket{le=\"+Inf\"} 4\n\
             fail2misp_log_to_ban_seconds_sum 7.2515\n\
             fail2misp_log_to_ban_seconds_count 4\n",
            "fail2misp_look_back_hits_total{outcome=\"probed\"} 5\n",
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
    }

    #[test]
    fn a_guard_that_does_not_answer_is_down() {
        let mut page = Page::default();
        page.guard(None);
        assert!(page.into_text().ends_with("f2b_up 0\n"));
    }
}
