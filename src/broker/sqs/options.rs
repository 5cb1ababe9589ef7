//! [`SqsOptions`]: `broker_transport_options` as kombu's SQS transport reads them.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    broker::{
        BrokerError,
        sqs::predefined::PredefinedQueue,
        transport_option::{body_encoding, refused, seconds, text},
    },
    serialization::{Map, Value},
};

/// What `client-config` may say that means nothing here: how botocore manages its own sockets and names.
const OF_BOTOCORE: [&str; 5] =
    ["max_pool_connections", "parameter_validation", "tcp_keepalive", "user_agent", "user_agent_extra"];

/// The longest that SQS waits for a message.
const LONGEST_WAIT: u16 = 20;
/// The longest that SQS hides one.
const LONGEST_VISIBILITY: u64 = 12 * 60 * 60;

/// Options of the SQS transport, with kombu's names and defaults (`kombu/transport/SQS:Channel`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsOptions {
    /// What new queues are created with, and how long a message stays hidden where its queue does not tell. Default: 30 min.
    pub visibility_timeout: Duration,
    /// How long SQS waits for a message before it says that there is none, in seconds. Default: 10.
    pub wait_time_seconds: u16,
    /// How long to rest after that. Default: 1 s.
    pub polling_interval: Duration,
    /// Before the name of every queue. Default: nothing.
    pub queue_name_prefix: String,
    /// Default: `AWS_DEFAULT_REGION`, the profile's, `us-east-1`.
    pub region: Option<String>,
    /// Whether a host in the URL is spoken to by TLS. Default: no.
    pub is_secure: bool,
    /// Queues by name, which exist. If there are any, no others are used. Default: none.
    pub predefined_queues: BTreeMap<String, PredefinedQueue>,
    /// Whether messages are sent in base64 (`sqs_base64_encoding`). Default: yes.
    pub base64_messages: bool,
    /// Whether the bodies inside are (`body_encoding`). Default: yes.
    pub base64_bodies: bool,
    /// Where messages go that no binding matches. Default: nowhere.
    pub deadletter_queue: Option<String>,
    /// The role to be used for predefined queues (`sts_role_arn`). Default: none.
    pub role: Option<Role>,
    /// More attributes of new queues (`sqs-creation-attributes`). Default: none.
    pub creation_attributes: Vec<(String, String)>,
    /// Tags of new queues (`queue_tags`). Default: none.
    pub queue_tags: Vec<(String, String)>,
    /// `client-config`: how long a connection may take to be made. Default: 60 s, as botocore's.
    pub connect_timeout: Duration,
    /// `client-config`: how long an answer may take. Default: 60 s, as botocore's.
    pub read_timeout: Duration,
    /// `client-config`: how often a request is tried. Default: 5 times, as botocore's.
    pub attempts: u32,
}

/// A role of Amazon's security token service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `sts_role_arn`.
    pub arn: String,
    /// `sts_token_timeout`. Default: 15 min.
    pub token_timeout: Duration,
    /// `sts_token_buffer_time`: how long before its end a token is replaced. Default: not before.
    pub buffer_time: Duration,
}

impl Role {
    /// Whether that time means anything, as in kombu.
    pub fn has_buffer(&self) -> bool {
        !self.buffer_time.is_zero() && self.buffer_time < self.token_timeout
    }
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30 * 60),
            wait_time_seconds: 10,
            polling_interval: Duration::from_secs(1),
            queue_name_prefix: String::new(),
            region: None,
            is_secure: false,
            predefined_queues: BTreeMap::new(),
            base64_messages: true,
            base64_bodies: true,
            deadletter_queue: None,
            role: None,
            creation_attributes: Vec::new(),
            queue_tags: Vec::new(),
            connect_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            attempts: 5,
        }
    }
}

impl SqsOptions {
    /// Reads `broker_transport_options`. Other options are ignored, as kombu does.
    ///
    /// # Errors
    /// What kombu would fail on later, and what is not supported, of kind
    /// [`Unusable`](crate::broker::BrokerErrorKind::Unusable).
    pub fn from_settings(settings: &Map) -> Result<Self, BrokerError> {
        let mut options = Self::default();
        for (key, value) in settings {
            options.set(key, value)?;
        }
        options.role = role(settings)?;
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        match key {
            "visibility_timeout" => self.visibility_timeout = visibility(key, value)?,
            "wait_time_seconds" => self.wait_time_seconds = wait(key, value)?,
            "polling_interval" if !value.is_null() => self.polling_interval = seconds(key, value)?,
            "queue_name_prefix" if !value.is_null() => self.queue_name_prefix = text(key, value)?,
            "region" if value.is_truthy() => self.region = Some(text(key, value)?),
            "is_secure" => self.is_secure = value.is_truthy(),
            "predefined_queues" => self.predefined_queues = PredefinedQueue::all(value)?,
            "sqs_base64_encoding" => self.base64_messages = value.is_truthy(),
            "body_encoding" => self.base64_bodies = body_encoding(value)?,
            "deadletter_queue" if !value.is_null() => self.deadletter_queue = Some(text(key, value)?),
            "sqs-creation-attributes" => self.creation_attributes = words(key, value)?,
            "queue_tags" => self.queue_tags = words(key, value)?,
            "client-config" => self.configure(key, value)?,
            "supports_fanout" if value.is_truthy() => {
                return Err(refused(key, "fanout exchanges through SNS are not supported"));
            }
            _ => {}
        }
        Ok(())
    }

