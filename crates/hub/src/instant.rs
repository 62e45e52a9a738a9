//! A time as a search says it: epoch seconds, a date, or how long ago.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::request::integer;

/// Seconds in the letters of `5m` and `1d`.
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];

/// Reads `1795000000`, `"1795000000"`, `"2026-11-20"`, `"2026-11-20 10:00:00"`, `"5m"`, `"1d"`;
/// without an offset a time is UTC.
pub(crate) fn instant(value: &Value, now: i64) -> Option<i64> {
    if let Some(number) = integer(value) {
        return Some(number);
    }
    let text = value.as_str()?.trim();
    let ago = UNITS.iter().find_map(|(letter, seconds)| {
        let count: i64 = text.strip_suffix(*letter)?.parse().ok()?;
        now.checked_sub(count.checked_mul(*seconds)?)
    });
    ago.or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_328_000;

    #[test]
    fn reads_every_form() {
        for (value, want) in [
            (json!(1_795_000_000), Some(1_795_000_000)),
            (json!("1795000000"), Some(1_795_000_000)),
            (json!("5m"), Some(NOW - 300)),
            (json!("1d"), Some(NOW - 86_400)),
            (json!("2026-11-20"), Some(1_795_132_800)),
            (json!("2026-11-20 10:00:00"), Some(1_795_168_800)),
            (json!("soon"), None),
            (json!("99999999999999999d"), None),
        ] {
            assert_eq!(instant(&value, NOW), want, "{value}");
        }
    }
}
