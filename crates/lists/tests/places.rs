//! Files in MaxMind's format, as small as they can be. Other rooms' tests read them, too:
//! `LISTS_TEST_WRITE=1 cargo test -p lists --test places` makes them anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::{IpNet, Ipv6Net};
use lists::places::{Places, PlacesError};
use serde_json::{Map, Value, json};

/// Says that the files are to be written.
const WRITE: &str = "LISTS_TEST_WRITE";

/// The name of a file, its kind, and what it knows of networks.
fn files() -> [(&'static str, &'static str, Value); 3] {
    let country = |code: &str| json!({"country": {"iso_code": code, "geoname_id": 1}});
    let system = |number: u32, name: &str| json!({"autonomous_system_number": number, "autonomous_system_organization": name});
    [
        (
            "countries.mmdb",
            "Test-Country",
            json!({
                "192.0.2.0/24": country("NL"),
                "198.51.100.0/24": country("FR"),
                "203.0.113.0/25": country("NL"),
                "2001:db8::/32": country("DE"),
            }),
        ),
        (
            "systems.mmdb",
            "Test-ASN",
            json!({
                "192.0.2.0/24": system(64_500, "Example <Networks>"),
                "203.0.113.0/24": system(4_200_000_001, "Second Example"),
            }),
        ),
        ("other.mmdb", "Test-Domain", json!({"192.0.2.0/24": {"domain": "example.org"}})),
    ]
}

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/places").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

#[test]
fn the_files_hold_what_stands_here() {
    for (name, kind, networks) in files() {
        let want = database(kind, networks.as_object().expect("networks"));
        if std::env::var_os(WRITE).is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/places").join(name);
            std::fs::write(path, &want).expect("the file is written");
        }
        assert!(read(name) == want, "{name} is stale: see the head of this file");
    }
}

