//! [`Subject`]: whose document is to be written.

use crate::{
    protocol::Signature,
    serialization::{Map, Value},
    worker::completion::RequestInfo,
};

/// Whose document is written, with the fields of it that come from the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject<'a> {
    pub id: &'a str,
    pub group: Option<&'a str>,
    pub group_index: Option<i64>,
    pub parent_id: Option<&'a str>,
    pub root_id: Option<&'a str>,
    pub reply_to: Option<&'a str>,
    pub correlation_id: Option<&'a str>,
    /// None when no request is at hand: written as null.
    pub children: Option<Vec<Value>>,
    /// What `result_extended` adds.
    pub extended: Map,
}

impl<'a> Subject<'a> {
    /// A request's.
    pub fn of_request(info: &RequestInfo<'a>, children: Vec<Value>) -> Self {
        let properties = &info.message.properties;
        Self {
            id: &info.headers.id,
            group: info.headers.group.as_deref(),
            group_index: info.headers.group_index,
            parent_id: info.headers.parent_id.as_deref(),
            root_id: info.headers.root_id.as_deref(),
            reply_to: properties.reply_to.as_deref(),
            correlation_id: properties.correlation_id.as_deref(),
            children: Some(children),
            extended: Map::new(),
        }
    }

    /// A task's that has not been sent: a later link of a chain.
    pub fn of_signature(signature: &'a Signature) -> Option<Self> {
        let text = |name: &str| signature.options.get(name).and_then(Value::as_str);
        Some(Self {
            id: text("task_id")?,
            group: text("group_id"),
            group_index: signature.options.get("group_index").and_then(Value::as_i64),
            parent_id: text("parent_id"),
            root_id: text("root_id"),
            reply_to: text("reply_to"),
            correlation_id: None,
            children: Some(Vec::new()),
            extended: Map::new(),
        })
    }

    /// That of an id of which nothing else is known.
    pub fn of_id(id: &'a str) -> Self {
        Self { id, ..Self::default() }
    }

    /// What `result_extended` adds where there is a request that nobody has read.
    pub fn unknown() -> Map {
        ["name", "args", "kwargs", "worker", "retries", "queue"]
            .map(|name| (name.to_owned(), Value::Null))
            .into_iter()
            .collect()
    }

    /// The same with what `result_extended` adds for a request.
    pub fn extended(mut self, info: &RequestInfo<'_>, args: Vec<Value>, kwargs: Map) -> Self {
        let headers = info.headers;
        let fields = [
            ("name", Value::from(&*headers.task)),
            ("args", Value::List(args)),
            ("kwargs", Value::Map(kwargs)),
            ("worker", info.hostname.into()),
            ("retries", headers.retries.into()),
            ("queue", info.message.properties.delivery_info.routing_key.as_str().into()),
        ];
        self.extended.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        if headers.stamps.is_truthy()
            && let (Some(stamps), Some(names)) = (headers.stamps.as_map(), &headers.stamped_headers)
        {
            self.extended.insert("stamped_headers".to_owned(), names.clone().into());
            let named = stamps.iter().filter(|(name, _)| names.contains(name));
            self.extended.extend(named.map(|(name, stamp)| (name.clone(), stamp.clone())));
        }
        self
    }

    /// The same for a signature.
    pub fn extended_by(mut self, signature: &Signature) -> Self {
        let fields = [
            ("name", Value::from(signature.task.as_str())),
            ("args", Value::List(signature.args.clone())),
            ("kwargs", Value::Map(signature.kwargs.clone())),
            ("worker", Value::Null),
            ("retries", Value::Int(0)),
            ("queue", Value::Null),
        ];
        self.extended.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        self
    }
}
