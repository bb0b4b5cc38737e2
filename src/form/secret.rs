//! A text that must not be shown: it prints as `<secret>` wherever it is printed.
//!
//! It keeps secrets out of logs and messages by accident; it does not encrypt them or wipe memory.

use std::fmt;

/// What `Debug` and `Display` print in place of the text.
const MASK: &str = "<secret>";

/// A secret such as an access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that signs with it or stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("wJalrXUtnFEMI");
        assert_eq!(format!("{secret}"), "<secret>");
        assert_eq!(format!("{secret:?} {secret:#?}"), "<secret> <secret>");
        assert_eq!(format!("{:?}", Some(secret.clone())), "Some(<secret>)");
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
    }
}
