//! Lines and filters of our own making, answered by fail2ban and by us: the same answers.
//!
//! The lines are generated from fixed seeds, and lean to what may go wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Outcome, Scanner, Settings};
use serde_json::{Value, json};

/// A filter, how to run it, and lines.
#[derive(Clone, Default)]
struct Case {
    spec: FilterSpec,
    zone: &'static str,
    now: i64,
    raw: bool,
    every: bool,
    lines: Vec<String>,
}

impl Case {
    fn to_json(&self) -> Value {
        let spec = &self.spec;
        json!({
            "prefregex": spec.prefregex, "failregex": spec.failregex,
            "ignoreregex": spec.ignoreregex, "maxlines": spec.maxlines,
            "datepattern": spec.datepattern, "logtimezone": spec.logtimezone,
            "usedns": spec.usedns, "zone": self.zone, "now": self.now, "raw": self.raw,
            "every": self.every, "lines": self.lines,
        })
    }

    /// Our answers, in the form of fail2ban's.
    fn answers(&self) -> Value {
        // The year of the clock, which fail2ban looks at when it starts.
        let year = Timestamp::now().to_zoned(TimeZone::UTC).year();
        let spec = FilterSpec { year: Some(year), ..self.spec.clone() };
        let filter = match Filter::compile(&spec) {
            Ok(filter) => Arc::new(filter),
            Err(error) => return json!(error.to_string()),
        };
        let zone = TimeZone::posix(self.zone).or_else(|_| TimeZone::get(self.zone)).unwrap();
        let settings = Settings { zone, raw: self.raw, ..Settings::default() };
        let mut scanner = Scanner::new(filter, settings);
        let now = Timestamp::from_second(self.now).unwrap();
        let answer = |line: &String| {
            let found = if self.every {
                scanner.every(line.as_bytes(), None, now)
            } else {
                vec![scanner.line(line.as_bytes(), now)]
            };
            found.into_iter().filter_map(to_json).collect::<Value>()
        };
        self.lines.iter().map(answer).collect()
    }
}

fn to_json(outcome: Outcome) -> Option<Value> {
    let Outcome::Failure(hit) = outcome else { return None };
    let time = hit.dated.then(|| hit.time.as_duration().as_secs_f64());
    let fields: serde_json::Map<_, _> =
        hit.fields.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
    Some(json!({
        "regex": hit.failregex, "fid": hit.id, "time": time,
        "fields": fields, "matches": hit.matches,
    }))
}

/// fail2ban's answer to one line in the form of ours: failures alone.
fn reduce(answer: &Value) -> Value {
    let failures = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| !found["fid"].is_null() && found["data"].get("nofail").is_none());
    let ids = ["fid", "ip4", "ip6", "dns", "matches", "nofail-matches", "users", "mlfpending"];
    let reduce = |found: &Value| {
        let data = found["data"].as_object().unwrap();
        let fields: serde_json::Map<_, _> = data
            .iter()
            .filter(|(name, value)| !ids.contains(&name.as_str()) && *value != "")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let parts = |line: &Value| serde_json::from_value::<Vec<String>>(line.clone());
        let lines = data["matches"].as_array().unwrap().iter();
        let matches: Vec<_> = lines.map(|line| parts(line).unwrap().concat()).collect();
        json!({
            "regex": found["regex"], "fid": found["fid"], "time": found["time"].as_f64(),
            "fields": fields, "matches": matches,
        })
    };
    failures.map(reduce).collect()
}

/// Our failures without the groups that tell the id, as `reduce` leaves fail2ban's.
fn without_ids(mut answer: Value) -> Value {
    for failure in answer.as_array_mut().into_iter().flatten() {
        let fields = failure["fields"].as_object_mut().unwrap();
        fields.retain(|name, _| !["fid", "ip4", "ip6", "dns"].contains(&name.as_str()));
    }
    answer
}

