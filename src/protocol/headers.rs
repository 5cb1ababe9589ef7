//! [`TaskHeaders`]: the typed view of a protocol 2 message's headers.
//!
//! The raw map stays beside it in [`Headers`](super::Headers), untouched.

use std::sync::Arc;

use crate::{
    protocol::{Message, ProtocolError, repr::repr},
    serialization::{Map, Value},
};

/// Everything a worker may know about a task before it opens the body (`celery/app/amqp.py:as_task_v2`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskHeaders {
    /// The registered name.
    pub task: Arc<str>,
    /// Any string; a UUID only by habit.
    pub id: Arc<str>,
    /// Display name for logs, events and totals; never for lookup.
    pub shadow: Option<String>,
    /// ISO 8601, as written; parse with [`time`](super::time).
    pub eta: Option<String>,
    /// ISO 8601, as written.
    pub expires: Option<String>,
    /// Group id: the key of a chord's counters.
    pub group: Option<String>,
    /// Place in the chord's header.
    pub group_index: Option<i64>,
    /// 0 at the first attempt.
    pub retries: i64,
    /// Hard time limit, in seconds; zero counts as unset. First element of the wire's `timelimit`.
    pub time_limit: Option<f64>,
    /// Soft time limit, in seconds; second element of `timelimit`.
    pub soft_time_limit: Option<f64>,
    /// First task of the workflow; the task itself when the message does not say.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// `repr` of the arguments, as the producer shortened it.
    pub argsrepr: Option<String>,
    /// `repr` of the keyword arguments.
    pub kwargsrepr: Option<String>,
    /// `gen<pid>@<host>` of the producer.
    pub origin: Option<String>,
    /// Three states: none falls back to the task's own option.
    pub ignore_result: Option<bool>,
    /// How often `replace()` put another task in this one's place.
    pub replaced_task_nesting: i64,
    /// Names of the stamps.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps, by name.
    pub stamps: Value,
}

impl TaskHeaders {
    /// Reads what a protocol 2 message says of its task; headers that nobody here has heard of are left where they are.
    ///
    /// # Errors
    /// `UnknownMessage` without headers or without `task`; `InvalidTask` without `id`, or with a field of a wrong type.
    pub fn from_message(message: &Message) -> Result<Self, ProtocolError> {
        if message.headers.is_absent() {
            return Err(ProtocolError::UnknownMessage("it has no headers".to_owned()));
        }
        Self::from_map(message.headers.map())
    }

    fn from_map(map: &Map) -> Result<Self, ProtocolError> {
        let Some(task) = map.get("task") else {
            return Err(ProtocolError::UnknownMessage("it has no task header".to_owned()));
        };
        let Some(id) = map.get("id") else {
            return Err(ProtocolError::InvalidTask("the message has no id header".to_owned()));
        };
        let mut headers = Self { task: name("task", task)?, id: name("id", id)?, ..Self::default() };
        let absent = |key: &str| (!map.contains_key(key)).then(String::new);
        (headers.argsrepr, headers.kwargsrepr) = (absent("argsrepr"), absent("kwargsrepr"));
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            headers.read(key, value)?;
        }
        Ok(headers)
    }

    /// One header that is not null.
    fn read(&mut self, key: &str, value: &Value) -> Result<(), ProtocolError> {
        match key {
            "shadow" => self.shadow = shown(value),
            "eta" => self.eta = moment(key, value)?,
            "expires" => self.expires = moment(key, value)?,
            "group" => self.group = Some(string(key, value)?),
            "group_index" => self.group_index = Some(integer(key, value)?),
            "retries" => self.retries = integer(key, value)?,
            "timelimit" => (self.time_limit, self.soft_time_limit) = time_limits(value)?,
            "root_id" => self.root_id = Some(string(key, value)?),
            "parent_id" => self.parent_id = Some(string(key, value)?),
            "argsrepr" => self.argsrepr = shown(value),
            "kwargsrepr" => self.kwargsrepr = shown(value),
            "origin" => self.origin = shown(value),
            "ignore_result" => self.ignore_result = Some(value.is_truthy()),
            "replaced_task_nesting" => self.replaced_task_nesting = integer(key, value)?,
            "stamped_headers" => self.stamped_headers = Some(strings(key, value)?),
            "stamps" => self.stamps = value.clone(),
            _ => {}
        }
        Ok(())
    }

    /// The name for people: `shadow` or `task`.
    pub fn display_name(&self) -> &str {
        self.shadow.as_deref().unwrap_or(&self.task)
    }
}

fn invalid(key: &str, expected: &str) -> ProtocolError {
    ProtocolError::InvalidTask(format!("the {key} header is not {expected}"))
}

fn name(key: &str, value: &Value) -> Result<Arc<str>, ProtocolError> {
    value.as_str().map(Arc::from).ok_or_else(|| invalid(key, "a string"))
}

fn string(key: &str, value: &Value) -> Result<String, ProtocolError> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(key, "a string"))
}

fn strings(key: &str, value: &Value) -> Result<Vec<String>, ProtocolError> {
    let items = value.as_list().ok_or_else(|| invalid(key, "a list"))?;
    items.iter().map(|item| string(key, item)).collect()
}

/// Text for people only; lone surrogates may be lost.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.clone()),
        Value::WideStr(units) => Some(String::from_utf16_lossy(units)),
        _ => None,
    }
}

