//! The longest literal that a text must hold for an expression to match it.

use std::iter::Peekable;
use std::str::Chars;

/// The length of the longest literal that every text has which `expression` matches; 0 where there
/// is none. It may be too short, never too long.
pub(crate) fn longest_needed(expression: &str) -> usize {
    choice(&mut expression.chars().peekable())
}

/// The worst of the branches up to the end of the group.
fn choice(text: &mut Peekable<Chars<'_>>) -> usize {
    let mut worst = sequence(text);
    while text.next_if_eq(&'|').is_some() {
        worst = worst.min(sequence(text));
    }
    worst
}

/// The best along what must follow each other, up to the end of the branch.
fn sequence(text: &mut Peekable<Chars<'_>>) -> usize {
    let (mut best, mut run) = (0, 0);
    while let Some(char) = text.next_if(|char| !"|)".contains(*char)) {
        let mut inner = 0;
        let is_literal = match char {
            '(' => {
                inner = group(text);
                false
            }
            '[' => {
                skip_class(text);
                false
            }
            '<' => {
                // A tag of fail2ban's.
                text.by_ref().take_while(|char| *char != '>').for_each(drop);
                false
            }
            '\\' => !text.next().unwrap().is_alphanumeric(),
            other => !"^$.".contains(other),
        };
        let repeat = text.next_if(|char| "?*+{".contains(*char));
        if repeat == Some('{') {
            text.by_ref().take_while(|char| *char != '}').for_each(drop);
        }
        text.next_if(|char| "?+".contains(*char) && repeat.is_some());
        match repeat {
            None if is_literal => run += 1,
            None | Some('+') => (best, run) = (best.max(run).max(inner), 0),
            Some(_) => (best, run) = (best.max(run), 0),
        }
    }
    best.max(run)
}

/// What the group needs whose bracket has been read; nothing for what looks ahead or back.
fn group(text: &mut Peekable<Chars<'_>>) -> usize {
    let mut takes_text = true;
    if text.next_if_eq(&'?').is_some() {
        // `:`, `i:`, `P<name>` in front of what is matched; `=`, `!`, `<=`, `<!` in front of what is
        // only looked at, `P=` in front of a name.
        let end = text.by_ref().find(|char| ":>=!".contains(*char));
        takes_text = matches!(end, Some(':' | '>'));
    }
    let needed = choice(text);
    text.next();
    if takes_text { needed } else { 0 }
}

fn skip_class(text: &mut Peekable<Chars<'_>>) {
    text.next_if_eq(&'^');
    text.next_if_eq(&']');
    while let Some(char) = text.next() {
        match char {
            '\\' => drop(text.next()),
            ']' => return,
            _ => {}
        }
    }
}

#[test]
fn finds_the_longest_literal() {
    let check = |expression, want| assert_eq!(longest_needed(expression), want, "{expression}");
    check(r"^(?:error: )?Failed \S+ from <HOST>$", 7);
    check(r"^(?:Invalid|Illegal) user", 7);
    check(r"^(?:Invalid|x) \S", 1);
    check(r"^<F-USER>.*</F-USER>: no such user\.$", 15);
    check(r"(?!not found)x(?P=user)(?:many)*[abc]ab{2,3}", 1);
}
