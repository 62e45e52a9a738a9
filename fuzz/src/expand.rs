//! Values: their `%(name)s` and `<tag>`, lists of options, durations, arithmetic.
//!
//! One input is read as each of them in turn: as the body of an action, as a list of items, as a
//! duration, as an expression.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jail::config::options::{self, Item};
use jail::config::{self, duration, expression};

use super::files::{Memory, ROOT, same_twice};

/// How long a few kilobytes may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest value that may come out, in bytes: tags and names that double each other stop here.
const LONGEST_VALUE: usize = 4 << 20;

/// Reads `input` in every way.
///
/// # Panics
///
/// - Where the same text is read otherwise a second time, or takes too long.
/// - Where a value grows beyond all use.
/// - Where a list loses or invents text.
/// - Where a number is none.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check_action(text);
    check_items(text);
    check_numbers(text);
}

/// Expands all values of an action, as it is read and once more for a family.
fn check_action(text: &str) {
    let root = Path::new(ROOT);
    let mut files = Memory::default();
    let mut add = |name: &str, text: String| {
        files.files.insert(PathBuf::from(ROOT).join(name), text.into_bytes());
    };
    add("jail.conf", "[x]\naction = x[a=1, b=\"<a>\"]\n".to_owned());
    add("action.d/x.conf", format!("[Definition]\n{text}"));
    let actions = same_twice(LIMIT, || {
        let jails = config::read(&files, root, config::Select::All).jails;
        jails.into_iter().flat_map(|jail| jail.actions).collect::<Vec<_>>()
    });
    for action in actions {
        for family in [None, Some("inet6")] {
            let expanded = same_twice(LIMIT, || action.expanded(family));
            for text in expanded.iter().flat_map(|options| options.values()) {
                assert!(text.len() <= LONGEST_VALUE, "a value of {} bytes", text.len());
            }
        }
    }
}

/// Splits a list, and reads each item.
fn check_items(text: &str) {
    let items = same_twice(LIMIT, || options::split(text));
    let mut rest = text;
    for item in items {
        let at = rest.find(item).expect("an item is a piece of its list");
        assert!(rest[..at].trim().is_empty(), "`{}` is lost", &rest[..at]);
        assert_eq!(item, item.trim());
        rest = &rest[at + item.len()..];
        if let Ok(item) = same_twice(LIMIT, || Item::parse(item)) {
            assert!(!item.name.is_empty() && !item.name.contains('['), "{item:?}");
            assert!(item.options.keys().all(|name| !name.is_empty()), "{item:?}");
        }
    }
    assert!(rest.trim().is_empty(), "`{rest}` is lost");
}

/// Reads a duration and an expression.
fn check_numbers(text: &str) {
    let name = |name: &str| (name == "ban.Count").then_some(3.0);
    let expression = same_twice(LIMIT, || expression::evaluate(text, &name));
    let duration = same_twice(LIMIT, || duration::seconds(text));
    for number in [expression, duration].into_iter().flatten() {
        assert!(number.is_finite(), "{number} is no number");
    }
}