/// Asks both sides, and compares line by line.
#[track_caller]
fn check(cases: &[Case]) {
    const PACKAGE: &str = "/usr/lib/python3/dist-packages/fail2ban";
    if !Path::new(PACKAGE).exists() {
        assert!(std::env::var_os("CI").is_none(), "fail2ban is not installed");
        eprintln!("skipped: fail2ban is not installed at {PACKAGE}");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/lines.py");
    let (input, output) = (Stdio::piped(), Stdio::piped());
    let mut child =
        Command::new("/usr/bin/python3").arg(script).stdin(input).stdout(output).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions: String = cases.iter().map(|case| case.to_json().to_string() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let theirs = String::from_utf8(output.stdout).unwrap();
    let (mut n_lines, mut n_wrong) = (0, 0);
    for (case, theirs) in cases.iter().zip(theirs.lines()) {
        let theirs: Value = serde_json::from_str(theirs).unwrap();
        let ours = case.answers();
        if theirs.is_string() || ours.is_string() {
            if theirs.is_string() != ours.is_string() {
                n_wrong += 1;
                eprintln!("{:?}\n  want {theirs}\n  got  {ours}", case.spec);
            }
            continue;
        }
        let pairs = theirs.as_array().unwrap().iter().zip(ours.as_array().unwrap());
        for (line, (theirs, ours)) in case.lines.iter().zip(pairs) {
            // Where fail2ban stumbles any answer is better; and before 1970 zones are a matter
            // of opinion.
            if theirs.is_string() || theirs[0]["time"].as_f64().is_some_and(|time| time < 0.0) {
                continue;
            }
            n_lines += 1;
            let (want, got) = (reduce(theirs), without_ids(ours.clone()));
            if want != got {
                n_wrong += 1;
                if n_wrong < 12 {
                    let pattern = &case.spec.datepattern;
                    eprintln!("{pattern:?} {} {line:?}\n  want {theirs}\n  got  {got}", case.zone);
                }
            }
        }
    }
    assert_eq!(n_wrong, 0, "of {n_lines} lines");
    println!("{n_lines} lines agree");
}

/// Numbers that repeat with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn pick<'p, T: ?Sized>(&mut self, from: &[&'p T]) -> &'p T {
        from[self.below(from.len())]
    }

    /// A number that is mostly below `end`, and sometimes just not.
    fn number(&mut self, first: usize, end: usize) -> usize {
        match self.below(40) {
            0 => end,
            1 => 0,
            _ => first + self.below(end - first),
        }
    }

    fn digits(&mut self, first: usize, end: usize) -> String {
        let number = self.number(first, end);
        match self.below(8) {
            0 => format!("{number}"),
            1 => format!("{number:2}"),
            _ => format!("{number:02}"),
        }
    }

    fn clock(&mut self) -> String {
        let [hour, minute, second] = [self.digits(0, 24), self.digits(0, 60), self.digits(0, 60)];
        format!("{hour}:{minute}:{second}")
    }

    fn year(&mut self) -> String {
        match self.below(12) {
            0 => format!("{}", 1990 + self.below(120)),
            _ => format!("{}", 2004 + self.below(24)),
        }
    }

    fn month(&mut self) -> &'static str {
        self.pick(&[
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            "feb", "DEC", "Foo",
        ])
    }

    fn zone(&mut self) -> &'static str {
        self.pick(&[
            "", "", "", "Z", " Z", "+0200", " -0530", " +01:00", "+02", " UTC", " GMT", " PDT",
            " error", "  +0300",
        ])
    }

    fn fraction(&mut self) -> &'static str {
        self.pick(&["", "", "", ".1", ".123456", ",250", ".1234567"])
    }

    fn date(&mut self) -> String {
        let (year, month, clock) = (self.year(), self.month(), self.clock());
        let (zone, fraction) = (self.zone(), self.fraction());
        let [m, d] = [self.digits(1, 13), self.digits(1, 32)];
        let day = self.pick(&["", "", "Mon ", "Sun ", "sat ", "PDT ", "MSK ", "+0100 ", "Xyz "]);
        let short = format!("{:02}", self.below(30));
        let packed = clock.replace(':', "");
        match self.below(17) {
            0 => {
                let sep = self.pick(&["-", "/", ".", "-", "-"]);
                let t = self.pick(&["T", " ", "  ", "T", ":"]);
                format!("{year}{sep}{m}{sep}{d}{t}{clock}{fraction}{zone}")
            }
            1..=3 => format!("{day}{month} {d} {clock}{fraction}"),
            4 => format!("{day}{month} {d} {clock}{fraction} {year}"),
            5 => format!("{day}{month} {d} {year} {clock}{fraction}"),
            6 => {
                let sep = self.pick(&["-", "/"]);
                let year = self.pick(&[year.as_str(), short.as_str()]);
                format!("{d}{sep}{m}{sep}{year} {clock}")
            }
            7 => {
                let (sep, t) = (self.pick(&["-", "/"]), self.pick(&[" ", ":", ""]));
                format!("{d}{sep}{month}{sep}{year}{t}{clock}{fraction}{zone}")
            }
            8 => format!("{m}/{d}/{year}:{clock}"),
            9 => format!("{m}-{d}-{year} {clock}{fraction}"),
            10 => {
                let seconds = 1_000_000_000 + self.below(900_000_000);
                let fraction = self.pick(&["", ".123", ".12", ".1234567"]);
                let around = self.pick(&["", "[", "audit(", "type=X msg=audit(", "x "]);
                let end = self.pick(&["", "]", ":12)", ")"]);
                format!("{around}{seconds}{fraction}{end}")
            }
            11 => clock,
            12 => format!("<{m}/{d}/{short}@{clock}>"),
            13 => format!("{short}{m}{d} {clock}"),
            14 => {
                let half = self.pick(&["AM", "PM", "am"]);
                format!("{month} {d}, {year} {clock} {half}")
            }
            15 => format!("{month}-{d}-{short} {clock}"),
            _ => {
                let t = self.pick(&["T", " ", "", "  "]);
                format!("{year}{m}{d}{t}{packed}{fraction}{zone}")
            }
        }
    }

    /// A date with something around it, and sometimes a second one.
    fn line(&mut self) -> String {
        let before = self.pick(&[
            "",
            "",
            "",
            "",
            "[",
            "<",
            " ",
            "--",
            "192.0.2.7 - - [",
            "host ",
            "x",
            "(x) ",
            "é ",
            "12",
            "PDT ",
        ]);
        let after = self.pick(&[
            " host sshd[1]: x",
            "] x",
            " ",
            "",
            "x",
            ": x",
            ".x",
            "Z",
            "é",
            " 2024",
            "> x",
        ]);
        let date = self.date();
        let again = if self.below(6) == 0 { self.date() } else { String::new() };
        format!("{before}{date}{after}{again}")
    }
}

