//! Finds the known name that a misspelt one was meant to be.

/// Changes of a letter that still pass for a slip; more is another word.
const MAX_DISTANCE: usize = 2;

/// The name among `known` that is nearest to `word`, if any is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= MAX_DISTANCE && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// Letters to insert, remove or replace until one word is the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n_before, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n_before + 1;
        for (at, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest() {
        let near = |word| nearest(word, ["bantime", "findtime", "maxretry"].into_iter());
        assert_eq!(near("bantme"), Some("bantime"));
        assert_eq!(near("maxrety"), Some("maxretry"));
        assert_eq!(near("colour"), None);
    }
}
