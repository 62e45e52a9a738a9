//! fail2ban's own filters on its own sample lines, with something wrong in most of them.

use scan::FilterSpec;
use serde_json::Value;

use super::{Case, NOWS, ZONES, ask, check};
use crate::dice::Dice;

/// What is put into lines.
const PIECES: [&str; 24] = [
    " ",
    "  ",
    ":",
    "[",
    "]",
    "\"",
    "'",
    "é",
    "٣",
    "\u{2028}",
    "\x1c",
    "\u{212a}",
    "ß",
    "\u{a0}",
    "\u{1f600}",
    "+0530 ",
    "Feb 29 ",
    "1234567890.123",
    "audit(",
    " from ",
    "::1",
    "192.0.2.9",
    "root",
    "\t",
];

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Changes a line in a few places; `other` is one whose end it may get.
fn spoil(line: &str, other: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    for _ in 0..dice.below(4) {
        let at = dice.below(chars.len() + 1);
        match dice.below(5) {
            0 => drop(chars.drain(at..chars.len().min(at + 3))),
            1 => {
                let n_skipped = dice.below(other.chars().count() + 1);
                chars.truncate(at);
                chars.extend(other.chars().skip(n_skipped));
            }
            _ => drop(chars.splice(at..at, dice.pick(&PIECES).chars())),
        }
    }
    chars.into_iter().collect()
}

/// The lines of a filter's samples, whole and spoilt, in the order in which they were.
#[test]
fn spoilt_samples() {
    let Some(answers) = ask("samples.py", String::new()) else { return };
    let mut dice = Dice(0x5b01);
    let mut cases: Vec<Case> = Vec::new();
    let mut n_calls = Vec::new();
    for line in answers.lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        let number = usize::try_from(answer["spec"].as_u64().unwrap()).unwrap();
        if let Some(failregex) = answer.get("failregex") {
            assert_eq!(number, cases.len());
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            let maxlines = text("maxlines").map(|digits| digits.parse().unwrap());
            let spec = FilterSpec {
                prefregex: text("prefregex"),
                failregex: texts(failregex),
                ignoreregex: texts(&answer["ignoreregex"]),
                maxlines,
                datepattern: text("datepattern"),
                ..FilterSpec::default()
            };
            let every = number % 2 == 0;
            let (zone, now) = (ZONES[0], NOWS[0]);
            cases.push(Case { spec, zone, now, raw: true, every, lines: Vec::new() });
            n_calls.push(0);
            continue;
        }
        // A dozen of each filter's lines will do.
        n_calls[number] += 1;
        if n_calls[number] > 12 {
            continue;
        }
        let lines = &mut cases[number].lines;
        let whole = answer["line"].as_str().unwrap();
        let other = lines.last().cloned().unwrap_or_default();
        lines.push(whole.to_owned());
        lines.extend((0..4).map(|_| spoil(whole, &other, &mut dice)));
    }
    check(&cases);
}
