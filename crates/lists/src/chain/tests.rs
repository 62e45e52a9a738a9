#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use proptest::prelude::*;

use super::*;
use crate::change::Withdrawal;
use crate::net;

const NOW: i64 = 1_795_328_739;
const DAY: i64 = 24 * 60 * 60;

fn signer(n: u8) -> Signer {
    Signer::from_seed(&[n; 32])
}

fn list(value: &str) -> Change {
    Change::List(entry(value))
}

fn entry(value: &str) -> Entry {
    Entry {
        value: net::read(value).unwrap(),
        kind: "ip-src".to_owned(),
        first: NOW - 60,
        last: NOW,
        sightings: 3,
        hosts: 1,
        tags: vec!["tlp:green".to_owned()],
    }
}

fn append(place: &mut Place, changes: Vec<Change>, signer: &Signer) -> Signed {
    place.append(changes, signer, NOW, NOW + DAY)
}

#[test]
fn what_is_said_is_heard() {
    let (hub, mut place) = (signer(1), Place::default());
    let mut agent = Follower::new(hub.public_key());
    let said = vec![list("192.0.2.7"), list("2001:db8::/48")];
    let first = append(&mut place, said.clone(), &hub);
    assert_eq!(agent.follow(&first, NOW).unwrap(), said);
    let said =
        vec![Change::Withdraw { value: net::read("192.0.2.7").unwrap(), why: Withdrawal::Gone }];
    let second = append(&mut place, said.clone(), &hub);
    assert_eq!(agent.follow(&second, NOW).unwrap(), said);
    assert_eq!(agent.place, place);
}

#[test]
fn the_wire_is_pinned() {
    let hub = signer(1);
    let signed = Place::default().append(vec![list("192.0.2.7")], &hub, NOW, NOW + DAY);
    let body = r#"{"changes":{"sequence":1,"previous":"0000000000000000000000000000000000000000000000000000000000000000","issued":1795328739,"expires":1795415139,"changes":[{"op":"list","value":"192.0.2.7","type":"ip-src","first":1795328679,"last":1795328739,"sightings":3,"hosts":1,"tags":["tlp:green"]}]}}"#;
    let line = signed.line();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["body"], body);
    assert_eq!(serde_json::from_str::<Signed>(&line).unwrap(), signed);
}

#[test]
fn refusals() {
    let (hub, thief, mut place) = (signer(1), signer(2), Place::default());
    let mut agent = Follower::new(hub.public_key());
    let first = append(&mut place, vec![list("192.0.2.7")], &hub);
    let forged = Place::default().append(vec![list("0.0.0.0/0")], &thief, NOW, NOW + DAY);
    assert!(matches!(agent.follow(&forged, NOW), Err(ChainError::Forged { .. })));
    let before = agent;
    let late = NOW + DAY;
    assert!(matches!(agent.follow(&first, late), Err(ChainError::Expired { seconds: 0 })));
    let early = NOW - DAY;
    assert!(matches!(agent.follow(&first, early), Err(ChainError::Early { .. })));
    assert_eq!(agent, before, "a refusal changes nothing");
    agent.follow(&first, NOW).unwrap();
    assert!(matches!(agent.follow(&first, NOW), Err(ChainError::Older { found: 1, known: 1 })));
    // Two lines of one hub that was put back to an older state.
    let mut fork = Place::default();
    append(&mut fork, vec![list("192.0.2.8")], &hub);
    let other = append(&mut fork, vec![list("192.0.2.9")], &hub);
    assert!(matches!(agent.follow(&other, NOW), Err(ChainError::Broken { found: 2, known: 1 })));
    append(&mut place, vec![], &hub);
    let third = append(&mut place, vec![], &hub);
    assert!(matches!(agent.follow(&third, NOW), Err(ChainError::Broken { found: 3, known: 1 })));
    let many = vec![list("192.0.2.7"); MAX_CHANGES + 1];
    let many = Place { ..agent.place }.append(many, &hub, NOW, NOW + DAY);
    assert!(matches!(agent.follow(&many, NOW), Err(ChainError::TooMany(_))));
}

