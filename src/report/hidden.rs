//! Characters that show nothing of themselves but change what is shown: control characters, marks of
//! writing direction, line separators, what has no width.
//!
//! Text that comes from outside goes through [`escaped`] before it reaches a terminal or a text log, so
//! that it can neither forge a line nor move, colour or reorder anything. Escapes are for the eye: a
//! backslash stays as it is, and nothing reads them back. Data (JSON, NDJSON) is not shown this way.

use std::borrow::Cow;

use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a character shows nothing of itself. Those are control characters (C0, C1, delete), format
/// characters (writing direction, joiners, byte order mark, tags), the two separators of lines and
/// paragraphs, and whatever Unicode says is not to be drawn where it is not understood: variation
/// selectors, fillers, the combining grapheme joiner.
///
/// The few format characters that stand before digits and are drawn, such as the Arabic number sign,
/// are not among them; nor are spaces, plain and odd.
fn is_hidden(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control();
    }
    match CodePointMapData::<GeneralCategory>::new().get(char) {
        GeneralCategory::Control
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => true,
        GeneralCategory::Format => {
            !CodePointSetData::new::<PrependedConcatenationMark>().contains(char)
        }
        _ => CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char),
    }
}

/// The escape that is shown for a character: `\n`, `\r` and `\t`, else `\u{…}` with its code point.
pub(super) fn escape(char: char) -> impl Iterator<Item = char> {
    let short = matches!(char, '\n' | '\r' | '\t').then(|| char.escape_default());
    let long = short.is_none().then(|| char.escape_unicode());
    short.into_iter().flatten().chain(long.into_iter().flatten())
}

