//! Which types of attribute there are, and which categories take them.
//!
//! The table is MISP 2.5.1's answer to `GET /attributes/describeTypes.json`, recorded on the
//! wire: `data/describe_types.json`, served as it stands by the hub.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

/// The whole answer of `/attributes/describeTypes.json`.
pub const JSON: &str = include_str!("../data/describe_types.json");

/// What MISP assumes for a type when a request says nothing.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
pub struct Defaults {
    /// The category.
    #[serde(rename = "default_category")]
    pub category: String,
    /// 1 when the attribute is meant for detection.
    to_ids: u8,
}

impl Defaults {
    /// Whether the attribute is meant for detection.
    pub const fn to_ids(&self) -> bool {
        self.to_ids != 0
    }
}

/// The defaults of `kind`; `None` when MISP knows no such type.
pub fn defaults(kind: &str) -> Option<&'static Defaults> {
    TABLE.sane_defaults.get(kind)
}

/// Whether there is such a category.
pub fn is_category(category: &str) -> bool {
    TABLE.category_type_mappings.contains_key(category)
}

/// Whether `category` takes attributes of type `kind`.
pub fn takes(category: &str, kind: &str) -> bool {
    TABLE.category_type_mappings.get(category).is_some_and(|types| types.contains(kind))
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str::<Answer>(JSON).expect("the table is valid: a test reads it").result
});

#[derive(Deserialize)]
struct Answer {
    result: Table,
}

#[derive(Deserialize)]
struct Table {
    sane_defaults: HashMap<String, Defaults>,
    category_type_mappings: HashMap<String, HashSet<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_misp_assumes() {
        let ip = defaults("ip-src").expect("MISP has the type");
        assert_eq!((ip.category.as_str(), ip.to_ids()), ("Network activity", true));
        assert_eq!(defaults("comment").map(Defaults::to_ids), Some(false));
        assert_eq!(defaults("ip-banana"), None);
    }

    #[test]
    fn knows_which_category_takes_a_type() {
        assert!(takes("Network activity", "ip-src"));
        assert!(takes("External analysis", "ip-src"));
        assert!(!takes("Person", "ip-src"));
        assert!(!takes("Bananas", "ip-src") && !is_category("Bananas"));
    }

    #[test]
    fn each_default_is_taken() {
        for (kind, it) in &TABLE.sane_defaults {
            assert!(takes(&it.category, kind), "{kind} in {}", it.category);
        }
    }
}
