//! What a pull makes of the pages and sightings that a real MISP 2.5.1 answered.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[allow(dead_code, reason = "the other tests of tapes use the rest of it")]
mod replay;

use std::collections::BTreeMap;

use jiff::Timestamp;
use misp::pull::{Found, Page};
use misp::{Client, Options};
use replay::{play, tape};
use secrecy::SecretString;

/// A client of somebody who answers what is on a tape, and how many answers there are.
fn client(name: &str) -> (Client, usize) {
    let (tape, key) = (tape(name), SecretString::from("0123456789012345678901234567890123456789"));
    (Client::new(&play(&tape), &key, &Options::default()).unwrap(), tape.len())
}

fn page(client: &Client, number: u32) -> Page {
    client.page(&["ip-src".to_owned()], Timestamp::UNIX_EPOCH, number, 3).unwrap()
}

fn words(found: &Found) -> String {
    let deleted = if found.deleted == Some(true) { ", deleted" } else { "" };
    let quiet = if found.to_ids == Some(false) { ", not for detection" } else { "" };
    let tags: String = found.tags.iter().map(|tag| format!(", {}", tag.name)).collect();
    format!("{}{deleted}{quiet}{tags}", found.value)
}

/// It counts one more than asked for where more follows, and one where there is nothing.
#[test]
fn the_last_page_is_known() {
    let (client, n) = client("05b_attributes_restsearch_paging_headers");
    let pages = (1..=n).map(|number| page(&client, u32::try_from(number).unwrap()));
    let pages: Vec<_> = pages.map(|it| (it.attributes.len(), it.is_last)).collect();
    assert_eq!(pages, [(3, false), (3, false), (1, true), (0, true)]);
}

#[test]
fn changes_and_deletions_are_told() {
    let (client, n) = client("05c_attributes_restsearch_incremental");
    let found: Vec<Vec<String>> =
        (0..n).map(|_| page(&client, 1).attributes.iter().map(words).collect()).collect();
    let (changed, quiet) = ("192.0.2.101", "192.0.2.102, not for detection");
    let deleted = "192.0.2.103, deleted";
    let want: [&[&str]; 7] = [
        &[changed],
        &[changed, quiet],
        &[changed, quiet, deleted],
        &[changed, quiet, deleted], // a fourth one was deleted for good, and leaves no trace
        &[],                        // a sighting is no change
        &["192.0.2.105, fail2ban"],
        &[], // nor does an event leave a trace
    ];
    assert_eq!(found, want);
}

#[test]
fn sightings_name_who_saw() {
    let (client, _) = client("04d_sightings_restsearch");
    let mut n_of: BTreeMap<(u8, String), usize> = BTreeMap::new();
    for it in client.sightings_since(Timestamp::UNIX_EPOCH).unwrap() {
        assert!(!it.value.is_empty() && it.date_sighting.is_some(), "{it:?}");
        *n_of.entry((it.kind.unwrap(), it.organisation.name)).or_default() += 1;
    }
    let own = || "ORGNAME".to_owned();
    assert_eq!(n_of, BTreeMap::from([((0, own()), 3), ((1, own()), 1), ((2, own()), 1)]));
}
