//! [`AppCredentials`]: credentials of Redis brokers by the app's own classes, which the steward asks.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::{
    broker::{CredentialProvider, Credentials},
    ipc::Errand,
    pool::Steward,
    serialization::{Map, Value, json},
};

/// How long an attempt to connect waits for an answer: the steward may have much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cheap to clone; nobody can be asked until the worker is assembled, nor without a Python app. The other half is
/// `python/celery_rs/credentials.py`.
#[derive(Debug, Clone, Default)]
pub(super) struct AppCredentials {
    steward: Arc<OnceLock<Steward>>,
}

impl AppCredentials {
    /// To be called once.
    pub(super) fn ask_through(&self, steward: Steward) {
        let _ = self.steward.set(steward);
    }
}

impl CredentialProvider for AppCredentials {
    fn credentials<'a>(&'a self, class: &'a str) -> BoxFuture<'a, Result<Credentials, String>> {
        Box::pin(async move {
            let steward = self.steward.get().ok_or("there is no Python that could be asked")?;
            let arguments = Map::from_iter([("provider".to_owned(), Value::from(class))]);
            let arguments = json::to_string(&Value::Map(arguments)).map_err(|error| error.to_string())?;
            let errand = Errand { name: "credentials".to_owned(), arguments: arguments.into(), job: None };
            let answer = timeout(PATIENCE, steward.call(errand)).await.map_err(|_| "it does not answer")?;
            let answer = answer.map_err(|error| error.to_string())?;
            read(&answer).ok_or_else(|| "it gave neither (username, password) nor (password,)".to_owned())
        })
    }
}

/// A pair of texts or nothing.
fn read(answer: &[u8]) -> Option<Credentials> {
    let answer = json::parse(answer).ok()?;
    let text = |value: &Value| match value {
        Value::Null => Some(None),
        Value::Str(text) => Some(Some(text.clone())),
        _ => None,
    };
    match answer.as_list()? {
        [username, password] => Some(Credentials { username: text(username)?, password: text(password)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let both = Credentials { username: Some("u".to_owned()), password: Some("p".to_owned()) };
        assert_eq!(read(br#"["u", "p"]"#), Some(both));
        let password = Credentials { username: None, password: Some("p".to_owned()) };
        assert_eq!(read(br#"[null, "p"]"#), Some(password));
        for answer in ["", "null", "[]", r#"["u"]"#, r#"["u", 1]"#, r#"["u", "p", "x"]"#] {
            assert_eq!(read(answer.as_bytes()), None, "{answer}");
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_too_early() {
        assert!(AppCredentials::default().credentials("shop.Provider").await.is_err());
    }
}
