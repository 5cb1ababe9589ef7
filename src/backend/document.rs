//! [`Format`]: documents ↔ bytes, in the app's `result_serializer` and `result_compression`.
//!
//! Unlike a message, a stored document has no header that says how it was written: readers use their own settings, and
//! compression travels in front of the bytes.

use bytes::Bytes;

use crate::{
    backend::{
        row::{Layout, Row},
        status,
    },
    protocol::{ProtocolError, ResultMeta, TaskState},
    serialization::{self, AcceptContent, DecodeError, EncodeError, Value, compression, json},
};

/// In front of a compressed document, then the MIME type of the compression, a NUL and the bytes (5.7).
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// Encodes a document without compression; `rpc://` sends it like that.
///
/// # Errors
/// [`EncodeError`] for a result that the serializer cannot express: the task is then a failure.
pub fn encode(meta: &ResultMeta, serializer: &str) -> Result<Bytes, EncodeError> {
    if serializer == "json" && meta.extended.is_empty() {
        return encode_json(meta);
    }
    Ok(serialization::encode(&meta.to_value(), serializer)?.body)
}

/// The common case without a [`Value`] in between: this is done for every native task.
fn encode_json(meta: &ResultMeta) -> Result<Bytes, EncodeError> {
    let mut out = String::with_capacity(256);
    out.push_str("{\"status\": ");
    json::write_str(&mut out, meta.state.as_str());
    out.push_str(", \"result\": ");
    json::write(&mut out, &meta.result)?;
    write_text(&mut out, "traceback", meta.traceback.as_deref());
    out.push_str(", \"children\": ");
    match meta.children.as_deref() {
        None => out.push_str("null"),
        Some([]) => out.push_str("[]"),
        Some(children) => json::write(&mut out, &Value::List(children.to_vec()))?,
    }
    write_text(&mut out, "date_done", meta.date_done.as_deref());
    for (name, id) in [("group_id", &meta.group_id), ("parent_id", &meta.parent_id)] {
        if let Some(id) = id.as_deref().filter(|id| !id.is_empty()) {
            write_text(&mut out, name, Some(id));
        }
    }
    write_text(&mut out, "task_id", Some(&meta.task_id));
    out.push('}');
    Ok(out.into())
}

fn write_text(out: &mut String, name: &str, text: Option<&str>) {
    out.extend([", \"", name, "\": "]);
    match text {
        Some(text) => json::write_str(out, text),
        None => out.push_str("null"),
    }
}

/// How the documents of an app are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// `result_serializer`, by kombu's name. Default `json`.
    pub serializer: String,
    /// `result_compression`, by kombu's name; none is off, the default.
    pub compression: Option<String>,
    /// `result_accept_content` or `accept_content`. Default JSON only.
    pub accept: AcceptContent,
    /// Documents are rows of a database; none is the default: one piece.
    pub layout: Option<Layout>,
}

impl Default for Format {
    fn default() -> Self {
        Self { serializer: "json".to_owned(), compression: None, accept: AcceptContent::default(), layout: None }
    }
}

impl Format {
    /// The bytes that are stored for a document.
    ///
    /// # Errors
    /// As [`encode`], and for an unknown compression.
    pub fn encode(&self, meta: &ResultMeta) -> Result<Bytes, EncodeError> {
        if let Some(layout) = self.layout {
            return Row::of(meta, self, layout)?.encode();
        }
        self.compressed(encode(meta, &self.serializer)?)
    }