/// Text from outside as it may stand on a terminal or in a line of a text log: each character that
/// cannot be seen becomes an escape, such as `\n`, `\u{1b}` or `\u{202e}`. All else, backslashes too,
/// stays as it is.
///
/// The result holds no such character, so that escaping it again changes nothing.
///
/// ```
/// use sluicegate::report::escaped;
///
/// assert_eq!(escaped("ev_1\nERROR all is lost\u{1b}[2J"), r"ev_1\nERROR all is lost\u{1b}[2J");
/// assert_eq!(escaped("Größe 大"), "Größe 大");
/// ```
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let Some(first) = text.find(is_hidden) else { return Cow::Borrowed(text) };
    let (before, rest) = text.split_at(first);
    let mut out = before.to_owned();
    for char in rest.chars() {
        if is_hidden(char) {
            out.extend(escape(char));
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// What to call a character that cannot be seen or distinguished from a plain space, such as `U+00A0 (no-break
/// space)`; nothing for all others, the plain space among them.
#[must_use]
pub fn name_of_hidden(char: char) -> Option<String> {
    let code = u32::from(char);
    let kind = match char {
        ' ' | '!'..='~' => return None,
        char if is_hidden(char) && char.is_control() => "control character",
        char if is_hidden(char) => "invisible character",
        char if char.is_whitespace() || char == '\u{2800}' => "space",
        _ => return None,
    };
    let name = NAMES.iter().find(|(first, last, _)| (*first..=*last).contains(&code));
    Some(format!("U+{code:04X} ({})", name.map_or(kind, |(.., name)| name)))
}

/// The names of those that are met, after Unicode's: first and last code point, name.
const NAMES: [(u32, u32, &str); 59] = [
    (0x00, 0x00, "null"),
    (0x07, 0x07, "bell"),
    (0x08, 0x08, "backspace"),
    (0x09, 0x09, "tab"),
    (0x0A, 0x0A, "line feed"),
    (0x0B, 0x0B, "vertical tab"),
    (0x0C, 0x0C, "form feed"),
    (0x0D, 0x0D, "carriage return"),
    (0x1B, 0x1B, "escape"),
    (0x7F, 0x7F, "delete"),
    (0x85, 0x85, "next line"),
    (0xA0, 0xA0, "no-break space"),
    (0xAD, 0xAD, "soft hyphen"),
    (0x034F, 0x034F, "combining grapheme joiner"),
    (0x061C, 0x061C, "Arabic letter mark"),
    (0x115F, 0x1160, "Hangul filler"),
    (0x1680, 0x1680, "Ogham space mark"),
    (0x180B, 0x180D, "Mongolian variation selector"),
    (0x180E, 0x180E, "Mongolian vowel separator"),
    (0x2000, 0x2000, "en quad"),
    (0x2001, 0x2001, "em quad"),
    (0x2002, 0x2002, "en space"),
    (0x2003, 0x2003, "em space"),
    (0x2004, 0x2004, "three-per-em space"),
    (0x2005, 0x2005, "four-per-em space"),
    (0x2006, 0x2006, "six-per-em space"),
    (0x2007, 0x2007, "figure space"),
    (0x2008, 0x2008, "punctuation space"),
    (0x2009, 0x2009, "thin space"),
    (0x200A, 0x200A, "hair space"),
    (0x200B, 0x200B, "zero width space"),
    (0x200C, 0x200C, "zero width non-joiner"),
    (0x200D, 0x200D, "zero width joiner"),
    (0x200E, 0x200E, "left-to-right mark"),
    (0x200F, 0x200F, "right-to-left mark"),
    (0x2028, 0x2028, "line separator"),
    (0x2029, 0x2029, "paragraph separator"),
    (0x202A, 0x202A, "left-to-right embedding"),
    (0x202B, 0x202B, "right-to-left embedding"),
    (0x202C, 0x202C, "pop directional formatting"),
    (0x202D, 0x202D, "left-to-right override"),
    (0x202E, 0x202E, "right-to-left override"),
    (0x202F, 0x202F, "narrow no-break space"),
    (0x205F, 0x205F, "medium mathematical space"),
    (0x2060, 0x2060, "word joiner"),
    (0x2061, 0x2061, "function application"),
    (0x2062, 0x2062, "invisible times"),
    (0x2063, 0x2063, "invisible separator"),
    (0x2064, 0x2064, "invisible plus"),
    (0x2066, 0x2066, "left-to-right isolate"),
    (0x2067, 0x2067, "right-to-left isolate"),
    (0x2068, 0x2068, "first strong isolate"),
    (0x2069, 0x2069, "pop directional isolate"),
    (0x2800, 0x2800, "Braille pattern blank"),
    (0x3000, 0x3000, "ideographic space"),
    (0x3164, 0x3164, "Hangul filler"),
    (0xFE00, 0xFE0F, "variation selector"),
    (0xFEFF, 0xFEFF, "byte order mark"),
    (0xE0000, 0xE007F, "tag character"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_forges_lines_or_moves_the_terminal_is_escaped() {
        for (text, shown) in [
            ("a\r\n\tb", r"a\r\n\tb"),
            ("\0\u{7}\u{1b}]0;title\u{7}", r"\u{0}\u{7}\u{1b}]0;title\u{7}"),
            ("\u{7f}\u{85}\u{9b}31m", r"\u{7f}\u{85}\u{9b}31m"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
            ("\u{61c}\u{200e}\u{200f}", r"\u{61c}\u{200e}\u{200f}"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", r"\u{202a}\u{202e}\u{2066}\u{2069}"),
            ("\u{200b}\u{200c}\u{200d}\u{2060}", r"\u{200b}\u{200c}\u{200d}\u{2060}"),
            ("\u{feff}\u{ad}\u{34f}\u{180e}", r"\u{feff}\u{ad}\u{34f}\u{180e}"),
            ("\u{3164}\u{ffa0}\u{fe0f}", r"\u{3164}\u{ffa0}\u{fe0f}"),
            ("\u{fff9}\u{e0041}\u{1d173}", r"\u{fff9}\u{e0041}\u{1d173}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for text in
            ["", r"C:\new `x` 'y'", "Größe e\u{301} 大 नमस्ते שלום 🙂", "1\u{a0}000", "\u{600}1"]
        {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        for (char, name) in [
            ('\u{a0}', "U+00A0 (no-break space)"),
            ('\u{feff}', "U+FEFF (byte order mark)"),
            ('\u{202e}', "U+202E (right-to-left override)"),
            ('\u{1}', "U+0001 (control character)"),
            ('\u{206a}', "U+206A (invisible character)"),
            ('\u{2800}', "U+2800 (Braille pattern blank)"),
            ('\u{e0041}', "U+E0041 (tag character)"),
        ] {
            assert_eq!(name_of_hidden(char).as_deref(), Some(name));
        }
        for char in [' ', 'a', '\\', 'é', '大', '\u{301}'] {
            assert_eq!(name_of_hidden(char), None, "{char}");
        }
    }

    #[test]
    fn every_space_and_control_of_unicode_has_a_name() {
        for char in (0..=0x10_FFFF).filter_map(char::from_u32) {
            let odd = char.is_control() || (char.is_whitespace() && char != ' ');
            assert!(!odd || name_of_hidden(char).is_some(), "{char:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_escaped_is_left(text in "[\\PC\\pC\u{200b}\\p{Zl}\n]{0,20}") {
            let shown = escaped(&text).into_owned();
            prop_assert!(!shown.chars().any(is_hidden), "{shown:?}");
            prop_assert_eq!(escaped(&shown), &*shown);
            // What could be seen before is still there, in its order.
            let mut left = shown.chars();
            for char in text.chars().filter(|char| !is_hidden(*char)) {
                prop_assert!(left.any(|it| it == char), "{shown:?}");
            }
        }
    }
}
