//! Literals: from the text of a number, string or bytes token to its value.
//!
//! The grammar has checked the token's shape; what it leaves (escapes, ranges) is checked here.

use super::tree::Literal;

type Decoded = Result<Literal, String>;

/// The value of `true`, `false` or `null`.
pub(super) fn constant(text: &str) -> Literal {
    match text {
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        _ => Literal::Null,
    }
}

/// The value of an int token, negated if a minus stands before it.
pub(super) fn int(text: &str, negative: bool) -> Decoded {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (!negative, digits),
        None => (negative, text),
    };
    let magnitude = magnitude(digits).map(i128::from);
    magnitude
        .map(|value| if negative { -value } else { value })
        .and_then(|value| i64::try_from(value).ok())
        .map(Literal::Int)
        .ok_or_else(|| {
            let help = "an int lies between -9223372036854775808 and 9223372036854775807";
            format!("`{text}` is out of range: {help}")
        })
}

/// The value of a uint token.
pub(super) fn uint(text: &str) -> Decoded {
    magnitude(text.trim_end_matches(['u', 'U']))
        .map(Literal::Uint)
        .ok_or_else(|| format!("`{text}` is out of range: a uint is at most 18446744073709551615u"))
}

fn magnitude(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The value of a double token, negated if a minus stands before it.
pub(super) fn double(text: &str, negative: bool) -> Decoded {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            Ok(Literal::Double(if negative { -value } else { value }))
        }
        _ => Err(format!("`{text}` is out of range of a double")),
    }
}

/// The value of a string token, prefix and quotes included.
pub(super) fn string(text: &str) -> Decoded {
    let (raw, inside) = unquote(text);
    if raw {
        return whole(inside).map(|inside| Literal::String(inside.to_owned()));
    }
    let mut out = String::with_capacity(inside.len());
    read_escapes(inside, &mut out, |out, unit| match unit {
        Unit::Char(char) | Unit::Unicode(char) => {
            out.push(char);
            Ok(())
        }
        // In a string `\xff` is the character U+00FF.
        Unit::Octet(octet) => {
            out.push(char::from(octet));
            Ok(())
        }
    })?;
    Ok(Literal::String(out))
}

/// The value of a bytes token, prefix and quotes included.
pub(super) fn bytes(text: &str) -> Decoded {
    let (raw, inside) = unquote(&text[1..]);
    if raw {
        return whole(inside).map(|inside| Literal::Bytes(inside.as_bytes().to_vec()));
    }
    let mut out = Vec::with_capacity(inside.len());
    read_escapes(inside, &mut out, |out, unit| match unit {
        Unit::Char(char) => {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            Ok(())
        }
        Unit::Octet(octet) => {
            out.push(octet);
            Ok(())
        }
        Unit::Unicode(_) => Err("`\\u` names a character, which bytes do not have".to_owned()),
    })?;
    Ok(Literal::Bytes(out))
}

/// Whether a string token is raw, and what stands between its quotes.
fn unquote(text: &str) -> (bool, &str) {
    let quoted = text.trim_start_matches(['r', 'R']);
    let long = quoted.starts_with("'''") || quoted.starts_with("\"\"\"");
    let width = if long { 3 } else { 1 };
    (quoted.len() < text.len(), quoted.get(width..quoted.len() - width).unwrap_or(""))
}

/// The inside of a raw string. That a backslash ends one is read differently by different engines:
/// the C++ runtime takes the quote after it for a part of the string.
fn whole(inside: &str) -> Result<&str, String> {
    let backslashes = inside.len() - inside.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        return Err("a raw string cannot end with a backslash".to_owned());
    }
    Ok(inside)
}

/// A part of a string after its escapes are read.
enum Unit {
    /// A character as written, or from an escape such as `\n`.
    Char(char),
    /// From `\x41` or `\101`.
    Octet(u8),
    /// From `\u0041` or `\U00000041`.
    Unicode(char),
}