    /// The bytes that are stored for any value, a chord part's for example.
    ///
    /// # Errors
    /// As [`Format::encode`].
    pub fn encode_value(&self, value: &Value) -> Result<Bytes, EncodeError> {
        self.compressed(serialization::encode(value, &self.serializer)?.body)
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// [`ProtocolError`] for bytes in another serializer, or that are no document.
    pub fn decode(&self, document: &[u8]) -> Result<ResultMeta, ProtocolError> {
        if let Some(layout) = self.layout {
            return Row::decode(document)?.meta(self, layout);
        }
        ResultMeta::from_value(self.decode_value(document)?)
    }

    /// Reads any stored value.
    ///
    /// # Errors
    /// [`DecodeError`], also for a serializer that is not accepted.
    pub fn decode_value(&self, document: &[u8]) -> Result<Value, DecodeError> {
        let (content_type, content_encoding) = self.content()?;
        match decompressed(document)? {
            Some(document) => serialization::decode(&document, content_type, content_encoding, &self.accept),
            None => serialization::decode(document, content_type, content_encoding, &self.accept),
        }
    }

    /// The state in a stored document. Pickles are only looked at: what else is in them may be Python's alone.
    ///
    /// # Errors
    /// As [`Format::decode`].
    pub fn status_of(&self, document: &[u8]) -> Result<TaskState, ProtocolError> {
        if self.serializer != "pickle" && self.layout.is_none() {
            return Ok(self.decode(document)?.state);
        }
        let plain = decompressed(document)?;
        match status::of_pickle(plain.as_deref().unwrap_or(document)) {
            Some(word) => Ok(TaskState::from(word)),
            None if self.layout.is_some() => Ok(TaskState::from(Row::decode(document)?.status.as_str())),
            None => Ok(self.decode(document)?.state),
        }
    }

    /// MIME type and encoding of what [`encode`] writes.
    ///
    /// # Errors
    /// [`DecodeError::SerializerNotInstalled`] for a serializer that only Python has.
    pub fn content(&self) -> Result<(&'static str, &'static str), DecodeError> {
        Ok(match self.serializer.as_str() {
            "json" => ("application/json", "utf-8"),
            "yaml" => ("application/x-yaml", "utf-8"),
            "msgpack" => ("application/x-msgpack", "binary"),
            "pickle" => ("application/x-python-serialize", "binary"),
            other => return Err(DecodeError::SerializerNotInstalled(other.to_owned())),
        })
    }

    fn compressed(&self, document: Bytes) -> Result<Bytes, EncodeError> {
        let Some(name) = &self.compression else { return Ok(document) };
        let (packed, mime) = compression::compress(name, &document)?;
        Ok([COMPRESSED, mime.as_bytes(), b"\0", &packed].concat().into())
    }
}

/// The document without its compression; none when it has none.
fn decompressed(document: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(rest) = document.strip_prefix(COMPRESSED) else { return Ok(None) };
    let end = memchr::memchr(0, rest).unwrap_or(rest.len());
    let mime = String::from_utf8_lossy(&rest[..end]);
    let packed = rest.get(end + 1..).unwrap_or_default();
    compression::decompress(&mime, packed, compression::MAX_SIZE).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::Map;

    fn meta() -> ResultMeta {
        ResultMeta {
            date_done: Some("2026-11-20T17:41:23.655378+00:00".into()),
            ..ResultMeta::new("id", TaskState::Success, 3.into())
        }
    }

    #[test]
    fn writes_fields_in_celerys_order() {
        let extended = [("name", "add".into()), ("args", vec![1, 2].into()), ("worker", "w@h".into())];
        let mut meta = meta();
        meta.children = Some(vec![]);
        meta.group_id = Some("g".into());
        meta.parent_id = Some(String::new());
        meta.extended = extended.into_iter().map(|(k, v): (_, Value)| (k.to_owned(), v)).collect::<Map>();
        let text = r#"{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], "date_done": "2026-11-20T17:41:23.655378+00:00", "group_id": "g", "name": "add", "args": [1, 2], "worker": "w@h", "task_id": "id"}"#;
        assert_eq!(encode(&meta, "json").unwrap(), text);
    }

    #[test]
    fn the_short_way_writes_the_same() {
        let children = Some(vec![Value::List(vec!["a\"b".into(), Value::Null])]);
        let plain =
            ResultMeta { children, traceback: Some("line\nline é".into()), group_id: Some("g".into()), ..meta() };
        for meta in [ResultMeta::new("x", TaskState::Custom("\"ODD\"".into()), Value::Null), plain, meta()] {
            assert_eq!(encode(&meta, "json").unwrap(), json::to_string(&meta.to_value()).unwrap());
        }
    }

    #[test]
    fn compression_travels_in_front() {
        for name in ["gzip", "bzip2", "lzma", "brotli", "zstd"] {
            let format = Format { compression: Some(name.into()), ..Format::default() };
            let document = format.encode(&meta()).unwrap();
            assert!(document.starts_with(b"\0celery-compressed\0application/"));
            assert_eq!(Format::default().decode(&document).unwrap(), meta(), "a reader needs no setting");
            assert_eq!(format.status_of(&document).unwrap(), TaskState::Success);
        }
    }

    #[test]
    fn rubbish_is_an_error() {
        let format = Format::default();
        let cases: [&[u8]; 6] = [
            b"",
            b"{",
            b"[1]",
            b"\0celery-compressed\0",
            b"\0celery-compressed\0application/x-gzip",
            b"\0celery-compressed\0x\0y",
        ];
        for bytes in cases {
            assert!(format.decode(bytes).is_err(), "{bytes:?}");
        }
        let mute = Format { serializer: "custom".into(), ..Format::default() };
        assert!(mute.decode(b"{}").is_err());
    }
}