/// An expression that takes what is left of a line, once its date is cut out, for the id.
fn whole_line() -> FilterSpec {
    FilterSpec { failregex: vec!["^(?P<fid>[^\\n]*)$".to_owned()], ..FilterSpec::default() }
}

const ZONES: [&str; 4] =
    ["CET-01CEST-02,M3.5.0,M10.5.0", "America/New_York", "UTC", "Asia/Kathmandu"];
/// 2005-08-14T10:00:00Z, 2024-02-29T23:30:00Z, 2026-01-01T00:30:00Z.
const NOWS: [i64; 3] = [1_124_013_600, 1_709_249_400, 1_767_227_400];

#[test]
fn default_dates() {
    let mut dice = Dice(0x5eed);
    let case = |index: usize, n_lines: usize| Case {
        spec: whole_line(),
        zone: ZONES[index % ZONES.len()],
        now: NOWS[index % NOWS.len()],
        raw: true,
        lines: (0..n_lines).map(|_| dice.line()).collect(),
        ..Case::default()
    };
    // With a history of a few lines, with none, and with a long one.
    let mut case = case;
    let mut cases: Vec<_> = (0..300).map(|index| case(index, 8)).collect();
    cases.extend((0..1500).map(|index| case(index, 1)));
    cases.extend((0..4).map(|index| case(index, 500)));
    check(&cases);
}

