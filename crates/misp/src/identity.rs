//! The UUIDs that we choose, so that a repeat changes nothing at MISP and two hosts that report
//! to one event do not double.
//!
//! All are version 5 in [`NAMESPACE`], of UTF-8 strings whose fields are joined by `|`.

use jiff::Timestamp;
use uuid::Uuid;

use crate::wire::SightingKind;

/// The namespace of every name below.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x4b86aefb_8233_4fb9_85c4_ecca568c6f1f);

/// The event that `site` writes to in `period` (`2026-11-22`, `2026-W47`), the `number`th of it.
pub fn event(site: &str, period: &str, number: u32) -> Uuid {
    name(&format!("event|{site}|{period}|{number}"))
}

/// The attribute of type `kind` with this value, as MISP normalises it, in an event.
pub fn attribute(event: Uuid, kind: &str, value: &str) -> Uuid {
    name(&format!("attribute|{event}|{kind}|{value}"))
}

/// The sighting of an attribute by a source, in the interval that began at `start`.
pub fn sighting(attribute: Uuid, kind: SightingKind, source: &str, start: Timestamp) -> Uuid {
    name(&format!("sighting|{attribute}|{}|{source}|{}", kind.number(), start.as_second()))
}

fn name(text: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other implementations must come to the same names, so they are pinned here (computed with
    /// Python's `uuid.uuid5`).
    #[test]
    fn names_are_pinned() {
        let event = event("web-1", "2026-11-22", 1);
        let attribute = attribute(event, "ip-src", "45.33.32.156");
        let start = Timestamp::from_second(1_795_328_415).unwrap_or_default();
        let sighting = sighting(attribute, SightingKind::Seen, "web-1/sshd", start);
        assert_eq!(event.to_string(), "b6b6307d-a6df-50bd-8381-7ff2e217efbe");
        assert_eq!(attribute.to_string(), "8c7a1140-65b2-5c9a-8ad7-158d47df6437");
        assert_eq!(sighting.to_string(), "d7baba9d-c062-5440-8934-36e1f9ce535c");
    }
}
