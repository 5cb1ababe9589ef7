//! Content types by kombu's names, and which of them an application accepts.

use crate::serialization::DecodeError;

/// kombu's name and MIME type of each serializer that this crate can read (`kombu/serialization.py`).
const SERIALIZERS: [(&str, &str); 4] = [
    ("json", "application/json"),
    ("msgpack", "application/x-msgpack"),
    ("yaml", "application/x-yaml"),
    ("pickle", "application/x-python-serialize"),
];

/// Never checked against an accept list: raw data that nothing is decoded from.
const TRUSTED: [&str; 2] = ["application/data", "application/text"];

/// The MIME types that may be decoded (`accept_content`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptContent {
    types: Vec<Box<str>>,
    registers_types: bool,
}

impl AcceptContent {
    /// A list of serializer names and MIME types.
    ///
    /// # Errors
    /// `SerializerNotInstalled` for a name without a slash that is not one of kombu's own. Serializers that Python code
    /// registers must be given by their MIME type.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, DecodeError> {
        let types = names.into_iter().map(|name| mime(name.as_ref()).map(Box::from)).collect::<Result<_, _>>()?;
        Ok(Self { types, registers_types: false })
    }

    /// Whether JSON may hold types that Python code has registered (`kombu.utils.json.register_type`), which only Python
    /// can read. Default false.
    #[must_use]
    pub fn with_registered_types(mut self, registers_types: bool) -> Self {
        self.registers_types = registers_types;
        self
    }

    /// See [`with_registered_types`](Self::with_registered_types).
    pub fn registers_types(&self) -> bool {
        self.registers_types
    }

    /// Whether bytes of this type may be decoded.
    pub fn accepts(&self, content_type: &str) -> bool {
        self.types.iter().any(|accepted| **accepted == *content_type) || TRUSTED.contains(&content_type)
    }

    /// The accepted MIME types.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(AsRef::as_ref)
    }

    /// # Errors
    /// `ContentDisallowed` when it does not.
    pub(crate) fn check(&self, content_type: &str) -> Result<(), DecodeError> {
        if self.accepts(content_type) {
            return Ok(());
        }
        Err(DecodeError::ContentDisallowed {
            name: alias(content_type).to_owned(),
            content_type: content_type.to_owned(),
        })
    }
}

impl Default for AcceptContent {
    /// Celery's default: JSON only.
    fn default() -> Self {
        Self { types: vec!["application/json".into()], registers_types: false }
    }
}

/// The MIME type of a serializer's name; MIME types stay as they are.
fn mime(name: &str) -> Result<&str, DecodeError> {
    if name.contains('/') {
        return Ok(name);
    }
    let known = SERIALIZERS.iter().find(|(alias, _)| *alias == name);
    known.map(|(_, mime)| *mime).ok_or_else(|| DecodeError::SerializerNotInstalled(name.to_owned()))
}

/// kombu's name of a MIME type, or the type itself.
fn alias(content_type: &str) -> &str {
    SERIALIZERS.iter().find(|(_, mime)| *mime == content_type).map_or(content_type, |(alias, _)| alias)
}
