//! `Content-Encoding`: bodies are decompressed up to a limit, so that a small bomb stays small.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;

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
    /// It is not what its header says.
    Corrupt(io::Error),
}

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB, the most that the format's
/// specification tells every decoder to support (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

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

    /// The body as it was before encoding. CPU-bound; not for an async task when the body is large.
    pub(super) fn decode(self, body: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
        match self {
            Encoding::Identity => read_up_to(body, max),
            Encoding::Gzip => read_up_to(MultiGzDecoder::new(body), max),
            Encoding::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(body).map_err(DecompressError::Corrupt)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(DecompressError::Corrupt)?;
                read_up_to(decoder, max)
            }
        }
    }
}

fn read_up_to(reader: impl Read, max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let limit = (max as u64).saturating_add(1);
    reader.take(limit).read_to_end(&mut out).map_err(DecompressError::Corrupt)?;
    if out.len() > max { Err(DecompressError::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let zstd = zstd::encode_all(&b"events"[..], 3).unwrap();
        assert_eq!(Encoding::Zstd.decode(&zstd, 6).unwrap(), b"events");
        let members = [gzip(b"eve"), gzip(b"nts")].concat();
        assert_eq!(Encoding::Gzip.decode(&members, 6).unwrap(), b"events");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(matches!(Encoding::Gzip.decode(&bomb, 1_000), Err(DecompressError::TooLarge)));
        let bomb = zstd::encode_all(&vec![0; 10_000_000][..], 3).unwrap();
        assert!(matches!(Encoding::Zstd.decode(&bomb, 1_000), Err(DecompressError::TooLarge)));
    }

    #[test]
    fn what_is_cut_or_something_else_is_corrupt() {
        let whole = gzip(b"some events");
        let cut = &whole[..whole.len() - 9];
        for (encoding, body) in
            [(Encoding::Gzip, cut), (Encoding::Gzip, b"plain"), (Encoding::Zstd, b"plain")]
        {
            let decoded = encoding.decode(body, 1_000);
            assert!(matches!(decoded, Err(DecompressError::Corrupt(_))), "{encoding:?}");
        }
    }
}
