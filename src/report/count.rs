//! A number with its noun, in one place, so that nobody reads "1 letters". English only.

/// A count and what is counted: `1 letter`, `2 letters`, `1 try`, `0 tries`.
///
/// The noun is given in the singular; its last word takes the plural.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    let before_y = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match before_y {
        Some(stem) => format!("{number} {stem}ies"),
        None if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{number} {noun}es"),
        None => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_everything_else_is_plural() {
        for (number, noun, text) in [
            (0, "letter", "0 letters"),
            (1, "letter", "1 letter"),
            (2, "dead letter", "2 dead letters"),
            (1, "try", "1 try"),
            (3, "try", "3 tries"),
            (2, "key", "2 keys"),
            (2, "match", "2 matches"),
        ] {
            assert_eq!(counted(number, noun), text);
        }
    }
}