#[test]
fn date_patterns() {
    let patterns = [
        "{^LN-BEG}",
        "^[^\\[]*\\[({DATE})\n{^LN-BEG}",
        "{DATE}",
        "{DEFAULT}",
        "{NONE}",
        "{EPOCH}",
        "^{EPOCH}\\s",
        "\\[{LEPOCH}\\]",
        "LEPOCH",
        "{^LN-BEG}LEPOCH",
        "^EPOCH",
        "TAI64N",
        "^TAI64N",
        "%Y-%m-%d %H:%M:%S",
        "{^LN-BEG}%ExY-%Exm-%ExdT%ExH:%ExM:%ExS(?:\\.%f)?%z",
        "%d/%m/%Y %k:%M:%S",
        "^%b %d %l:%M:%S %p",
        "%A, %d %B %Y %I:%M:%S %p",
        "%c",
        "%x %X",
        "%Exy%Exm%Exd %Exk:%M:%S %Exz",
        "%b %d %H:%M:%S %ExZ",
        "%Y-%j %H:%M:%S",
        "%Y %U %w %H:%M",
        "%Y %W %a",
        "%H:%M:%S",
        "%m-%d",
        "%d %H:%M",
        "**%Y%m%d**",
        "{UNB}%H:%M",
        "I\\(()**",
        "^(?:x )?\\[%d/%b/%Y:%H:%M:%S %z\\]$",
        "^%Y-%m-%d",
        "(%H):(%M)",
        "%Y-%m-%d %H:%M:%S\n%b %d %H:%M:%S",
        "%Q",
        "100%",
        "%%%H:%M:%S",
        "%H:%M:%S\n%H:%M:%S",
        "(?P<Y>\\d{4})x%m",
    ];
    let mut dice = Dice(0xda7e);
    let mut cases = Vec::new();
    for (index, pattern) in patterns.into_iter().enumerate() {
        for round in 0..3 {
            let mut spec = whole_line();
            spec.datepattern = Some(pattern.to_owned());
            spec.logtimezone = [None, Some("UTC+0200"), Some("EST")][round].map(str::to_owned);
            let mut lines: Vec<_> = (0..30).map(|_| dice.line()).collect();
            for _ in 0..20 {
                lines.push(special_line(&mut dice));
            }
            cases.push(Case {
                spec,
                zone: ZONES[(index + round) % ZONES.len()],
                now: NOWS[(index + round) % NOWS.len()],
                raw: true,
                lines,
                ..Case::default()
            });
        }
    }
    check(&cases);
}

/// Dates in forms that only patterns of one's own know.
fn special_line(dice: &mut Dice) -> String {
    let [a, b] = [dice.digits(0, 60), dice.digits(0, 53)];
    let (year, clock, month) = (dice.year(), dice.clock(), dice.month());
    let d = dice.digits(1, 32);
    let m = dice.digits(1, 13);
    let short = dice.below(30);
    let weekday = dice.pick(&["Monday", "tuesday", "Sunday", "Friday"]);
    let full = dice.pick(&["January", "may", "September", "December"]);
    let half = dice.pick(&["AM", "PM", "pm"]);
    let day = dice.pick(&["Mon", "Sun", "Sat", "Thu"]);
    let zone = dice.pick(&["CET", "Z", "MSK+0100", "+0200", "E", "UTC"]);
    match dice.below(12) {
        0 => format!("{weekday}, {d} {full} {year} {clock} {half} x"),
        1 => format!("{day} {month} {d} {clock} {year}"),
        2 => format!("{m}/{d}/{short:02} {clock} x"),
        3 => format!("{short:02}{m}{d} {clock} {zone} x"),
        4 => format!("{year}-{} {clock}", 1 + dice.below(367)),
        5 => format!("{year} {b} {} {a}:{b}", dice.below(7)),
        6 => format!("{year} {b} {day} x"),
        7 => format!("{month} {d} {clock} {half}"),
        8 => format!("x [{d}/{month}/{year}:{clock} +0100]"),
        9 => format!("{}{} x", 1_600_000_000 + dice.below(9999), dice.pick(&["", "123", "123456"])),
        10 => format!("@400000004{:07x}{:08x} x", dice.below(0xfff_ffff), dice.below(0xffff)),
        _ => format!("{m}-{d} x"),
    }
}

