//! Reads the durations of fail2ban's configuration: `600`, `10m`, `1d 12h`, `1year-6mo`, `-1`.
//!
//! A number with a unit is so many seconds, two side by side are added, and the rest is arithmetic.
//! A year is 365.25 days and a month a twelfth of it, as in fail2ban 1.x, `server/mytime.py`.

use super::expression::{ExpressionError, evaluate};

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
const YEAR: f64 = 365.25 * DAY;

/// Reads a duration as seconds, which may be negative or have a fraction.
///
/// # Errors
///
/// Names the first thing that is neither a number, a unit nor arithmetic.
pub fn seconds(text: &str) -> Result<f64, ExpressionError> {
    evaluate(&arithmetic(text), &|_| None)
}

/// Writes seconds in the units that [`seconds`] reads, the three greatest at most: `1d 2h 3m`.
pub fn words(seconds: u32) -> String {
    const UNITS: [(&str, u32); 6] =
        [("y", 31_557_600), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 && words.len() < 3 {
            words.push(format!("{count}{unit}"));
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// Writes units as factors and puts a plus between what stands side by side.
fn arithmetic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut is_after_number = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        }
        let is_digit = |it: char| it.is_ascii_digit() || it == '.';
        let end = |is_part: fn(char) -> bool| rest.find(|it| !is_part(it)).unwrap_or(rest.len());
        let end = if is_digit(first) {
            end(|it| it.is_ascii_digit() || it == '.')
        } else if first.is_alphabetic() {
            end(char::is_alphabetic)
        } else {
            first.len_utf8()
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        if is_digit(first) {
            if is_after_number {
                out.push('+');
            }
            out.push_str(part);
            is_after_number = true;
        } else if let Some(factor) = unit(part).filter(|_| is_after_number) {
            out.push_str(&format!("*{factor}"));
        } else {
            out.push_str(part);
            is_after_number &= first.is_whitespace();
        }
    }
    out
}

fn unit(word: &str) -> Option<f64> {
    Some(match word.to_lowercase().as_str() {
        "s" | "ss" | "se" | "sec" | "second" | "seconds" => 1.0,
        "m" | "mm" | "mi" | "min" | "minute" | "minutes" => MINUTE,
        "h" | "hh" | "ho" | "hou" | "hour" | "hours" => HOUR,
        "d" | "dd" | "da" | "day" | "days" => DAY,
        "w" | "ww" | "we" | "wee" | "week" | "weeks" => 7.0 * DAY,
        "mo" | "mon" | "month" | "months" => YEAR / 12.0,
        "y" | "yy" | "ye" | "yea" | "year" | "years" => YEAR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<f64, &str>) {
        let got = seconds(text).map_err(|it| it.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn reads_durations() {
        check("600", Ok(600.0));
        check("-1", Ok(-1.0));
        check("10m", Ok(600.0));
        check("360m", Ok(21_600.0));
        check("1d 12h", Ok(129_600.0));
        check("1d12h30m", Ok(131_400.0));
        check("1hour+30min", Ok(5400.0));
        check("0d 1h 30m", Ok(5400.0));
        check("1year-6mo", Ok(15_778_800.0));
        check("1 Month", Ok(30.4375 * 86_400.0));
        check("1.5h", Ok(5400.0));
        check("60*60", Ok(3600.0));
    }

    #[test]
    fn writes_durations() {
        let all = [0, 59, 600, 5400, 93_784, 604_800].map(words);
        assert_eq!(all, ["0s", "59s", "10m", "1h 30m", "1d 2h 3m", "1w"]);
    }

    #[test]
    fn refuses() {
        check("", Err("the expression ends too early"));
        check("soon", Err("`soon` is unknown"));
        check("10 parsecs", Err("`parsecs` is not understood"));
    }
}
