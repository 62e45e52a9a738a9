//! Patterns of names: `*` stands for any text, `?` for any one character.

/// Whether `text` is what `pattern` describes.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on when the text after the last `*` does not fit: one byte further.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// As [`matches()`], where capital letters are as good as small ones (ASCII).
pub(crate) fn matches_any_case(pattern: &str, text: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, want: bool) {
        assert_eq!(matches(pattern, text), want, "{pattern} {text}");
    }

    #[test]
    fn patterns() {
        check("*", "sshd", true);
        check("sshd", "sshd", true);
        check("sshd", "sshd-ddos", false);
        check("ssh*", "sshd-ddos", true);
        check("*-auth", "apache-auth-auth", true); // the star takes as little as it must
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("", "sshd", false);
        check("", "", true);
    }
}
