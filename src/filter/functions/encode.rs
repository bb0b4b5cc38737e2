//! Base64, the standard alphabet. Padding is written, and may be missing where it is read.

use super::super::error::EvalError;
use super::super::value::{Text, Value};
use super::{Budget, Outcome, refuse};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(in super::super) fn base64_encode<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::Bytes(bytes)] = arguments else { return refuse("base64.encode", arguments) };
    budget.build(bytes.len().div_ceil(3) * 4)?;
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let present = digit <= chunk.len();
            text.push(if present { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    Ok(Value::String(Text::Shared(text.into())))
}

pub(in super::super) fn base64_decode<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::String(text)] = arguments else { return refuse("base64.decode", arguments) };
    budget.build(text.len())?;
    match decode(text) {
        Some(bytes) => Ok(Value::Bytes(bytes.into())),
        None => Err(EvalError::invalid("base64", text)),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let padded = padding == 0 || text.len().is_multiple_of(4) && padding <= 2;
    if !padded || digits.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::with_capacity(text.len() / 4 * 3 + 2));
    for byte in digits.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_may_be_missing_but_not_wrong() {
        for (text, bytes) in [
            ("aGVsbG8=", Some(&b"hello"[..])),
            ("aGVsbG8", Some(b"hello")),
            ("", Some(b"")),
            ("a", None),
            ("aGVsbG8==", None),
            ("a===", None),
            ("aGVsb-8=", None),
            ("aGVs bG8=", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in any::<Vec<u8>>()) {
            let encoded = base64_encode(&[Value::Bytes(bytes.clone().into())], &mut Budget::new());
            let Ok(Value::String(text)) = encoded else { panic!("it encodes") };
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
