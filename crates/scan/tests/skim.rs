//! Skimming a log piece by piece and going through the pieces tells what looking at its lines one
//! by one does: the same outcomes, the same counts, whatever the lines are and wherever it is cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use jiff::Timestamp;
use scan::{Filter, FilterSpec, Form, Outcome, Reach, Scanner, Settings, Skimmed, Told, Undated};

#[path = "against/dice.rs"]
mod dice;

use dice::Dice;

/// What lines begin with: the forms that byte parsers read, broken ones, and others.
const BEGINNINGS: [&[u8]; 16] = [
    b"Nov 22 06:05:09 ",
    b"Nov 22 06:05:09 ",
    b"Nov 22 06:05:10 ",
    b"Nov 31 06:05:10 ",
    b"Nov 22 06:05:09",
    b"Nov 22 06:05:09\xff",
    b"Nov 22 06:05:09\r",
    b"Nov 22 06:05:09 \r",
    b"2026-11-22T06:05:09.123456+01:00 ",
    b"2026/11/22 06:05:09 ",
    b"192.0.2.7 - - [22/Nov/2026:06:05:09 +0000] ",
    b"192.0.2.8 - - [22/Nov/2026:06:05:09 +0000] ",
    b"\xc3\xa9 - - [22/Nov/2026:06:05:09 +0000] ",
    b"1795327200 ",
    b"",
    b"x",
];

const ENDINGS: [&[u8]; 12] = [
    b"sshd[1]: Failed password for root from 192.0.2.7",
    b"sshd[1]: Failed password for root from 192.0.2.7",
    b"sshd[2]: Accepted password for root from 192.0.2.7",
    b"sshd[1]: Connection closed by 192.0.2.9",
    b"sshd[2]: Failed password for r\xc3\xb6\xc3\xb6t from 2001:db8::1",
    b"sshd[3]: Failed password for \xff from 192.0.2.8",
    b"nothing of interest",
    b"nothing of interest\r",
    b"",
    b"\r",
    b"trusted Failed password for root from 192.0.2.7",
    b"\"GET / HTTP/1.1\" 404",
];

fn spec(failregex: &[&str]) -> FilterSpec {
    let failregex = failregex.iter().map(|&text| text.to_owned()).collect();
    FilterSpec { failregex, ..FilterSpec::default() }
}

fn specs() -> Vec<FilterSpec> {
    let text = |text: &str| Some(text.to_owned());
    let plain = spec(&[
        r"Failed password for <F-USER>\S+</F-USER> from <HOST>",
        r"Failed \S+ for root from <ADDR>",
    ]);
    let connections = FilterSpec {
        prefregex: text(r"^ <F-MLFID>sshd\[\d+\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$"),
        ..spec(&[
            r"^<F-NOFAIL>Failed</F-NOFAIL> password for <F-USER>\S+</F-USER> from <HOST>$",
            r"^<F-MLFFORGET>Connection closed</F-MLFFORGET> by <HOST>$",
            r"^<F-MLFGAINED>Accepted</F-MLFGAINED> password for <F-USER>\S+</F-USER>",
        ])
    };
    let with = |change: &dyn Fn(&mut FilterSpec)| {
        let mut spec = plain.clone();
        change(&mut spec);
        spec
    };
    let access = text("^[^\\[]*\\[({DATE})\n{^LN-BEG}");
    vec![
        with(&|it| it.ignoreregex = vec!["trusted".to_owned()]),
        with(&|it| it.maxlines = Some(2)),
        with(&|it| it.logencoding = text("latin-1")),
        with(&|it| it.logencoding = text("koi8-r")),
        with(&|it| it.datepattern = text("{^LN-BEG}EPOCH\n{^LN-BEG}")),
        with(&|it| it.failregex.push(r"(?i)^\s*NOTHING of <F-ID>\S+</F-ID>".to_owned())),
        with(&|it| it.failregex.push("<F-ID>^.</F-ID>".to_owned())), // no literal
        FilterSpec { datepattern: access.clone(), ..spec(&[r#"^<HOST> - - \[\] "GET "#]) },
        FilterSpec { datepattern: access, ..spec(&[r#"^<HOST> .*" 404"#]) },
        connections,
    ]
}

#[test]
fn pieces_are_as_their_lines() {
    let mut dice = Dice(0x5e1f);
    let mut n_found = 0;
    for spec in specs() {
        let filter = Arc::new(Filter::compile(&spec).unwrap());
        for reach in [Reach::First, Reach::Every] {
            for _ in 0..6 {
                n_found += check(&filter, reach, &mut dice);
            }
        }
    }
    assert!(n_found > 10_000, "{n_found}");
}

/// Compares both ways on one log, and says how much was found in it.
fn check(filter: &Arc<Filter>, reach: Reach, dice: &mut Dice) -> usize {
    let mut now = Timestamp::from_second(1_795_327_600).unwrap();
    let settings = Settings {
        since: [None, Timestamp::from_second(1_795_327_510).ok()][dice.below(2)],
        undated: [Undated::Now, Undated::Skip][dice.below(2)],
        ..Settings::default()
    };
    let mut alone = Scanner::new(Arc::clone(filter), settings.clone());
    let mut settler = Scanner::new(Arc::clone(filter), settings);
    let mut skimmer = settler.skimmer(reach);
    let (mut skimmed, mut n_found) = (Skimmed::default(), 0);
    for _ in 0..20 {
        let (beginning, few) = (dice.pick(&BEGINNINGS), dice.below(3) > 0);
        let line = |_| {
            let beginning = if few { beginning } else { dice.pick(&BEGINNINGS) };
            [beginning, dice.pick(&ENDINGS)].concat()
        };
        let mut piece = (0..20).map(line).collect::<Vec<_>>().join(&b'\n');
        if dice.below(4) > 0 {
            piece.push(b'\n');
        }
        now += jiff::SignedDuration::from_secs(dice.below(90) as i64);
        // What is known of the lines before may be out of date.
        let form = [settler.form(), Form::default()][dice.below(2)];
        skimmer.skim(&piece, form, now, &mut skimmed);
        let mut lines = piece.strip_suffix(b"\n").unwrap_or(&piece).split(|&byte| byte == b'\n');
        let mut expect = |line: &[u8], outcomes: &[Outcome]| {
            let want = match reach {
                Reach::Every => alone.every(line, None, now),
                Reach::First => Some(alone.line(line, now))
                    .filter(|it| *it != Outcome::Missed)
                    .into_iter()
                    .collect(),
            };
            n_found += want.len();
            assert_eq!(outcomes, want, "{}", String::from_utf8_lossy(line));
        };
        let told = |told: Told<'_>| -> Result<(), ()> {
            match told {
                Told::Missed { n_lines, .. } => {
                    (0..n_lines).for_each(|_| expect(lines.next().unwrap(), &[]));
                }
                Told::Line { line, outcomes } => {
                    assert_eq!(lines.next(), Some(line));
                    expect(line, outcomes);
                }
            }
            Ok(())
        };
        settler.settle(&piece, &skimmed, told).unwrap();
        assert_eq!(lines.next(), None);
    }
    assert_eq!(alone.statistics(), settler.statistics());
    n_found
}
