//! Replaces `<tag>` within values by other values, until nothing changes.
//!
//! A tag is what stands between `<` and `>` without a space or another bracket, so the inner one of
//! `<lt_<logtype>/prefix>` comes first and makes the outer. A tag that nobody defines stays: it is
//! an expression's `<HOST>`, or the shell's.

use std::collections::BTreeMap;

/// How often one tag may be replaced in one value, as in fail2ban.
const MAX_REPLACED: u32 = 25;

/// The longest value; tags that double each other would else fill the memory within the count.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Why tags could not be replaced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TagError {
    /// A value leads back to itself.
    #[error("`{option}` uses `<{tag}>`, which leads back to it; break the circle")]
    Recursive {
        /// The option whose value it is.
        option: String,
        /// The tag that was replaced too often.
        tag: String,
    },
    /// A value grows beyond every use.
    #[error("`{option}` grows beyond {MAX_VALUE_BYTES} bytes; shorten what its tags stand for")]
    TooLong {
        /// The option whose value it is.
        option: String,
    },
}

impl TagError {
    /// The option whose value it is.
    pub fn option(&self) -> &str {
        match self {
            Self::Recursive { option, .. } | Self::TooLong { option } => option,
        }
    }
}

/// Replaces the tags in all `values` by each other, and by what `elsewhere` knows.
///
/// `is_kept` names the tags that are left as they are, and the values that are left alone. With a
/// `condition` (`family=inet6`) the value of `tag?family=inet6` goes before that of `tag`.
pub(super) fn substitute<E: From<TagError>>(
    values: &mut BTreeMap<String, String>,
    is_kept: &dyn Fn(&str) -> bool,
    condition: Option<&str>,
    mut elsewhere: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<(), E> {
    let mut pending: Vec<String> = values
        .iter()
        .filter(|(name, text)| text.contains('<') && !is_kept(name))
        .map(|it| it.0.clone())
        .collect();
    let mut counts: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    loop {
        let mut is_unfinished = false;
        for option in &pending {
            let mut text = values[option].clone();
            let count = counts.entry(option.clone()).or_default();
            let mut at = 0;
            let mut is_changed = false;
            while let Some((start, end)) = find(&text, at) {
                let tag = text[start + 1..end - 1].to_owned();
                if is_kept(&tag) {
                    at = end;
                    continue;
                }
                let n_replaced = count.get(&tag).copied().unwrap_or(1);
                if tag == *option || n_replaced > MAX_REPLACED {
                    return Err(TagError::Recursive { option: option.clone(), tag }.into());
                }
                let conditional = condition.and_then(|it| values.get(&format!("{tag}?{it}")));
                let found = match conditional.or_else(|| values.get(&tag)) {
                    Some(found) => Some(found.clone()),
                    None => elsewhere(&tag)?,
                };
                let Some(found) = found else {
                    at = end;
                    continue;
                };
                text = text.replace(&format!("<{tag}>"), &found);
                if text.len() > MAX_VALUE_BYTES {
                    return Err(TagError::TooLong { option: option.clone() }.into());
                }
                is_changed = true;
                *count.entry(tag).or_insert(0) += 1;
                at = start;
            }
            if is_changed {
                is_unfinished |= find(&text, 0).is_some();
                values.insert(option.clone(), text);
            }
        }
        if !is_unfinished {
            return Ok(());
        }
        pending.retain(|option| values[option].contains('<'));
    }
}

/// The bytes of the first tag at or after `from`, brackets included.
fn find(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut start = None;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match (byte, start) {
            (b'<', _) => start = Some(at),
            (b' ', _) => start = None,
            (b'>', Some(begin)) if at > begin + 1 => return Some((begin, at + 1)),
            (b'>', _) => start = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[(&str, &str)], want: Result<&str, &str>) {
        let mut all: BTreeMap<String, String> =
            values.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let none = |_: &str| Ok::<_, TagError>(None);
        let got = substitute(&mut all, &|tag| tag == "kept", Some("family=inet6"), none);
        let got = got.map(|()| all["x"].as_str()).map_err(|it| it.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{values:?}");
    }

    #[test]
    fn replaces_until_nothing_changes() {
        check(&[("x", "<a>"), ("a", "1")], Ok("1"));
        check(&[("x", "<a> <HOST> < b >"), ("a", "<b>"), ("b", "2")], Ok("2 <HOST> < b >"));
        check(&[("x", "<p_<mode>>"), ("mode", "n"), ("p_n", "yes")], Ok("yes")); // inside out
        check(&[("x", "<kept>"), ("kept", "1")], Ok("<kept>"));
        check(&[("x", "<a>"), ("a", "4"), ("a?family=inet6", "6")], Ok("6"));
        check(&[("x", "<> <a"), ("a", "1")], Ok("<> <a"));
    }

    #[test]
    fn refuses_circles() {
        let circle = "`x` uses `<x>`, which leads back to it; break the circle";
        check(&[("x", "<x>")], Err(circle));
        check(&[("x", "<y>"), ("y", "<x>")], Err(circle));
        let doubles = [("x", "<a><a>"), ("a", "<b><b>"), ("b", "<c><c>"), ("c", "<a>")];
        check(&doubles, Err("`a` uses `<a>`, which leads back to it; break the circle"));
    }
}