fn read_escapes<T>(
    inside: &str,
    out: &mut T,
    mut push: impl FnMut(&mut T, Unit) -> Result<(), String>,
) -> Result<(), String> {
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        let unit = if char == '\\' { escape(&mut chars)? } else { Unit::Char(char) };
        push(out, unit)?;
    }
    Ok(())
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<Unit, String> {
    let rest = chars.as_str();
    let Some(kind) = chars.next() else { return Err("a `\\` needs a character after it".into()) };
    let mut digits = |length: usize, radix: u32, skip: usize| {
        let text: String = rest.chars().skip(skip).take(length).collect();
        let whole = text.chars().count() == length && text.chars().all(|c| c.is_digit(radix));
        for _ in 0..length + skip - 1 {
            chars.next();
        }
        let code = whole.then(|| u32::from_str_radix(&text, radix).ok()).flatten();
        code.ok_or_else(|| format!("`\\{kind}` needs {length} digits of base {radix}"))
    };
    Ok(match kind {
        '\\' | '?' | '"' | '\'' | '`' => Unit::Char(kind),
        'a' => Unit::Char('\x07'),
        'b' => Unit::Char('\x08'),
        'f' => Unit::Char('\x0C'),
        'n' => Unit::Char('\n'),
        'r' => Unit::Char('\r'),
        't' => Unit::Char('\t'),
        'v' => Unit::Char('\x0B'),
        'x' | 'X' => octet(digits(2, 16, 1)?)?,
        'u' => unicode(digits(4, 16, 1)?)?,
        'U' => unicode(digits(8, 16, 1)?)?,
        '0'..='3' => octet(digits(3, 8, 0)?)?,
        other => return Err(format!("unknown escape `\\{other}`")),
    })
}

fn octet(code: u32) -> Result<Unit, String> {
    u8::try_from(code).map(Unit::Octet).map_err(|_| "an octet is at most 255".to_owned())
}

fn unicode(code: u32) -> Result<Unit, String> {
    char::from_u32(code)
        .map(Unit::Unicode)
        .ok_or_else(|| format!("U+{code:04X} is no Unicode character"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_bytes_read_escapes_differently() {
        assert_eq!(string(r#""\xff\101\u00e9""#), Ok(Literal::String("ÿAé".into())));
        assert_eq!(bytes(r#"b"\xff\101ÿ""#), Ok(Literal::Bytes(vec![0xff, 0x41, 0xc3, 0xbf])));
        assert_eq!(string(r"r'\n'"), Ok(Literal::String("\\n".into())));
        assert_eq!(bytes(r"bR'''\n'''"), Ok(Literal::Bytes(b"\\n".to_vec())));
        assert_eq!(string("''''''"), Ok(Literal::String(String::new())));
    }

    #[test]
    fn a_bad_escape_is_named() {
        for (text, said) in [
            (r"'\s'", "unknown escape `\\s`"),
            (r"'\400'", "unknown escape `\\4`"),
            (r"'\12'", "`\\1` needs 3 digits of base 8"),
            (r"'\xf'", "`\\x` needs 2 digits of base 16"),
            (r"'\ud800'", "U+D800 is no Unicode character"),
            (r"'\U00110000'", "U+110000 is no Unicode character"),
            (r"r'\'", "a raw string cannot end with a backslash"),
        ] {
            assert_eq!(string(text), Err(said.to_owned()), "{text}");
        }
        assert!(bytes(r"b'\u0041'").is_err());
        assert!(bytes(r"br'\'").is_err());
        assert_eq!(string(r"r'\\'"), Ok(Literal::String(r"\\".into())));
    }

    #[test]
    fn the_least_int_needs_its_minus() {
        assert_eq!(int("9223372036854775808", true), Ok(Literal::Int(i64::MIN)));
        assert!(int("9223372036854775808", false).is_err());
        assert_eq!(int("-0x10", false), Ok(Literal::Int(-16)));
        assert_eq!(uint("0xFFu"), Ok(Literal::Uint(255)));
        assert!(double("1e999", false).is_err());
    }
}
