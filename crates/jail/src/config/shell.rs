//! Splits a line into words as a POSIX shell does: quotes and backslashes, nothing else.

/// The words of `line`; `None` where a quote is not closed.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => loop {
                let word = word.get_or_insert_default();
                match rest.next()? {
                    '\'' => break,
                    other => word.push(other),
                }
            },
            '"' => loop {
                let word = word.get_or_insert_default();
                match rest.next()? {
                    '"' => break,
                    '\\' => match rest.next()? {
                        escaped @ ('"' | '\\') => word.push(escaped),
                        other => word.extend(['\\', other]),
                    },
                    other => word.push(other),
                }
            },
            '\\' => word.get_or_insert_default().push(rest.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let split = |line| split(line).map(|words| words.join("|"));
        assert_eq!(split("a  b\tc").as_deref(), Some("a|b|c"));
        assert_eq!(split(r#"a="b c" 'd "e' f\ g """#).as_deref(), Some(r#"a=b c|d "e|f g|"#));
        assert_eq!(split(r#""a\"b\c""#).as_deref(), Some(r#"a"b\c"#));
        assert_eq!(split("'a"), None);
    }
}
