//! kombu's compression registry (`kombu/compression.py`). Note that `gzip` is a zlib stream there, without gzip's framing.

use std::io::{self, Read};

use flate2::read::{ZlibDecoder, ZlibEncoder};

use crate::serialization::{DecodeError, EncodeError};

/// Bytes that a decompressed body may have unless the caller knows better.
pub const MAX_SIZE: usize = 512 << 20;

/// Memory that an xz stream may ask its decoder for.
const MAX_LZMA_MEMORY: u64 = 256 << 20;

#[derive(Clone, Copy)]
enum Method {
    Zlib,
    Bzip2,
    Lzma,
    Brotli,
    Zstd,
}

/// Compresses with a method by its alias or MIME type; the MIME type is what the `compression` header is to say.
///
/// # Errors
/// `UnknownCompression` for a name that kombu does not have either.
pub fn compress(name: &str, data: &[u8]) -> Result<(Vec<u8>, &'static str), EncodeError> {
    let method = method(name).ok_or_else(|| EncodeError::UnknownCompression(name.to_owned()))?;
    let failed = |error: io::Error| EncodeError::Unsupported { format: mime(method), reason: error.to_string() };
    Ok((deflate(method, data).map_err(failed)?, mime(method)))
}

/// Decompresses with a method by its alias or MIME type, into at most `limit` bytes.
///
/// # Errors
/// `UnknownCompression`, `Malformed` for corrupt and cut streams, `TooLarge`.
pub fn decompress(name: &str, data: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let method = method(name).ok_or_else(|| DecodeError::UnknownCompression(name.to_owned()))?;
    let mut out = Vec::new();
    let failed = |error: io::Error| DecodeError::Malformed { format: mime(method), reason: error.to_string() };
    inflater(method, data).map_err(failed)?.take(limit as u64 + 1).read_to_end(&mut out).map_err(failed)?;
    if out.len() > limit {
        return Err(DecodeError::TooLarge { what: "decompressed body", limit });
    }
    Ok(out)
}

fn method(name: &str) -> Option<Method> {
    Some(match name {
        "gzip" | "zlib" | "application/x-gzip" => Method::Zlib,
        "bzip2" | "bzip" | "application/x-bz2" => Method::Bzip2,
        "lzma" | "xz" | "application/x-lzma" => Method::Lzma,
        "brotli" | "application/x-brotli" => Method::Brotli,
        "zstd" | "zstandard" | "application/zstd" => Method::Zstd,
        _ => return None,
    })
}

fn mime(method: Method) -> &'static str {
    match method {
        Method::Zlib => "application/x-gzip",
        Method::Bzip2 => "application/x-bz2",
        Method::Lzma => "application/x-lzma",
        Method::Brotli => "application/x-brotli",
        Method::Zstd => "application/zstd",
    }
}

/// The levels are those that Python's modules use by themselves.
fn deflate(method: Method, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match method {
        Method::Zlib => ZlibEncoder::new(data, flate2::Compression::new(6)).read_to_end(&mut out)?,
        Method::Bzip2 => bzip2::read::BzEncoder::new(data, bzip2::Compression::best()).read_to_end(&mut out)?,
        Method::Lzma => liblzma::read::XzEncoder::new(data, 6).read_to_end(&mut out)?,
        Method::Brotli => brotli::CompressorReader::new(data, 4096, 11, 22).read_to_end(&mut out)?,
        Method::Zstd => return zstd::encode_all(data, 3),
    };
    Ok(out)
}

fn inflater<'a>(method: Method, data: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match method {
        Method::Zlib => Box::new(ZlibDecoder::new(data)),
        Method::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(data)),
        Method::Lzma => Box::new(liblzma::read::XzDecoder::new_stream(data, lzma_stream()?)),
        Method::Brotli => Box::new(brotli::Decompressor::new(data, 4096)),
        Method::Zstd => Box::new(zstd::Decoder::with_buffer(data)?),
    })
}

/// xz and the older `.lzma`, one stream or several, as `lzma.decompress` takes them.
fn lzma_stream() -> io::Result<liblzma::stream::Stream> {
    Ok(liblzma::stream::Stream::new_auto_decoder(MAX_LZMA_MEMORY, liblzma::stream::CONCATENATED)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, &str); 9] = [
        ("gzip", "application/x-gzip"),
        ("zlib", "application/x-gzip"),
        ("bzip2", "application/x-bz2"),
        ("bzip", "application/x-bz2"),
        ("lzma", "application/x-lzma"),
        ("xz", "application/x-lzma"),
        ("brotli", "application/x-brotli"),
        ("zstd", "application/zstd"),
        ("zstandard", "application/zstd"),
    ];

    #[test]
    fn what_goes_in_comes_out() {
        for data in [&b""[..], b"x", &[7; 100_000]] {
            for (name, expected) in NAMES {
                let (packed, mime) = compress(name, data).unwrap();
                assert_eq!(mime, expected);
                assert_eq!(decompress(name, &packed, MAX_SIZE).unwrap(), data, "{name}");
                assert_eq!(decompress(mime, &packed, data.len()).unwrap(), data, "{mime}");
            }
        }
    }

    #[test]
    fn bombs_and_rubbish_are_errors() {
        for (name, _) in NAMES {
            let (packed, _) = compress(name, &[0; 1 << 20]).unwrap();
            let too_large = DecodeError::TooLarge { what: "decompressed body", limit: 4096 };
            assert_eq!(decompress(name, &packed, 4096).unwrap_err(), too_large, "{name}");
            assert!(decompress(name, &packed[..packed.len() - 4], MAX_SIZE).is_err(), "{name} cut");
            assert!(decompress(name, b"rubbish!", MAX_SIZE).is_err(), "{name} rubbish");
        }
        assert!(compress("snappy", b"").is_err());
        assert!(decompress("snappy", b"", 1).is_err());
    }

    #[test]
    fn gzip_is_a_zlib_stream() {
        assert_eq!(compress("gzip", b"{}").unwrap().0[..2], [0x78, 0x9c]);
    }
}
