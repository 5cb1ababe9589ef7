//! What real Celery has sent and stored, as `protocol-fixtures/capture.py` wrote it down.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use celery_rs::{
    protocol::{Headers, Message, Properties},
    serialization::{Map, Value, json},
};

/// One row of a file, with where it is from.
pub struct Row {
    /// Celery's minor version and the row's name.
    pub place: String,
    row: Map,
}

/// The rows of one file in all captured versions.
pub fn rows(file: &str) -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-fixtures");
    let mut versions: Vec<_> = fs::read_dir(&root).expect("protocol-fixtures is there").flatten().collect();
    versions.retain(|entry| entry.path().is_dir());
    assert!(versions.len() >= 3, "fixtures of at least three versions of Celery");
    versions.iter().flat_map(|version| read(&version.path(), file)).collect()
}

fn read(version: &Path, file: &str) -> Vec<Row> {
    let text = fs::read(version.join(format!("{file}.json"))).expect("the fixture file is there");
    let Ok(Value::Map(mut document)) = json::parse(&text) else { panic!("a fixture file is an object") };
    let Some(Value::List(rows)) = document.swap_remove("rows") else { panic!("a fixture file has rows") };
    let version = version.file_name().expect("a name").to_string_lossy().into_owned();
    rows.into_iter()
        .map(|row| {
            let Value::Map(row) = row else { panic!("a row is an object") };
            Row { place: format!("{version} {}", row["name"].as_str().expect("a name")), row }
        })
        .collect()
}

impl Row {
    /// A field of text.
    pub fn text(&self, field: &str) -> &str {
        self.maybe_text(field).unwrap_or_else(|| panic!("{} has {field}", self.place))
    }

    /// A field of text, unless it is null.
    pub fn maybe_text(&self, field: &str) -> Option<&str> {
        self.row[field].as_str()
    }

    /// A field of base64, unless it is null.
    pub fn bytes(&self, field: &str) -> Option<Bytes> {
        self.maybe_text(field).map(unpack)
    }

    /// A field that is an object of base64.
    pub fn each(&self, field: &str) -> Vec<(&str, Bytes)> {
        let map = self.row[field].as_map().expect("an object");
        map.iter().map(|(key, value)| (key.as_str(), unpack(value.as_str().expect("base64")))).collect()
    }

    /// The message in the envelope of kombu's virtual transports.
    pub fn message(&self) -> Message {
        let envelope = json::parse_str(self.text("envelope")).expect("an envelope");
        let envelope = envelope.as_map().expect("an object");
        let text = |field: &str| envelope[field].as_str().map(str::to_owned);
        let properties = Properties {
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
            ..Properties::default()
        };
        let headers = envelope["headers"].as_map().expect("headers").clone();
        Message { headers: Headers::new(headers), properties, body: unpack(&text("body").expect("a body")) }
    }
}

/// Bytes from base64.
pub fn unpack(text: &str) -> Bytes {
    STANDARD.decode(text).expect("base64").into()
}
