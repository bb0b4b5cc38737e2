//! Base64, the standard alphabet. Padding is written, and may be missing where it is read.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::error::EvalError;
use super::super::value::{Text, Value};
use super::{Budget, Outcome, refuse};

/// Padding is right or missing; bits that a last digit has too many are nothing, as in cel-go.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(in super::super) fn base64_encode<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let [Value::Bytes(bytes)] = arguments else { return refuse("base64.encode", arguments) };
    budget.build(bytes.len().div_ceil(3) * 4)?;
    Ok(Value::String(Text::Shared(BASE64.encode(bytes).into())))
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
    BASE64.decode(text).ok()
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
            ("aGVsbG9=", Some(b"hello")),
            ("a===", None),
            ("====", None),
            ("aGVsbG8=aGVs", None),
            ("aGVs\nbG8=", None),
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
