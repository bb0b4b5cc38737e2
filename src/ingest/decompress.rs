//! `Content-Encoding`: bodies are decompressed up to a limit, so that a small bomb stays small.

use std::fmt;
use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

use crate::budget::{Held, OverBudget};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Why a body could not be decompressed.
#[derive(Debug)]
pub(super) enum DecompressError {
    /// It has more bytes than allowed.
    TooLarge,
    /// It asks for more memory than a zstd decoder must give.
    WindowTooLarge,
    /// It takes more memory than there is for it.
    OverBudget(OverBudget),
    /// It is not what its header says.
    Corrupt(io::Error),
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecompressError::TooLarge => f.write_str("the decompressed body is too large"),
            DecompressError::WindowTooLarge => write!(
                f,
                "the body's zstd window is larger than {} bytes, the most that is taken: compress it \
                 without `--ultra` and `--long`, or with `--long={ZSTD_WINDOW_LOG_MAX}`",
                1 << ZSTD_WINDOW_LOG_MAX
            ),
            DecompressError::OverBudget(error) => error.fmt(f),
            DecompressError::Corrupt(error) => error.fmt(f),
        }
    }
}

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB, the most that the format's
/// specification tells every decoder to support (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What libzstd says of a window past the limit (`ZSTD_getErrorName`).
const ZSTD_WINDOW_REFUSED: &str = "Frame requires too much memory for decoding";

impl Encoding {
    /// Reads the header; the header's text if we do not know it.
    pub(super) fn of(headers: &HeaderMap) -> Result<Encoding, String> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Encoding::Identity) };
        let text = value.to_str().unwrap_or("?").trim();
        if values.next().is_some() {
            return Err(format!("{text}, …"));
        }
        match text.to_ascii_lowercase().as_str() {
            "identity" | "" => Ok(Encoding::Identity),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            _ => Err(text.to_owned()),
        }
    }

    /// The body as it was before encoding; what it has counts as held from the moment that it is there.
    /// CPU-bound; not for an async task when the body is large.
    pub(super) fn decode(
        self,
        body: &[u8],
        max: usize,
        held: &Held,
    ) -> Result<Vec<u8>, DecompressError> {
        match self {
            Encoding::Identity => read_up_to(body, max, held),
            Encoding::Gzip => read_up_to(MultiGzDecoder::new(body), max, held),
            Encoding::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(body).map_err(DecompressError::Corrupt)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(DecompressError::Corrupt)?;
                read_up_to(decoder, max, held).map_err(|error| match error {
                    // The library tells by its words only; a test holds them.
                    DecompressError::Corrupt(error) if error.to_string() == ZSTD_WINDOW_REFUSED => {
                        DecompressError::WindowTooLarge
                    }
                    error => error,
                })
            }
        }
    }
}

/// So many bytes are asked for at a time.
const STEP: usize = 64 << 10;

fn read_up_to(reader: impl Read, max: usize, held: &Held) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let mut reader = reader.take((max as u64).saturating_add(1));
    loop {
        let read = reader.by_ref().take(STEP as u64).read_to_end(&mut out);
        let read = read.map_err(DecompressError::Corrupt)?;
        if read == 0 {
            return Ok(out);
        }
        if out.len() > max {
            return Err(DecompressError::TooLarge);
        }
        held.grow(read).map_err(DecompressError::OverBudget)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::budget::Budget;

    fn held() -> Held {
        Budget::unbounded().hold()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let zstd = zstd::encode_all(&b"events"[..], 3).unwrap();
        assert_eq!(Encoding::Zstd.decode(&zstd, 6, &held()).unwrap(), b"events");
        let members = [gzip(b"eve"), gzip(b"nts")].concat();
        assert_eq!(Encoding::Gzip.decode(&members, 6, &held()).unwrap(), b"events");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(matches!(
            Encoding::Gzip.decode(&bomb, 1_000, &held()),
            Err(DecompressError::TooLarge)
        ));
        let bomb = zstd::encode_all(&vec![0; 10_000_000][..], 3).unwrap();
        assert!(matches!(
            Encoding::Zstd.decode(&bomb, 1_000, &held()),
            Err(DecompressError::TooLarge)
        ));
    }

    #[test]
    fn a_zstd_window_past_the_limit_is_refused_by_its_name_and_one_at_the_limit_is_taken() {
        let encoded = |window_log| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(&[b'x'; 1_000]).unwrap();
            encoder.finish().unwrap()
        };
        let decoded = |window_log| Encoding::Zstd.decode(&encoded(window_log), 10_000, &held());
        assert_eq!(decoded(ZSTD_WINDOW_LOG_MAX).unwrap(), [b'x'; 1_000]);
        let refused = decoded(ZSTD_WINDOW_LOG_MAX + 1).unwrap_err();
        assert!(matches!(refused, DecompressError::WindowTooLarge), "{refused}");
        assert!(refused.to_string().contains("larger than 8388608 bytes"), "{refused}");
    }

    #[test]
    fn what_is_cut_or_something_else_is_corrupt() {
        let whole = gzip(b"some events");
        let cut = &whole[..whole.len() - 9];
        for (encoding, body) in
            [(Encoding::Gzip, cut), (Encoding::Gzip, b"plain"), (Encoding::Zstd, b"plain")]
        {
            let decoded = encoding.decode(body, 1_000, &held());
            assert!(matches!(decoded, Err(DecompressError::Corrupt(_))), "{encoding:?}");
        }
    }
}
