//! MISP's warninglists: what is no indicator, whoever says so.
//!
//! Read in the two shapes in which MISP gives them: a file of the project misp-warninglists
//! (`{"name", "type", "list": […]}`), and the answer of `warninglists/view`
//! (`{"Warninglist": {…, "WarninglistEntry": [{"value"}]}}`). Of the kinds of lists `cidr` and
//! `string` speak of addresses by what they are; `hostname`, `substring` and `regex` speak of texts
//! and never match an address here.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use crate::{PrefixSet, net};

/// The most entries of one list: the longest of MISP's own has about 300,000.
const MAX_ENTRIES: usize = 2_000_000;

/// A warninglist, as far as it speaks of addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Warninglist {
    /// Its title.
    pub name: String,
    nets: PrefixSet,
}

/// Why a warninglist cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WarninglistError {
    /// It is not of the known shapes.
    #[error("it is no warninglist of MISP; take the file `list.json` of misp-warninglists")]
    Shape(#[source] serde_json::Error),
    /// It is too long.
    #[error("it has {0} entries, and {MAX_ENTRIES} is the most; is it the right file?")]
    TooLong(usize),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    Answer {
        #[serde(rename = "Warninglist")]
        list: Answered,
    },
    File(InFile),
}

#[derive(Deserialize)]
struct InFile {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    list: Vec<String>,
}

#[derive(Deserialize)]
struct Answered {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "WarninglistEntry", default)]
    entries: Vec<AnsweredEntry>,
}

#[derive(Deserialize)]
struct AnsweredEntry {
    value: String,
}

impl Warninglist {
    /// Reads a list from MISP's JSON.
    ///
    /// # Errors
    ///
    /// When it is of another shape, or too long. An entry that is no address is left out.
    pub fn read(json: &[u8]) -> Result<Self, WarninglistError> {
        let shape = serde_json::from_slice(json).map_err(WarninglistError::Shape)?;
        let (name, kind, values) = match shape {
            Shape::File(InFile { name, kind, list }) => (name, kind, list),
            Shape::Answer { list: Answered { name, kind, entries } } => {
                (name, kind, entries.into_iter().map(|it| it.value).collect())
            }
        };
        if values.len() > MAX_ENTRIES {
            return Err(WarninglistError::TooLong(values.len()));
        }
        let nets: PrefixSet = match &*kind {
            "cidr" | "string" => values.iter().filter_map(|value| net::read(value)).collect(),
            _ => PrefixSet::default(),
        };
        Ok(Self { name, nets })
    }

    /// Whether it says anything of an address of `net`.
    pub fn touches(&self, net: IpNet) -> bool {
        self.nets.touches(net)
    }
}

/// The name of the first list that says anything of `net`.
pub fn hit(lists: &[Arc<Warninglist>], net: IpNet) -> Option<&str> {
    lists.iter().find(|list| list.touches(net)).map(|list| &*list.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, value: &str, want: Option<&str>) {
        let list = Warninglist::read(json.as_bytes()).expect("the row holds a list");
        let net = net::read(value).expect("the row holds an address");
        assert_eq!(hit(&[Arc::new(list)], net), want, "{json} {value}");
    }

    #[test]
    fn lists() {
        let file = r#"{"name":"resolvers","type":"cidr","version":3,"matching_attributes":["ip-src"],
            "list":["8.8.8.8/32","1.1.1.0/24","2001:4860:4860::/48","not an address"]}"#;
        check(file, "8.8.8.8", Some("resolvers"));
        check(file, "8.8.8.9", None);
        check(file, "1.1.0.0/16", Some("resolvers")); // a prefix that holds a resolver
        check(file, "2001:4860:4860::8888", Some("resolvers"));
        let answer = r#"{"Warninglist":{"id":"137","name":"own","type":"string","enabled":true,
            "WarninglistEntry":[{"id":"1","value":"203.0.113.241","warninglist_id":"137"}]}}"#;
        check(answer, "203.0.113.241", Some("own"));
        check(answer, "203.0.113.240", None);
        // `.1` as a substring is in nearly every address: such lists mean texts.
        check(r#"{"name":"x","type":"substring","list":["192.0.2.1"]}"#, "192.0.2.1", None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for json in ["", "[]", "{}", r#"{"name":"x","type":"cidr"}"#, "<html>"] {
            assert!(matches!(Warninglist::read(json.as_bytes()), Err(WarninglistError::Shape(_))));
        }
    }
}