    fn configure(&mut self, key: &str, value: &Value) -> Result<(), BrokerError> {
        if !value.is_truthy() {
            return Ok(());
        }
        let config = value.as_map().ok_or_else(|| refused(key, "must be a dict"))?;
        for (name, value) in config {
            match name.as_str() {
                "connect_timeout" => self.connect_timeout = seconds(key, value)?,
                "read_timeout" => self.read_timeout = seconds(key, value)?,
                "region_name" if self.region.is_none() => self.region = Some(text(key, value)?),
                "retries" => self.attempts = attempts(key, value)?.unwrap_or(self.attempts),
                name if OF_BOTOCORE.contains(&name) => {}
                name => return Err(refused(key, &format!("'{name}' of botocore's Config is not supported"))),
            }
        }
        Ok(())
    }
}

fn visibility(key: &str, value: &Value) -> Result<Duration, BrokerError> {
    let is_unset = value.is_null() || value.as_str() == Some("");
    if is_unset {
        return Ok(SqsOptions::default().visibility_timeout);
    }
    // kombu takes the digits of a string as well.
    let number = value.as_str().and_then(|text| text.trim().parse::<f64>().ok()).map(Value::Float);
    let whole = seconds(key, number.as_ref().unwrap_or(value))?.as_secs();
    if whole > LONGEST_VISIBILITY {
        return Err(refused(key, "must not be longer than 12 hours"));
    }
    Ok(Duration::from_secs(whole))
}

fn wait(key: &str, value: &Value) -> Result<u16, BrokerError> {
    let wait = value.as_i64().and_then(|wait| u16::try_from(wait).ok()).filter(|wait| *wait <= LONGEST_WAIT);
    wait.ok_or_else(|| refused(key, "must be a whole number of seconds from 0 to 20"))
}

fn words(key: &str, value: &Value) -> Result<Vec<(String, String)>, BrokerError> {
    if !value.is_truthy() {
        return Ok(Vec::new());
    }
    let words = value.as_map().ok_or_else(|| refused(key, "must be a dict of strings"))?;
    words.iter().map(|(name, value)| Ok((name.clone(), text(key, value)?))).collect()
}

/// Of botocore, `max_attempts` counts those after the first.
fn attempts(key: &str, value: &Value) -> Result<Option<u32>, BrokerError> {
    let retries = value.as_map().ok_or_else(|| refused(key, "retries must be a dict"))?;
    let number = |name: &str| retries.get(name).and_then(Value::as_i64).and_then(|count| u32::try_from(count).ok());
    Ok(number("total_max_attempts").or_else(|| number("max_attempts").map(|count| count.saturating_add(1))))
}

fn role(settings: &Map) -> Result<Option<Role>, BrokerError> {
    let Some(arn) = settings.get("sts_role_arn").filter(|arn| arn.is_truthy()) else { return Ok(None) };
    let time =
        |key: &str, default| settings.get(key).map_or(Ok(Duration::from_secs(default)), |value| seconds(key, value));
    Ok(Some(Role {
        arn: text("sts_role_arn", arn)?,
        token_timeout: time("sts_token_timeout", 900)?,
        buffer_time: time("sts_token_buffer_time", 0)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    fn options(text: &str) -> Result<SqsOptions, BrokerError> {
        let value = json::parse(text.as_bytes()).expect("JSON");
        SqsOptions::from_settings(value.as_map().expect("an object"))
    }

    #[test]
    fn kombus_names_are_understood_and_others_ignored() {
        assert_eq!(options(r#"{"max_retries": 3, "supports_fanout": false}"#).unwrap(), SqsOptions::default());
        let read = options(
            r#"{"visibility_timeout": "90.7", "wait_time_seconds": 0, "polling_interval": 0.5, "queue_name_prefix": "p-",
                "region": "eu-west-1", "is_secure": true, "sqs_base64_encoding": false, "sts_role_arn": "arn:x",
                "sqs-creation-attributes": {"KmsMasterKeyId": "k"}, "queue_tags": {"Team": "t"},
                "client-config": {"connect_timeout": 5, "retries": {"max_attempts": 1}, "tcp_keepalive": true}}"#,
        );
        let read = read.unwrap();
        assert_eq!((read.visibility_timeout.as_secs(), read.wait_time_seconds, read.attempts), (90, 0, 2));
        assert_eq!((read.queue_name_prefix.as_str(), read.region.as_deref()), ("p-", Some("eu-west-1")));
        assert_eq!(read.role.unwrap().token_timeout, Duration::from_secs(900));
        assert_eq!(read.creation_attributes, [("KmsMasterKeyId".to_owned(), "k".to_owned())]);
        assert!(read.is_secure && !read.base64_messages && read.base64_bodies);
        assert_eq!(options(r#"{"visibility_timeout": ""}"#).unwrap().visibility_timeout, Duration::from_secs(1800));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, key) in [
            (r#"{"visibility_timeout": "soon"}"#, "visibility_timeout"),
            (r#"{"visibility_timeout": 50000}"#, "visibility_timeout"),
            (r#"{"wait_time_seconds": 21}"#, "wait_time_seconds"),
            (r#"{"predefined_queues": {"q": {}}}"#, "'q' has no url"),
            (r#"{"supports_fanout": true}"#, "supports_fanout"),
            (r#"{"client-config": {"proxies": {}}}"#, "'proxies'"),
        ] {
            let error = options(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
