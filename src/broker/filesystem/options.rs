//! [`FilesystemOptions`]: `broker_transport_options` as kombu's file system transport reads them.

use std::{path::PathBuf, time::Duration};

use crate::{
    broker::{
        BrokerError,
        transport_option::{body_encoding, seconds, text},
    },
    serialization::{Map, Value},
};

/// The shortest time between two looks, whatever `polling_interval` says: kombu with 0 would never sleep.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// Options of the file system transport, with kombu's names and defaults (`kombu/transport/filesystem.py:Channel`). Relative
/// paths are relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemOptions {
    /// Where messages are read from. Default: `data_in`.
    pub data_folder_in: PathBuf,
    /// Where messages are written to. Default: `data_out`. A worker and its clients have the same folder for both, or each
    /// other's.
    pub data_folder_out: PathBuf,
    /// Whether the files of messages that were taken are kept. Default: no.
    pub store_processed: bool,
    /// Where. Default: `processed`.
    pub processed_folder: PathBuf,
    /// Where the tables of exchanges lie. Default: `control`; it is made when there is something to bind.
    pub control_folder: PathBuf,
    /// How often to look for messages of which the kernel does not tell. Default: 1 s.
    pub polling_interval: Duration,
    /// Whether bodies are written in base64 (`body_encoding`). Default: yes.
    pub base64_bodies: bool,
    /// Where messages go that no binding of a direct exchange matches. Default: nowhere.
    pub deadletter_queue: Option<String>,
}

impl Default for FilesystemOptions {
    fn default() -> Self {
        Self {
            data_folder_in: "data_in".into(),
            data_folder_out: "data_out".into(),
            store_processed: false,
            processed_folder: "processed".into(),
            control_folder: "control".into(),
            polling_interval: Duration::from_secs(1),
            base64_bodies: true,
            deadletter_queue: None,
        }
    }
}

impl FilesystemOptions {
    /// Reads `broker_transport_options`. Other options are ignored, as kombu does.
    ///
    /// # Errors
    /// A value on which kombu would fail later, of kind [`Unusable`](crate::broker::BrokerErrorKind::Unusable).
    pub fn from_settings(settings: &Map) -> Result<Self, BrokerError> {
        let mut options = Self::default();
        for (key, value) in settings {
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        match key {
            "data_folder_in" => self.data_folder_in = path(key, value)?,
            "data_folder_out" => self.data_folder_out = path(key, value)?,
            "processed_folder" => self.processed_folder = path(key, value)?,
            "control_folder" => self.control_folder = path(key, value)?,
            "store_processed" => self.store_processed = value.is_truthy(),
            "polling_interval" if !value.is_null() => self.polling_interval = seconds(key, value)?.max(SHORTEST_POLL),
            "body_encoding" => self.base64_bodies = body_encoding(value)?,
            "deadletter_queue" if !value.is_null() => self.deadletter_queue = Some(text(key, value)?),
            _ => {}
        }
        Ok(())
    }
}

fn path(key: &str, value: &Value) -> Result<PathBuf, BrokerError> {
    text(key, value).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    fn options(text: &str) -> Result<FilesystemOptions, BrokerError> {
        let value = json::parse(text.as_bytes()).expect("JSON");
        FilesystemOptions::from_settings(value.as_map().expect("an object"))
    }

    #[test]
    fn kombus_names_are_understood_and_others_ignored() {
        assert_eq!(options(r#"{"visibility_timeout": 5, "max_retries": {}}"#).unwrap(), FilesystemOptions::default());
        let read = options(
            r#"{"data_folder_in": "/q", "data_folder_out": "q/", "store_processed": 1, "processed_folder": "done",
                "control_folder": "tables", "polling_interval": 0.5, "body_encoding": null, "deadletter_queue": "lost"}"#,
        );
        let expected = FilesystemOptions {
            data_folder_in: "/q".into(),
            data_folder_out: "q/".into(),
            store_processed: true,
            processed_folder: "done".into(),
            control_folder: "tables".into(),
            polling_interval: Duration::from_millis(500),
            base64_bodies: false,
            deadletter_queue: Some("lost".to_owned()),
        };
        assert_eq!(read.unwrap(), expected);
        assert_eq!(options(r#"{"polling_interval": 0}"#).unwrap().polling_interval, SHORTEST_POLL);
    }

    #[test]
    fn what_kombu_would_fail_on_is_refused_by_name() {
        for (text, key) in [
            (r#"{"data_folder_in": null}"#, "data_folder_in"),
            (r#"{"control_folder": 5}"#, "control_folder"),
            (r#"{"polling_interval": -1}"#, "polling_interval"),
            (r#"{"body_encoding": "rot13"}"#, "body_encoding"),
        ] {
            let error = options(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