/// Celery takes an empty string for no time at all.
fn moment(key: &str, value: &Value) -> Result<Option<String>, ProtocolError> {
    match value {
        Value::Str(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Value::DateTime(text) => Ok(Some(text.to_string())),
        _ => {
            let what = if key == "eta" { "ETA" } else { key };
            Err(ProtocolError::InvalidTask(format!("invalid {what} value {}: not a text", repr(value))))
        }
    }
}

fn integer(key: &str, value: &Value) -> Result<i64, ProtocolError> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Bool(flag) => Ok((*flag).into()),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(*number as i64),
        _ => Err(invalid(key, "an integer")),
    }
}

/// `[hard, soft]`, in seconds; null and zero mean unset. Python's leniencies hold: truth values are numbers, a number may be
/// a text, and anything empty is no limit. What else there is ends Celery's worker; here it is refused.
fn time_limits(value: &Value) -> Result<(Option<f64>, Option<f64>), ProtocolError> {
    if !value.is_truthy() {
        return Ok((None, None));
    }
    let Some([hard, soft]) = value.as_list() else {
        return Err(invalid("timelimit", "a pair of hard and soft limit"));
    };
    Ok((seconds(hard)?, seconds(soft)?))
}

fn seconds(value: &Value) -> Result<Option<f64>, ProtocolError> {
    let seconds = match value {
        value if !value.is_truthy() => return Ok(None),
        Value::Bool(_) => Some(1.0),
        Value::Str(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    let seconds = seconds.ok_or_else(|| invalid("timelimit", "a pair of numbers"))?;
    Ok(Some(seconds).filter(|seconds| *seconds != 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{protocol::Headers, serialization::json};

    fn read(text: &str) -> Result<TaskHeaders, ProtocolError> {
        let Value::Map(map) = json::parse_str(text).unwrap() else { panic!("not an object") };
        TaskHeaders::from_message(&Message { headers: Headers::new(map), ..Message::default() })
    }

    #[test]
    fn a_minimal_message_names_no_root() {
        let headers = read(r#"{"task": "t", "id": "1"}"#).unwrap();
        let (argsrepr, kwargsrepr) = (Some(String::new()), Some(String::new()));
        assert_eq!(
            headers,
            TaskHeaders { task: "t".into(), id: "1".into(), argsrepr, kwargsrepr, ..Default::default() }
        );
    }

    #[test]
    fn every_header_finds_its_field() {
        let headers = read(
            r#"{"lang": "py", "task": "t", "id": "1", "shadow": "s", "eta": "2026-01-01T00:00:00", "expires": "", "group": "g",
                "group_index": 3, "retries": 2, "timelimit": [10, 0], "root_id": "r", "parent_id": "p", "argsrepr": "()",
                "kwargsrepr": "{}", "origin": "gen1@h", "ignore_result": false, "replaced_task_nesting": 1,
                "stamped_headers": ["a"], "stamps": {"a": 1}, "custom": [1]}"#,
        )
        .unwrap();
        assert_eq!(headers.display_name(), "s");
        assert_eq!((headers.eta.as_deref(), headers.expires.as_deref()), (Some("2026-01-01T00:00:00"), None));
        assert_eq!((headers.group.as_deref(), headers.group_index, headers.retries), (Some("g"), Some(3), 2));
        assert_eq!((headers.time_limit, headers.soft_time_limit), (Some(10.0), None));
        assert_eq!((headers.root_id.as_deref(), headers.parent_id.as_deref()), (Some("r"), Some("p")));
        assert_eq!((headers.ignore_result, headers.replaced_task_nesting), (Some(false), 1));
        assert_eq!(headers.stamped_headers, Some(vec!["a".to_owned()]));
        assert_eq!(headers.stamps.as_map().map(Map::len), Some(1));
    }

    #[test]
    fn time_limits_are_read_with_pythons_leniencies() {
        for (text, limits) in [
            (r#"["10", " 1.5 "]"#, (Some(10.0), Some(1.5))),
            ("[true, false]", (Some(1.0), None)),
            ("[-1, 1e308]", (Some(-1.0), Some(1e308))),
            ("[]", (None, None)),
            (r#"["", 0]"#, (None, None)),
            ("null", (None, None)),
        ] {
            let headers = read(&format!(r#"{{"task": "t", "id": "1", "timelimit": {text}}}"#)).unwrap();
            assert_eq!((headers.time_limit, headers.soft_time_limit), limits, "{text}");
        }
        let nan = read(r#"{"task": "t", "id": "1", "timelimit": [NaN, Infinity]}"#).unwrap();
        assert!(nan.time_limit.is_some_and(f64::is_nan) && nan.soft_time_limit == Some(f64::INFINITY));
    }

    #[test]
    fn wrong_types_and_missing_names_are_refused() {
        for text in [r#"{"id": "1"}"#, "{}"] {
            assert!(matches!(read(text), Err(ProtocolError::UnknownMessage(_))), "{text}");
        }
        for text in [
            r#"{"task": "t"}"#,
            r#"{"task": 1, "id": "1"}"#,
            r#"{"task": "t", "id": null}"#,
            r#"{"task": "t", "id": "1", "eta": 5}"#,
            r#"{"task": "t", "id": "1", "retries": "x"}"#,
            r#"{"task": "t", "id": "1", "timelimit": [1]}"#,
            r#"{"task": "t", "id": "1", "timelimit": ["soon", null]}"#,
            r#"{"task": "t", "id": "1", "timelimit": [[1], null]}"#,
            r#"{"task": "t", "id": "1", "timelimit": {"a": 1, "b": 2}}"#,
            r#"{"task": "t", "id": "1", "timelimit": 10}"#,
        ] {
            assert!(matches!(read(text), Err(ProtocolError::InvalidTask(_))), "{text}");
        }
        assert!(TaskHeaders::from_message(&Message { headers: Headers::absent(), ..Message::default() }).is_err());
    }
}
