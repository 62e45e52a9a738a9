//! Finds the tags of an expression that nothing defines and that were meant to be others: fail2ban
//! takes them for letters, and the expression matches nothing.

use super::nearest;

/// The tags that expressions have of themselves.
const TAGS: [&str; 8] = ["HOST", "ADDR", "IP4", "IP6", "CIDR", "SUBNET", "DNS", "SKIPLINES"];

/// The first misspelt tag of an expression, and the tag or the option, one of `options`, that it was
/// meant to be.
pub(super) fn find<'a>(
    expression: &'a str,
    options: &(impl Iterator<Item = &'a str> + Clone),
) -> Option<(&'a str, &'a str)> {
    let starts = expression.match_indices('<').map(|(at, _)| at);
    let tags = starts.filter_map(|at| {
        let (tag, _) = expression[at + 1..].split_once('>')?;
        // A letter before the tag that follows it.
        if tag.contains('<') {
            return None;
        }
        let is_group = expression[..at].ends_with("(?P");
        let is_field = tag.starts_with("F-") || tag.starts_with("/F-");
        (!is_group && !is_field && !TAGS.contains(&tag)).then_some(tag)
    });
    tags.filter_map(|tag| {
        let is_tag = |name: &&&str| name.eq_ignore_ascii_case(tag);
        let same = TAGS.iter().find(is_tag).copied();
        let near = || nearest(tag, TAGS.iter().copied().chain(options.clone()));
        Some((tag, same.or_else(near)?))
    })
    .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let options = ["mdre-aggressive", "mode"];
        let find = |expression| find(expression, &options.into_iter());
        assert_eq!(find("^bad <HSOT>$"), Some(("HSOT", "HOST")));
        assert_eq!(find("^bad <host>$"), Some(("host", "HOST")));
        assert_eq!(find("^<mdre-agressive> <HOST>"), Some(("mdre-agressive", "mdre-aggressive")));
        assert_eq!(find("^(?P<host>x) <F-USER>y</F-USER> <NOSRV> (?<=a)<[^>]+> <<ADDR>>"), None);
    }
}
