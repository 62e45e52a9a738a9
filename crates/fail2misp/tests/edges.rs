//! Who may import whom: a new edge between rooms is a decision, so it fails here until it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Room → the rooms it may import, in tests, too.
const EDGES: &[(&str, &[&str])] = &[
    ("scan", &[]),
    ("jail", &["scan"]),
    ("control", &["jail"]),
    ("guard", &["scan", "jail", "control"]),
    ("misp", &[]),
    ("lists", &[]),
    ("exchange", &["jail", "control", "misp", "lists"]),
    ("hub", &["misp", "lists"]),
    ("hunt", &["scan"]),
    (
        "fail2misp",
        &["scan", "jail", "control", "guard", "misp", "lists", "exchange", "hub", "hunt"],
    ),
];

#[test]
fn no_room_imports_what_it_may_not() {
    let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the rooms");
    let may: BTreeMap<_, BTreeSet<_>> =
        EDGES.iter().map(|(room, edges)| (*room, edges.iter().copied().collect())).collect();

    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(rooms).expect("the folder of the rooms") {
        let path = entry.expect("an entry").path().join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let manifest: toml::Table =
            text.parse().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let room = manifest["package"]["name"].as_str().expect("a name").to_owned();
        let allowed = may.get(room.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("`{room}` is not in the table of edges"));
        for imported in imports(&manifest).filter(|name| may.contains_key(name.as_str())) {
            assert!(allowed.contains(imported.as_str()), "`{room}` may not import `{imported}`");
        }
        seen.insert(room);
    }
    assert_eq!(seen.len(), may.len(), "the table names a room that is not there");
}

fn imports(manifest: &toml::Table) -> impl Iterator<Item = String> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|kind| manifest.get(kind)?.as_table())
        .flat_map(|table| table.keys().cloned())
}
