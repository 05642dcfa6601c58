//! Which compression a client takes, and the bytes in it.
//!
//! gzip as well as brotli: browsers offer brotli to secure origins only, and `http://192.168.…` is not one.

use std::io::{Read, Write};

use axum::http::{HeaderMap, header};
use bytes::Bytes;

/// Files smaller than this travel in one packet anyhow.
const WORTHWHILE_BYTES: usize = 1_024;
const BROTLI_QUALITY: i32 = 9;
const BROTLI_WINDOW_BITS: i32 = 22;
const GZIP_LEVEL: u32 = 6;
const READ_BUFFER: usize = 64 * 1024;

/// One file in every form that it is served in.
pub(super) struct Encoded {
    pub(super) plain: Bytes,
    pub(super) brotli: Option<Bytes>,
    pub(super) gzip: Option<Bytes>,
}

impl Encoded {
    /// Compresses `plain` if that is worth it, with brotli unless `given` is that already.
    pub(super) fn new(plain: impl Into<Bytes>, compressible: Compressible, given: Option<Bytes>) -> Self {
        let plain = plain.into();
        let given = given.filter(|given| given.len() < plain.len() && is_brotli_of(given, &plain));
        let (brotli, gzip) = match compressible {
            Compressible::Yes if plain.len() >= WORTHWHILE_BYTES => (given.or_else(|| brotli(&plain)), gzip(&plain)),
            Compressible::Yes | Compressible::No => (None, None),
        };
        Self { plain, brotli, gzip }
    }

    /// The best form that the client takes, and the name of its `Content-Encoding`.
    pub(super) fn for_client(&self, headers: &HeaderMap) -> (Bytes, Option<&'static str>) {
        for (form, name) in [(&self.brotli, "br"), (&self.gzip, "gzip")] {
            if let Some(bytes) = form
                && accepts(headers, name)
            {
                return (bytes.clone(), Some(name));
            }
        }
        (self.plain.clone(), None)
    }
}

/// Whether a kind of file shrinks when compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressible {
    /// Text, WebAssembly.
    Yes,
    /// Compressed by its format.
    No,
}

/// RFC 9110, 12.5.3, without `*`: whoever wants a coding names it.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let offers = headers
        .get_all(header::ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)));
        named && !refused
    })
}

/// Whether `compressed` is `plain`, and not that of another build.
fn is_brotli_of(compressed: &[u8], plain: &[u8]) -> bool {
    let mut decompressed = brotli::Decompressor::new(compressed, READ_BUFFER).take(plain.len() as u64 + 1);
    let mut found = Vec::with_capacity(plain.len() + 1);
    decompressed.read_to_end(&mut found).is_ok() && found == plain
}

fn brotli(plain: &[u8]) -> Option<Bytes> {
    let mut compressed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW_BITS,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &*plain, &mut compressed, &parameters).ok()?;
    smaller(compressed, plain)
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(plain).ok()?;
    smaller(encoder.finish().ok()?, plain)
}

fn smaller(compressed: Vec<u8>, plain: &[u8]) -> Option<Bytes> {
    (compressed.len() < plain.len()).then(|| compressed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())])
    }

    #[test]
    fn when_a_client_offers_codings_it_gets_the_best_of_them() {
        let file = Encoded::new(b"peerway ".repeat(1_000), Compressible::Yes, None);
        for (offer, expected) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("GZIP;q=0.5", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("br;q=0.0", None),
            ("identity", None),
            ("brotli, gzipped", None),
            ("", None),
        ] {
            assert_eq!(file.for_client(&offering(offer)).1, expected, "{offer}");
        }
    }

    #[test]
    fn when_decompressed_every_form_is_the_file() {
        let plain = b"peerway ".repeat(1_000);
        let file = Encoded::new(plain.clone(), Compressible::Yes, None);
        let mut from_gzip = Vec::new();
        let gzip = file.gzip.unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(&*gzip), &mut from_gzip).unwrap();
        assert_eq!(from_gzip, plain);
        let mut from_brotli = Vec::new();
        brotli::BrotliDecompress(&mut &*file.brotli.unwrap(), &mut from_brotli).unwrap();
        assert_eq!(from_brotli, plain);
    }

    #[test]
    fn when_a_compressed_form_is_given_it_is_served_if_it_is_the_file() {
        let plain = b"peerway ".repeat(1_000);
        let served = |given: Bytes| {
            Encoded::new(plain.clone(), Compressible::Yes, Some(given))
                .brotli
                .unwrap()
        };
        let mut given = Vec::new();
        let parameters = brotli::enc::BrotliEncoderParams {
            quality: 1,
            ..Default::default()
        };
        brotli::BrotliCompress(&mut &*plain, &mut given, &parameters).unwrap();
        let given = Bytes::from(given);
        assert_eq!(served(given.clone()), given);
        let own = brotli(&plain).unwrap();
        assert_ne!(own, given);
        let of_another = brotli(&b"relayed ".repeat(1_000)).unwrap();
        let of_a_longer_one = brotli(&b"peerway ".repeat(100_000)).unwrap();
        for wrong in [
            of_another,
            of_a_longer_one,
            given.slice(..given.len() - 1),
            Bytes::from_static(b"no"),
        ] {
            assert_eq!(served(wrong), own);
        }
    }

    #[test]
    fn when_compression_gains_nothing_the_file_stays_plain() {
        for file in [
            Encoded::new(vec![7; 5_000], Compressible::No, None),
            Encoded::new(vec![7; 10], Compressible::Yes, None),
        ] {
            assert_eq!(file.for_client(&offering("br, gzip")).1, None);
        }
    }
}