/// Words that lines about failures are made of.
const WORDS: [&str; 40] = [
    "user",
    "root",
    "mallory",
    "from",
    "192.0.2.7",
    "198.51.100.23",
    "2001:db8::1",
    "::1",
    "[2001:DB8::2]",
    "::ffff:192.0.2.9",
    "999.1.1.1",
    "host.example.org",
    "failed",
    "Failed",
    "login",
    "closed",
    "conn=7",
    "conn=8",
    "conn=9",
    "ok",
    "192.0.2.77/24",
    "2001:db8::7/48",
    "k",
    "K",
    "é",
    "É",
    "ß",
    "ſ",
    "\u{212a}",
    "٣",
    "\u{a0}",
    "\u{2003}",
    "\u{1c}",
    "_",
    "-",
    "a\u{301}",
    "\"quoted\"",
    "(x)",
    "[y]",
    "{z}",
];

fn words(dice: &mut Dice) -> String {
    let n_words = 1 + dice.below(7);
    let words: Vec<_> = (0..n_words).map(|_| dice.pick(&WORDS)).collect();
    let sep = dice.pick(&[" ", " ", " ", "", "\t"]);
    format!("Aug 14 11:59:{:02} {}", dice.below(60), words.join(sep))
}

fn spec(failregex: &[&str]) -> FilterSpec {
    let failregex = failregex.iter().map(|&text| text.to_owned()).collect();
    FilterSpec { failregex, ..FilterSpec::default() }
}

fn cases(specs: Vec<FilterSpec>, n_lines: usize, seed: u64) -> Vec<Case> {
    let mut dice = Dice(seed);
    let mut cases = Vec::new();
    for spec in specs {
        for every in [false, true] {
            cases.push(Case {
                spec: spec.clone(),
                zone: ZONES[0],
                now: NOWS[0],
                raw: true,
                every,
                lines: (0..n_lines).map(|_| words(&mut dice)).collect(),
            });
        }
    }
    cases
}

