//! Dates of all forms, by default and by patterns.

use scan::FilterSpec;

use super::{Case, NOWS, ZONES, check};
use crate::dice::Dice;

/// An expression that takes what is left of a line, once its date is cut out, for the id.
fn whole_line() -> FilterSpec {
    FilterSpec { failregex: vec!["^(?P<fid>[^\\n]*)$".to_owned()], ..FilterSpec::default() }
}

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

impl Dice {
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
