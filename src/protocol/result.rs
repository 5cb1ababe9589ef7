//! [`ResultMeta`]: the document that a result backend keeps for a task.

use crate::{
    protocol::{ProtocolError, TaskState},
    serialization::{Map, Value},
};

/// The common document of Celery's backends (`celery/backends/base.py:_get_result_meta`).
#[derive(Debug, Clone, PartialEq)]
pub struct ResultMeta {
    /// Which task.
    pub task_id: String,
    /// `status` on the wire.
    pub state: TaskState,
    /// The return value, the exception's dict, or a custom state's meta.
    pub result: Value,
    /// Text, or null.
    pub traceback: Option<String>,
    /// Result tuples of the tasks it sent; none is written as null (stored without a request).
    pub children: Option<Vec<Value>>,
    /// `isoformat()` in the app's time zone; null until the state is ready.
    pub date_done: Option<String>,
    /// Written only when present.
    pub group_id: Option<String>,
    /// Written only when present.
    pub parent_id: Option<String>,
    /// `result_extended`: `name`, `args`, `kwargs`, `worker`, `retries`, `queue`, stamps; in this order.
    pub extended: Map,
}

impl ResultMeta {
    /// A document of a task that has no more to say than its state and result.
    pub fn new(task_id: impl Into<String>, state: TaskState, result: Value) -> Self {
        Self {
            task_id: task_id.into(),
            state,
            result,
            traceback: None,
            children: None,
            date_done: None,
            group_id: None,
            parent_id: None,
            extended: Map::new(),
        }
    }

    /// The document, in the order in which Celery writes its fields.
    pub fn to_value(&self) -> Value {
        let mut map = Map::with_capacity(8 + self.extended.len());
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("status", self.state.as_str().into());
        put("result", self.result.clone());
        put("traceback", self.traceback.clone().into());
        put("children", self.children.clone().into());
        put("date_done", self.date_done.clone().into());
        if let Some(group) = self.group_id.as_deref().filter(|id| !id.is_empty()) {
            put("group_id", group.into());
        }
        if let Some(parent) = self.parent_id.as_deref().filter(|id| !id.is_empty()) {
            put("parent_id", parent.into());
        }
        for (key, value) in &self.extended {
            put(key, value.clone());
        }
        put("task_id", self.task_id.as_str().into());
        Value::Map(map)
    }

    /// Reads a document; unknown fields are taken for extended ones.
    ///
    /// # Errors
    /// `InvalidResult` when it is no dict, has no `status`, or has a field of a wrong type. A missing `task_id` is empty.
    pub fn from_value(value: Value) -> Result<Self, ProtocolError> {
        let Value::Map(map) = value else {
            return Err(ProtocolError::InvalidResult("it is not a dict".to_owned()));
        };
        let mut meta = Self::new("", TaskState::Pending, Value::Null);
        let mut has_state = false;
        for (key, value) in map {
            match key.as_str() {
                "status" => {
                    meta.state = TaskState::from(text(&key, value)?.unwrap_or_default().as_str());
                    has_state = true;
                }
                "result" => meta.result = value,
                "traceback" => meta.traceback = text(&key, value)?,
                "children" => meta.children = children(value)?,
                "date_done" => meta.date_done = text(&key, value)?,
                "group_id" => meta.group_id = text(&key, value)?,
                "parent_id" => meta.parent_id = text(&key, value)?,
                "task_id" => meta.task_id = text(&key, value)?.unwrap_or_default(),
                _ => {
                    meta.extended.insert(key, value);
                }
            }
        }
        if has_state { Ok(meta) } else { Err(ProtocolError::InvalidResult("it has no status".to_owned())) }
    }
}

fn text(key: &str, value: Value) -> Result<Option<String>, ProtocolError> {
    match value {
        Value::Null => Ok(None),
        Value::Str(text) => Ok(Some(text)),
        Value::WideStr(units) => Ok(Some(String::from_utf16_lossy(&units))),
        Value::DateTime(text) => Ok(Some(text.into())),
        _ => Err(ProtocolError::InvalidResult(format!("its {key} is not a string"))),
    }
}

fn children(value: Value) -> Result<Option<Vec<Value>>, ProtocolError> {
    match value {
        Value::Null => Ok(None),
        Value::List(items) => Ok(Some(items)),
        _ => Err(ProtocolError::InvalidResult("its children are not a list".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    #[test]
    fn documents_come_back_unchanged() {
        let texts = [
            r#"{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], "date_done": "2026-11-20T17:41:23+00:00", "task_id": "1"}"#,
            r#"{"status": "PROGRESS", "result": {"a": 1}, "traceback": null, "children": null, "date_done": null, "group_id": "g", "parent_id": "p", "name": "t", "args": [1], "kwargs": {}, "worker": "w", "retries": 0, "queue": "q", "task_id": "1"}"#,
        ];
        for text in texts {
            let meta = ResultMeta::from_value(json::parse_str(text).unwrap()).unwrap();
            assert_eq!(json::to_string(&meta.to_value()).unwrap(), text);
        }
        for text in ["[]", "{}", r#"{"status": 1}"#, r#"{"status": "SUCCESS", "children": 1}"#] {
            assert!(ResultMeta::from_value(json::parse_str(text).unwrap()).is_err(), "{text}");
        }
    }
}