#[test]
fn places() {
    let mut places = Places::default();
    for name in ["countries.mmdb", "systems.mmdb"] {
        places.add(read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (addr, want) in [
        ("192.0.2.7", "NL, AS64500 Example <Networks>"),
        ("198.51.100.7", "FR"),
        ("203.0.113.200", "AS4200000001 Second Example"),
        ("2001:db8::7", "DE"),
        ("::ffff:198.51.100.7", "FR"), // mapped, and still IPv4
        ("127.0.0.1", "unknown"),
    ] {
        let addr: IpAddr = addr.parse().expect("an address");
        assert_eq!(places.of(addr).to_string(), want, "{addr}");
    }
    let json = serde_json::to_value(places.of([203, 0, 113, 200].into())).expect("JSON");
    assert_eq!(
        json,
        json!({"country": null, "as": {"number": 4_200_000_001_u32, "name": "Second Example"}})
    );
}

#[test]
fn other_files_are_refused() {
    let add = |file| Places::default().add(file);
    assert!(matches!(add(b"PK\x03\x04 a packed file".to_vec()), Err(PlacesError::Format(_))));
    let kind = add(read("other.mmdb")).expect_err("it knows of domains");
    assert!(kind.to_string().contains("`Test-Domain`"), "{kind}");
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let whole = read("countries.mmdb");
    for n_bytes in 0..whole.len() {
        let cut = Places::default().add(whole[..n_bytes].to_vec());
        assert!(matches!(cut, Err(PlacesError::Format(_))), "{n_bytes} bytes: {cut:?}");
    }
    // Without its tree, what describes the file is still in place.
    let without = Places::default().add(whole[whole.len() / 2..].to_vec());
    assert!(matches!(without, Err(PlacesError::Format(_))), "{without:?}");
}

/// Whatever is wrong with a file, it is refused or knows less.
#[test]
fn no_damage_ends_the_program() {
    let asked: Vec<IpAddr> = ["192.0.2.7", "203.0.113.200", "2001:db8::7", "255.255.255.255", "::"]
        .map(|it| it.parse().expect("an address"))
        .into();
    for name in ["countries.mmdb", "systems.mmdb"] {
        let whole = read(name);
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        let holed = (0..whole.len()).map(|at| [&whole[..at / 2], &whole[at..]].concat());
        for damaged in flipped.chain(holed) {
            let mut places = Places::default();
            if places.add(damaged).is_ok() {
                asked.iter().for_each(|addr| drop(places.of(*addr)));
            }
        }
    }
}

/// A database, by the specification of the MaxMind DB file format 2.0: a binary tree over the
/// bits of addresses, 16 bytes of zero, the records, and what describes it all.
fn database(kind: &str, networks: &Map<String, Value>) -> Vec<u8> {
    let mut tree = vec![[Branch::Nothing; 2]];
    let mut records = Vec::new();
    for (network, record) in networks {
        insert(&mut tree, network.parse().expect("a network"), Branch::Record(records.len()));
        encode(record, &mut records);
    }
    let n_nodes = tree.len();
    let mut file = Vec::new();
    for branch in tree.into_iter().flatten() {
        let number = match branch {
            Branch::Node(number) => number,
            Branch::Nothing => n_nodes,
            Branch::Record(offset) => n_nodes + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(number).expect("it is small").to_be_bytes());
    }
    file.extend_from_slice(&[0; 16]);
    file.append(&mut records);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = json!({
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": kind,
        "description": {"en": "for tests"},
        "ip_version": 6,
        "languages": [],
        "node_count": n_nodes,
        "record_size": 32,
    });
    encode(&metadata, &mut file);
    file
}

/// What follows a bit of an address.
#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    Record(usize),
}

/// IPv4 lies at `::/96`.
fn insert(tree: &mut Vec<[Branch; 2]>, network: IpNet, record: Branch) {
    let network = match network {
        IpNet::V4(it) => {
            let addr = u128::from(it.addr().to_bits()).into();
            Ipv6Net::new(addr, 96 + it.prefix_len()).expect("it is longer than 96")
        }
        IpNet::V6(it) => it,
    };
    let bit = |depth: u8| usize::from(network.addr().to_bits() >> (127 - depth) & 1 == 1);
    let mut node = 0;
    for depth in 0..network.prefix_len() - 1 {
        node = match tree[node][bit(depth)] {
            Branch::Node(next) => next,
            _ => {
                tree.push([Branch::Nothing; 2]);
                tree[node][bit(depth)] = Branch::Node(tree.len() - 1);
                tree.len() - 1
            }
        };
    }
    tree[node][bit(network.prefix_len() - 1)] = record;
}

/// A kind and a size, then the bytes.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            begin(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Object(fields) => {
            begin(7, fields.len(), out);
            for (name, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                encode(&json!(name), out);
                match value.as_u64() {
                    Some(number) => encode_number(name, number, out),
                    None => encode(value, out),
                }
            }
        }
        Value::Array(list) => {
            assert!(list.is_empty(), "no file needs more");
            out.extend_from_slice(&[0, 11 - 7]);
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => panic!("no file needs {value}"),
    }
}

/// What describes a file has numbers of a given width; others are as wide as they must be.
fn encode_number(name: &str, number: u64, out: &mut Vec<u8>) {
    let wide = number.to_be_bytes();
    match (name, number) {
        ("build_epoch", _) => {
            out.extend_from_slice(&[8, 9 - 7]);
            out.extend_from_slice(&wide);
        }
        ("node_count", _) | (_, 0x1_0000..) => {
            begin(6, 4, out);
            out.extend_from_slice(&wide[4..]);
        }
        _ => {
            begin(5, 2, out);
            out.extend_from_slice(&wide[6..]);
        }
    }
}

fn begin(kind: u8, size: usize, out: &mut Vec<u8>) {
    let size = u8::try_from(size).expect("it is small");
    match size {
        0..29 => out.push(kind << 5 | size),
        29.. => out.extend_from_slice(&[kind << 5 | 29, size - 29]),
    }
}