/// Where Python's expressions and PCRE2's part, and where they are said to.
#[test]
fn expressions() {
    let expressions = [
        r"<HOST>",
        r"^ .*<HOST>$",
        r"^ <HOST>\b",
        r"<ADDR>",
        r"<IP4>",
        r"<IP6>",
        r"<DNS>$",
        r"<SUBNET>",
        r"<ADDR>/<CIDR>",
        r"<F-IP4/>|<F-IP6/>",
        r"<F-ID/>$",
        r"<F-ID>\w+</F-ID>$",
        r"<F-ID>\W+</F-ID>",
        r"<F-ID>\s+</F-ID>\S",
        r"<F-ID>\S+</F-ID>\s",
        r"<F-ID>\d+</F-ID>",
        r"<F-ID>[\w-]+</F-ID>",
        r"<F-ID>[^\W_]+</F-ID>$",
        r"<F-ID>[\S\t]+</F-ID>$",
        r"<F-ID>[^\S ]+</F-ID>",
        r"<F-ID>[^\w\s.]+</F-ID>",
        r"<F-ID>[\D]+</F-ID>$",
        r"<F-ID>[\Wk]+</F-ID>$",
        r"\b<F-ID>.</F-ID>\b",
        r"<F-ID>.\B.</F-ID>",
        r"(?i)<F-ID>FAILED|K|É</F-ID>",
        r"(?i)^.*<F-ID>[k-s]+</F-ID>$",
        r"<F-ID>(?i:ROOT) .*?</F-ID> ",
        r"<F-ID>(?:(?i)user|ROOT)</F-ID>",
        r"((?i)USER) <F-ID>\w+</F-ID>",
        r"(?iu)<F-ID>Ü|ß</F-ID>",
        r"<F-ID>(?P<x>\w)(?P=x)\w*</F-ID>",
        r"<F-ID>(\w)\2\w*</F-ID>",
        r"(?P<q>\x22)?<F-ID>quoted</F-ID>(?(q)\x22|')",
        r"(\()?<F-ID>\w</F-ID>(?(1)\))",
        r"<F-ID>[[]?[]y]+</F-ID>",
        r"<F-ID>[[:alpha:]]+</F-ID>",
        r"<F-ID>[^]]+</F-ID>$",
        r"<F-ID>{z}</F-ID>",
        r"<F-ID>o{2}t|o{,1}k|l{x}|f{1,}a</F-ID>",
        r"<F-ID>l{,}o</F-ID>",
        r"<F-ID>o{2}?t</F-ID>",
        r"<F-ID>o++t</F-ID>",
        r"<F-ID>(?>fa|fail)ed</F-ID>",
        r"<F-ID>\<|\>|\'|\w\-\w</F-ID>",
        r"<F-ID>\x66\u0061\151led</F-ID>",
        r"<F-ID>\0|\x1c|\v</F-ID>",
        r"(?x) <F-ID> us er  # a comment
            </F-ID>",
        r"(?s)<F-ID>.+</F-ID>\Z",
        r"<F-ID>.+</F-ID>\Z",
        r"(?m)^<F-ID>.+</F-ID>$",
        r"<F-ID>.*</F-ID>$\n",
        r"(?<!user )<F-ID>root</F-ID>",
        r"(?<=user )<F-ID>root</F-ID>(?! from)(?= )",
        r"^\A<F-ID>.\w+</F-ID>(?#note)",
        r"<F-ID>(a|root|k)*?</F-ID>$",
        r"<F-ID>(?:user|root|)+</F-ID>$",
        r"<F-ID>[a-ce-f]+|[+--]+|[é-ü]</F-ID>",
        r"<F-ID>é|\u00c9|\U0001F600</F-ID>",
        // No id: refused.
        r"root",
        r"<F-USER>root</F-USER>",
        // Not Python's.
        r"<HOST>\K",
        r"<HOST>\h",
        r"<HOST>\Q.\E",
        r"<HOST>(?|a|b)",
        r"<HOST>(*FAIL)",
        r"<HOST>(?P>x)",
        r"<HOST>(?R)",
        r"<HOST>\p{L}",
        r"<HOST>\z",
        r"<HOST>\g1",
        r"<HOST>a**",
        r"<HOST>^*",
        r"<HOST>(?i)x",
        r"<HOST>(x",
        r"<HOST>x)",
        r"<HOST>[x",
        r"<HOST>\1",
        r"<HOST>(?P=dns)(?P=no)",
        r"<HOST>(?P<dns>x)",
        r"<HOST>[z-a]",
        r"<HOST>[a-\d]",
        r"<HOST>x{3,2}",
        r"<HOST>(?P<1a>x)",
        r"<F-A-B>x</F-A-B><HOST>",
        r"<HOST>\8",
        r"<HOST>[\B]",
        r"<HOST>(?(9)a|b)",
        r"<HOST>(?(ip4)a|b|c)",
        r" ",
        "",
    ];
    let mut specs: Vec<_> = expressions.iter().map(|text| spec(&[text])).collect();
    for usedns in ["no", "raw", "never"] {
        specs.push(FilterSpec { usedns: Some(usedns.to_owned()), ..spec(&["<HOST>$"]) });
    }
    check(&cases(specs, 60, 0xe59));
}

