//! The one list of error codes: what each means and what to do about it.
//!
//! Messages say more, since they know the case; they stand where the error happens. A code of ngrok's
//! has its condition here too, so that their clients understand us. `tests/it/errors.rs` holds the list
//! to the sources and `docs/errors.md` to the list.

mod ngrok;
mod own;

/// A code, and what it says to somebody who meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The code as answers, logs and dead letters have it; never given another meaning.
    pub code: &'static str,
    /// What happened: a sentence without an end mark.
    pub cause: &'static str,
    /// What to do about it: one or two sentences.
    pub remedy: &'static str,
}

const fn entry(code: &'static str, cause: &'static str, remedy: &'static str) -> ErrorCode {
    ErrorCode { code, cause, remedy }
}

/// All codes: first our own, then ngrok's, each in the order of their numbers.
pub fn all() -> impl Iterator<Item = &'static ErrorCode> {
    own::CODES.iter().chain(ngrok::CODES)
}

/// The codes that a person may mean: the whole code in any case, or its number alone, which both ngrok
/// and we may have.
pub fn find(asked: &str) -> impl Iterator<Item = &'static ErrorCode> {
    let asked = asked.trim().to_ascii_uppercase();
    all().filter(move |it| {
        it.code == asked || it.code.rsplit_once('_').is_some_and(|(_, number)| number == asked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_number_too() {
        let found = |asked| find(asked).map(|it| it.code).collect::<Vec<_>>();
        assert_eq!(found(" err_sluicegate_1106\n"), ["ERR_SLUICEGATE_1106"]);
        assert_eq!(found("1106"), ["ERR_SLUICEGATE_1106"]);
        assert_eq!(found("ERR_NGROK_226"), ["ERR_NGROK_226"]);
        assert!(found("26").is_empty() && found("").is_empty() && found("ERR").is_empty());
    }
}
