//! What can go wrong between bytes and values.

use std::fmt;

/// Bytes that could not be turned into a value (kombu's `DecodeError` and `ContentDisallowed`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The content type is known, but the application does not accept it.
    #[error("Refusing to deserialize untrusted content of type {name} ({content_type})")]
    ContentDisallowed {
        /// kombu's name of the serializer, or the MIME type where it has none.
        name: String,
        /// The MIME type found in the message.
        content_type: String,
    },
    /// The bytes are not what their content type says.
    #[error("{format}: {reason}")]
    Malformed {
        /// The serializer or compression that gave up.
        format: &'static str,
        /// What it met, and where.
        reason: String,
    },
    /// No decoder of ours for this content type; only the Python side can read it.
    #[error("no decoder for content type {0}")]
    UnknownContentType(String),
    /// No serializer of kombu's under this name.
    #[error("No encoder/decoder installed for {0}")]
    SerializerNotInstalled(String),
    /// No such compression, by name or by MIME type.
    #[error("no decoder for compression {0}")]
    UnknownCompression(String),
    /// A size or depth limit, so that hostile input cannot exhaust the process.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What was being measured.
        what: &'static str,
        /// The limit, in the unit of `what`.
        limit: usize,
    },
}

/// A value that a serializer cannot express (kombu's `EncodeError`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The format has no way to say this.
    #[error("{format}: {reason}")]
    Unsupported {
        /// The serializer that gave up.
        format: &'static str,
        /// What it could not express.
        reason: String,
    },
    /// No encoder of ours under this name.
    #[error("no encoder installed for {0}")]
    UnknownSerializer(String),
    /// No such compression, by name or by MIME type.
    #[error("no encoder for compression {0}")]
    UnknownCompression(String),
}

/// A value that is not what a Rust type takes, or a Rust type that is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    place: String,
    reason: String,
}

impl ValueError {
    /// The same error, one level further out.
    pub(crate) fn at(mut self, place: String) -> Self {
        self.place.insert_str(0, &place);
        self
    }
}

impl std::error::Error for ValueError {}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "at {}: ", self.place)?;
        }
        f.write_str(&self.reason)
    }
}

impl serde::de::Error for ValueError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { place: String::new(), reason: reason.to_string() }
    }
}

impl serde::ser::Error for ValueError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        serde::de::Error::custom(reason)
    }
}