#[test]
fn a_key_introduces_the_next() {
    let (old, new, mut place) = (signer(1), signer(2), Place::default());
    let mut agent = Follower::new(old.public_key());
    let rotated = append(&mut place, vec![Change::Key { key: new.public_key() }], &old);
    agent.follow(&rotated, NOW).unwrap();
    let next = append(&mut place, vec![list("192.0.2.7")], &new);
    agent.follow(&next, NOW).unwrap();
    let by_old = append(&mut place, vec![], &old);
    assert!(matches!(agent.follow(&by_old, NOW), Err(ChainError::Forged { .. })));
    // Who was away meets the new key by the same record, however old it is by then.
    let mut late = Follower::new(old.public_key());
    assert!(!late.introduce(&next).unwrap());
    assert!(late.introduce(&rotated).unwrap());
    assert_eq!(late.key, new.public_key());
}

fn snapshot(values: &[&str], place: Place, signer: &Signer) -> (Entries, Signed) {
    let mut entries = Entries::default();
    values.iter().for_each(|value| entries.add(&entry(value).line()));
    (entries.clone(), entries.sign(place, signer, NOW, NOW + 60))
}

#[test]
fn a_snapshot_is_a_place_in_the_chain() {
    let (hub, mut place) = (signer(1), Place::default());
    append(&mut place, vec![list("192.0.2.7")], &hub);
    let mut agent = Follower::new(hub.public_key());
    let (entries, signed) = snapshot(&["192.0.2.7"], place, &hub);
    agent.replace(&signed, entries, NOW).unwrap();
    let next = append(&mut place, vec![list("192.0.2.8")], &hub);
    agent.follow(&next, NOW).unwrap();
    let (entries, older) = snapshot(&["192.0.2.7"], Place { sequence: 1, ..place }, &hub);
    let refused = agent.replace(&older, entries, NOW);
    assert!(matches!(refused, Err(ChainError::Older { found: 1, known: 2 })));
    let (_, signed) = snapshot(&["192.0.2.7", "192.0.2.8"], place, &hub);
    let (other, _) = snapshot(&["192.0.2.7"], place, &hub);
    assert!(matches!(agent.replace(&signed, other, NOW), Err(ChainError::OtherEntries)));
    let (entries, signed) = snapshot(&["192.0.2.7"], place, &hub);
    assert!(matches!(agent.replace(&signed, entries, NOW + 60), Err(ChainError::Expired { .. })));
}

proptest! {
    /// Of a chain nothing can be changed, left out or moved.
    #[test]
    fn a_chain_that_was_touched_is_refused(
        hosts in prop::collection::vec(any::<u32>(), 2..12),
        at in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        how in 0..3,
    ) {
        let (hub, mut place) = (signer(1), Place::default());
        let mut chain: Vec<Signed> = hosts
            .iter()
            .map(|host| {
                let value = std::net::Ipv4Addr::from(*host).to_string();
                append(&mut place, vec![list(&value)], &hub)
            })
            .collect();
        let at = at.index(chain.len() - 1);
        match how {
            0 => drop(chain.remove(at)),
            1 => chain.swap(at, at + 1),
            _ => {
                let mut bytes = chain[at].line().into_bytes();
                let bit = bit.index(bytes.len() * 7);
                bytes[bit / 7] ^= 1 << (bit % 7);
                let changed = serde_json::from_slice::<Signed>(&bytes);
                // What is no record is refused as well; a line may also still say the same.
                let Ok(changed) = changed else { return Ok(()) };
                prop_assume!(changed != chain[at]);
                chain[at] = changed;
            }
        }
        let mut agent = Follower::new(hub.public_key());
        let followed = chain.iter().try_for_each(|it| agent.follow(it, NOW).map(drop));
        prop_assert!(followed.is_err());
        prop_assert!(agent.place.sequence <= at as u64);
    }

    #[test]
    fn any_line_is_read_or_refused(text in "\\PC*") {
        let _ = serde_json::from_str::<crate::change::Line>(&text);
    }
}
