//! fail2ban's own tags in expressions: `<HOST>` and its kin, `<F-NAME>…</F-NAME>`, `<SKIPLINES>`.
//!
//! They are no tags of the configuration language: they stand for groups, and are expanded when
//! the expression is compiled.

/// What a host's name looks like.
const DNS: &str = r"(?P<dns>[\w\-.^_]*\w)";
/// A prefix length.
const CIDR: &str = r"(?P<cidr>\d+)";

/// Whether `<HOST>` takes a name, too: `usedns` is not `no`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Names {
    /// It does.
    Taken,
    /// Addresses alone.
    Refused,
}

/// Expands all tags of `text`; what is no known tag stays as it stands.
pub(crate) fn expand(text: &str, names: Names) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut opened: Vec<&str> = Vec::new();
    let mut n_skips = 0;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let Some(tag) = tag(rest) else {
            out.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.len()..];
        match &tag[1..tag.len() - 1] {
            "HOST" if names == Names::Taken => out.push_str(&format!("(?:{}|{DNS})", addr())),
            "HOST" | "ADDR" | "F-ADDR/" => out.push_str(&addr()),
            "IP4" | "F-IP4/" => out.push_str(&ip4()),
            "IP6" | "F-IP6/" => out.push_str(&ip6()),
            "DNS" | "F-DNS/" => out.push_str(DNS),
            "CIDR" | "F-CIDR/" => out.push_str(CIDR),
            "SUBNET" | "F-SUBNET/" => {
                out.push_str(&format!(r"\[?(?:{}|{})(?:/{CIDR})?\]?", ip4(), ip6()));
            }
            "F-ID/" => out.push_str(r"(?P<fid>\S+)"),
            "F-PORT/" => out.push_str(r"(?P<fport>\w+)"),
            "SKIPLINES" => {
                out.push_str(&format!(r"\n(?P<skiplines{n_skips}>(?:.*\n)*?)"));
                n_skips += 1;
            }
            name => match (name.strip_prefix("F-"), name.strip_prefix("/F-")) {
                (Some(name), _) if is_custom(name) => {
                    opened.push(name);
                    out.push_str(&format!("(?P<{}>", group_name(name)));
                }
                (_, Some(name)) if opened.contains(&name) => out.push(')'),
                _ => out.push_str(tag),
            },
        }
    }
    out.push_str(rest);
    out
}

/// The name of the group that a tag such as `F-USER` becomes.
pub(crate) fn group_name(tag: &str) -> String {
    match tag.to_lowercase().as_str() {
        "id" => "fid".to_owned(),
        "port" => "fport".to_owned(),
        other => other.to_owned(),
    }
}

/// The tag at the start of `text`: `<`, perhaps `/`, a name, perhaps `/`, `>`.
fn tag(text: &str) -> Option<&str> {
    let after_open = text.strip_prefix('<')?;
    let name = after_open.strip_prefix('/').unwrap_or(after_open);
    let end = name.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')))?;
    let after_name = if end == 0 { return None } else { &name[end..] };
    let after = after_name.strip_prefix('/').unwrap_or(after_name).strip_prefix('>')?;
    Some(&text[..text.len() - after.len()])
}

fn is_custom(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    !name.is_empty() && name.bytes().all(allowed)
}

fn ip4() -> String {
    r"(?:::f{4,6}:)?(?P<ip4>\d{1,3}(?:\.\d{1,3}){3})".to_owned()
}

/// Groups of hexadecimal digits, each ended by one or two colons, and a last group or colon.
///
/// fail2ban 1.1 lets a single colon begin it, which no address does; 1.0.2 does not.
fn ip6() -> String {
    r"(?P<ip6>(?:[0-9A-Fa-f]{1,4}::?|::){1,7}(?:[0-9A-Fa-f]{1,4}|:))".to_owned()
}

fn addr() -> String {
    format!(r"\[?(?:{}|{})\]?", ip4(), ip6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(expand(text, Names::Taken), want, "{text}");
    }

    #[test]
    fn expands_tags() {
        check("<F-USER>x</F-USER>", "(?P<user>x)");
        check("<F-ID>x</F-ID> <F-ID/>", r"(?P<fid>x) (?P<fid>\S+)");
        check("</F-USER>", "</F-USER>"); // closed without being opened
        check("<F-user>", "<F-user>"); // upper case only
        check("a<b <> <HOSTS>", "a<b <> <HOSTS>");
        check("<<CIDR>", r"<(?P<cidr>\d+)");
        check(
            "<SKIPLINES><SKIPLINES>",
            r"\n(?P<skiplines0>(?:.*\n)*?)\n(?P<skiplines1>(?:.*\n)*?)",
        );
        assert!(!expand("<HOST>", Names::Refused).contains("dns"));
    }
}