/// Several expressions together, and what is remembered from line to line.
#[test]
fn filters() {
    let text = |text: &str| Some(text.to_owned());
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mlfid = r"<F-MLFID>conn=\d</F-MLFID>";
    let specs = vec![
        spec(&["user.*<HOST>", "<HOST> .*closed", "<HOST>"]),
        FilterSpec { ignoreregex: texts(&["root", "ok"]), ..spec(&["<HOST>"]) },
        FilterSpec {
            ignoreregex: texts(&["root"]),
            ..spec(&["user.*<HOST>", "ok.*<HOST>", "login.*<HOST>", "<HOST>"])
        },
        FilterSpec {
            prefregex: text("^ <F-CONTENT>.+</F-CONTENT>$"),
            ..spec(&["^<HOST>", "^user <F-USER>\\S+</F-USER>.*<ADDR>", "<HOST>$"])
        },
        FilterSpec {
            prefregex: text("^ (?:<F-USER>root</F-USER> )?<F-CONTENT>.*</F-CONTENT>"),
            ..spec(&["^(?:user <F-USER>\\S+</F-USER> )?.*<ADDR>"])
        },
        FilterSpec {
            prefregex: text("^ (?:<F-USER>root</F-USER> )?<F-CONTENT>.*</F-CONTENT>"),
            ..spec(&["^(?:user <F-ALT_USER>\\S+</F-ALT_USER> )?.*<ADDR>"])
        },
        FilterSpec { prefregex: text("<HOST>"), ..spec(&["closed", "failed|Failed"]) },
        spec(&[
            "(?:user <F-ALT_USER_1>root</F-ALT_USER_1>|login <F-ALT_USER>\\w+</F-ALT_USER>)? .*<ADDR>",
        ]),
        spec(&[
            "<F-TUPLE_ID>\\w+</F-TUPLE_ID> <F-TUPLE_ID_1>\\w+</F-TUPLE_ID_1>.*<F-ID>\\w</F-ID>",
        ]),
        spec(&["<F-TUPLE_ID>\\S+</F-TUPLE_ID> <ADDR>"]),
        spec(&["<F-ID>\\w+ <ADDR></F-ID>", "<F-ID>user \\S+</F-ID>"]),
        spec(&["<ADDR> <F-PORT/>"]),
        spec(&["user (?:<HOST> from|root)?", "(?:<F-ID>ok</F-ID>)?", "root|<HOST>"]),
        spec(&[
            &format!("{mlfid}.* <ADDR>"),
            &format!("{mlfid}.*user <F-USER>\\S+</F-USER>"),
            &format!("{mlfid}.*<F-NOFAIL>ok</F-NOFAIL>"),
            &format!("<F-MLFFORGET>closed</F-MLFFORGET>.*{mlfid}"),
        ]),
        spec(&[
            &format!("^.*{mlfid}.*<F-NOFAIL>login</F-NOFAIL> <ADDR>"),
            &format!("<F-NOFAIL>from</F-NOFAIL> <ADDR>.*{mlfid}"),
            &format!("<F-MLFGAINED>ok</F-MLFGAINED>.*{mlfid}"),
            &format!("{mlfid}.*<F-MLFFORGET><F-NOFAIL>closed</F-NOFAIL></F-MLFFORGET>"),
            &format!("{mlfid}(?:.*<F-USER>root|mallory</F-USER>)?.*[Ff]ailed"),
            &format!("(?:<F-USER>root|mallory</F-USER>.*)?{mlfid}"),
        ]),
        FilterSpec {
            prefregex: text(&format!("^ (?:.* )?{mlfid}(?: <F-CONTENT>.+</F-CONTENT>)?$")),
            ..spec(&[
                "^<F-NOFAIL>login</F-NOFAIL>(?: .*<ADDR>)?",
                "^<F-USER>root|mallory</F-USER>",
                "^.*<ADDR>",
                "^<F-MLFFORGET>closed</F-MLFFORGET>",
                "^<F-NOFAIL><F-MLFGAINED>ok</F-MLFGAINED></F-NOFAIL>",
            ])
        },
        FilterSpec {
            maxlines: Some(2),
            ..spec(&["^ user.*\\n.* <HOST>$", "^ root(?:.*\\n)?.*<ADDR>"])
        },
        FilterSpec {
            maxlines: Some(5),
            ignoreregex: texts(&["ok"]),
            ..spec(&[
                "^ user.*<SKIPLINES> .*<HOST>$",
                "^.*(?P<c>conn=\\d).*<SKIPLINES>^.*(?P=c).*<ADDR>.*<SKIPLINES>^ closed",
                "^ login.*$\\n^ .*<ADDR>",
            ])
        },
        FilterSpec {
            maxlines: Some(3),
            ignoreregex: texts(&["ok"]),
            prefregex: text("<F-CONTENT> .*</F-CONTENT>\n$"),
            ..spec(&["user.*<HOST>", "root.*<HOST>", "login.*<HOST>", "^ .*failed <HOST>"])
        },
        FilterSpec {
            maxlines: Some(3),
            prefregex: text("^ user"),
            ..spec(&["<HOST>", "^ <ADDR>"])
        },
        FilterSpec { maxlines: Some(0), ..spec(&["<HOST>"]) },
        FilterSpec { ignoreregex: texts(&["(x"]), ..spec(&["<HOST>"]) },
        FilterSpec { prefregex: text("(x"), ..spec(&["<HOST>"]) },
        FilterSpec { logtimezone: text("Europe/Paris"), ..spec(&["<HOST>"]) },
    ];
    check(&cases(specs, 400, 0xf117e5));
}
