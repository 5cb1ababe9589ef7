//! [`Row`]: a result document as the columns of a table (`celery/backends/database/__init__.py:_update_result`).
//!
//! Whoever words a document for a database hands over a pickled dict of its columns, some of which are encoded by
//! themselves. Plain data; what is inside of an encoded column is the app's own, and opened only to be read.

use bytes::Bytes;

use crate::{
    backend::document::Format,
    protocol::{
        ProtocolError, ResultMeta, TaskState,
        time::{Timestamp, parse_iso},
    },
    serialization::{DecodeError, EncodeError, Map, Value, map, pickle},
};

/// What Celery puts into which column; it has changed over the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whether the result is a pickle, whatever `result_serializer` says (SQLAlchemy's `PickleType`, before 5.7).
    pub pickles_result: bool,
    /// Whether there are the columns `children` and `stamps` (since 5.7).
    pub has_children: bool,
}

impl Layout {
    /// That of a Celery of this version.
    pub fn of(version: (u16, u16)) -> Self {
        let is_new = version >= (5, 7);
        Self { pickles_result: !is_new, has_children: is_new }
    }
}

/// The protocol of SQLAlchemy's pickles: the highest that Python has.
const PICKLE_PROTOCOL: u8 = 5;
/// What every pickle since protocol 2 begins with.
const PICKLE_MARK: u8 = 0x80;

/// A result as a row. Without the task's id, which every statement has anyway.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// `status`.
    pub status: String,
    /// `result`, encoded.
    pub result: Option<Bytes>,
    /// `date_done`, with the offset of the app's time zone.
    pub date_done: Option<Timestamp>,
    /// `traceback`.
    pub traceback: Option<String>,
    /// `children`, encoded; null where there are none.
    pub children: Option<Bytes>,
    /// The columns of `result_extended`.
    pub extended: Option<ExtendedColumns>,
}

/// What `result_extended` adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedColumns {
    /// `name`.
    pub name: Option<String>,
    /// `args`, encoded.
    pub args: Option<Bytes>,
    /// `kwargs`, encoded.
    pub kwargs: Option<Bytes>,
    /// `worker`.
    pub worker: Option<String>,
    /// `retries`.
    pub retries: Option<i64>,
    /// `queue`.
    pub queue: Option<String>,
    /// `stamps`, encoded; those that are there stay where none are given.
    pub stamps: Option<Bytes>,
}

impl Row {
    /// The columns of a document.
    ///
    /// # Errors
    /// [`EncodeError`] for a result that the serializer cannot express.
    pub fn of(meta: &ResultMeta, format: &Format, layout: Layout) -> Result<Self, EncodeError> {
        let result = match (layout.pickles_result, &meta.result) {
            (true, Value::Null) => None,
            (true, result) => Some(pickle::to_vec_of_protocol(result, PICKLE_PROTOCOL)?.into()),
            (false, result) => Some(format.encode_value(result)?),
        };
        let children = meta.children.as_ref().filter(|children| layout.has_children && !children.is_empty());
        let extended = !meta.extended.is_empty();
        Ok(Self {
            status: meta.state.as_str().to_owned(),
            result,
            date_done: meta.date_done.as_deref().and_then(|text| parse_iso(text).ok()),
            traceback: meta.traceback.clone(),
            children: children.map(|children| format.encode_value(&Value::List(children.clone()))).transpose()?,
            extended: extended.then(|| ExtendedColumns::of(&meta.extended, format, layout)).transpose()?,
        })
    }

    /// The document that these columns hold.
    ///
    /// # Errors
    /// For a result that cannot be read here.
    pub fn meta(&self, format: &Format, layout: Layout) -> Result<ResultMeta, ProtocolError> {
        let mut meta = ResultMeta::new("", TaskState::from(self.status.as_str()), Value::Null);
        if let Some(result) = &self.result {
            meta.result = decode_result(result, format, layout)?;
        }
        meta.traceback = self.traceback.clone();
        meta.date_done = self.date_done.map(|time| time.isoformat());
        if let Some(children) = &self.children {
            let Value::List(children) = format.decode_value(children)? else {
                return Err(ProtocolError::InvalidResult("its children are not a list".to_owned()));
            };
            meta.children = Some(children);
        }
        if let Some(extended) = &self.extended {
            meta.extended = extended.fields(format)?;
        }
        Ok(meta)
    }

    /// The row on its way to who stores it, in place of a document.
    ///
    /// # Errors
    /// None in practice: it is plain data.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut columns = map([
            ("status", self.status.as_str().into()),
            ("result", self.result.clone().into()),
            ("date_done", self.date_done.map(|time| time.isoformat()).into()),
            ("traceback", self.traceback.clone().into()),
            ("children", self.children.clone().into()),
        ]);
        if let Some(extended) = &self.extended {
            columns.extend(map([
                ("name", extended.name.clone().into()),
                ("args", extended.args.clone().into()),
                ("kwargs", extended.kwargs.clone().into()),
                ("worker", extended.worker.clone().into()),
                ("retries", extended.retries.into()),
                ("queue", extended.queue.clone().into()),
                ("stamps", extended.stamps.clone().into()),
            ]));
        }
        Ok(pickle::to_vec(&Value::Map(columns))?.into())
    }

    /// Reads what [`encode`](Self::encode) or a child has written.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Value::Map(mut columns) = pickle::parse(bytes)? else { return Err(strange("it is no dict")) };
        let status = text(&mut columns, "status")?.ok_or_else(|| strange("it has no status"))?;
        let extended = columns.contains_key("name").then(|| ExtendedColumns::take(&mut columns)).transpose()?;
        let date_done = text(&mut columns, "date_done")?;
        let date_done = date_done.map(|text| parse_iso(&text).map_err(|_| strange("its date_done is no time")));
        Ok(Self {
            status,
            result: blob(&mut columns, "result")?,
            date_done: date_done.transpose()?,
            traceback: text(&mut columns, "traceback")?,
            children: blob(&mut columns, "children")?,
            extended,
        })
    }
}

impl ExtendedColumns {
    fn of(fields: &Map, format: &Format, layout: Layout) -> Result<Self, EncodeError> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let encoded = |name: &str| fields.get(name).map(|value| format.encode_value(value)).transpose();
        Ok(Self {
            name: text("name"),
            args: encoded("args")?,
            kwargs: encoded("kwargs")?,
            worker: text("worker"),
            retries: fields.get("retries").and_then(Value::as_i64),
            queue: text("queue"),
            stamps: if layout.has_children { stamps(fields, format)? } else { None },
        })
    }

    fn fields(&self, format: &Format) -> Result<Map, DecodeError> {
        let decoded =
            |bytes: &Option<Bytes>| bytes.as_ref().map_or(Ok(Value::Null), |bytes| format.decode_value(bytes));
        Ok(map([
            ("name", self.name.clone().into()),
            ("args", decoded(&self.args)?),
            ("kwargs", decoded(&self.kwargs)?),
            ("worker", self.worker.clone().into()),
            ("retries", self.retries.into()),
            ("queue", self.queue.clone().into()),
        ]))
    }

    fn take(columns: &mut Map) -> Result<Self, DecodeError> {
        let retries = match columns.get("retries") {
            None | Some(Value::Null) => None,
            Some(Value::Int(number)) => Some(*number),
            Some(_) => return Err(strange("its retries are no number")),
        };
        Ok(Self {
            name: text(columns, "name")?,
            args: blob(columns, "args")?,
            kwargs: blob(columns, "kwargs")?,
            worker: text(columns, "worker")?,
            retries,
            queue: text(columns, "queue")?,
            stamps: blob(columns, "stamps")?,
        })
    }
}

/// `{'stamped_headers': [...], 'stamps': {...}}` of those that are stamped.
fn stamps(fields: &Map, format: &Format) -> Result<Option<Bytes>, EncodeError> {
    let Some(names) = fields.get("stamped_headers").filter(|names| names.is_truthy()) else { return Ok(None) };
    let listed = names.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    let stamps: Map = listed.filter_map(|name| Some((name.to_owned(), fields.get(name)?.clone()))).collect();
    let info = map([("stamped_headers", names.clone()), ("stamps", stamps.into())]);
    format.encode_value(&info.into()).map(Some)
}

/// Rows of before 5.7 hold pickles where a later Celery has a document (`_decode_stored_result`).
fn decode_result(result: &[u8], format: &Format, layout: Layout) -> Result<Value, DecodeError> {
    if layout.pickles_result {
        return pickle::parse(result);
    }
    match format.decode_value(result) {
        Err(_) if result.first() == Some(&PICKLE_MARK) => pickle::parse(result),
        decoded => decoded,
    }
}

fn text(columns: &mut Map, name: &str) -> Result<Option<String>, DecodeError> {
    match columns.swap_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        // No database takes half a character.
        Some(Value::WideStr(units)) => Ok(Some(String::from_utf16_lossy(&units))),
        Some(_) => Err(strange(&format!("its {name} is no text"))),
    }
}

fn blob(columns: &mut Map, name: &str) -> Result<Option<Bytes>, DecodeError> {
    match columns.swap_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(strange(&format!("its {name} is not encoded"))),
    }
}

fn strange(reason: &str) -> DecodeError {
    DecodeError::Malformed { format: "result row", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ResultMeta {
        let extended = [
            ("name", "add".into()),
            ("args", vec![1, 2].into()),
            ("kwargs", Map::new().into()),
            ("worker", "w@h".into()),
            ("retries", 1.into()),
            ("queue", "celery".into()),
            ("stamped_headers", vec!["who"].into()),
            ("who", vec!["me"].into()),
        ];
        ResultMeta {
            date_done: Some("2026-11-20T18:41:23.655378+01:00".into()),
            traceback: Some("é".into()),
            children: Some(vec![Value::List(vec!["a".into(), Value::Null])]),
            extended: map(extended),
            ..ResultMeta::new("", TaskState::Success, 3.into())
        }
    }

    #[test]
    fn rows_come_back_on_their_way() {
        let format = Format::default();
        for layout in [Layout::of((5, 7)), Layout::of((5, 6))] {
            let row = Row::of(&full(), &format, layout).unwrap();
            assert_eq!(Row::decode(&row.encode().unwrap()).unwrap(), row);
            let meta = row.meta(&format, layout).unwrap();
            assert_eq!((meta.state, meta.result, meta.traceback), (TaskState::Success, 3.into(), Some("é".into())));
            assert_eq!(meta.date_done, full().date_done);
            assert_eq!(meta.children.is_some(), layout.has_children);
        }
    }

    #[test]
    fn columns_are_encoded_as_celerys() {
        let row = Row::of(&full(), &Format::default(), Layout::of((5, 7))).unwrap();
        assert_eq!(row.result.as_deref(), Some(&b"3"[..]));
        assert_eq!(row.children.as_deref(), Some(&br#"[["a", null]]"#[..]));
        let extended = row.extended.unwrap();
        assert_eq!(extended.args.as_deref(), Some(&b"[1, 2]"[..]));
        let stamps = br#"{"stamped_headers": ["who"], "stamps": {"who": ["me"]}}"#;
        assert_eq!(extended.stamps.as_deref(), Some(&stamps[..]));

        let old = Row::of(&full(), &Format::default(), Layout::of((5, 6))).unwrap();
        assert_eq!(old.result.as_deref().map(|pickle| &pickle[..2]), Some(&b"\x80\x05"[..]));
        assert_eq!(old.extended.unwrap().stamps, None);
        let none = ResultMeta::new("", TaskState::Success, Value::Null);
        assert_eq!(Row::of(&none, &Format::default(), Layout::of((5, 6))).unwrap().result, None);
        assert_eq!(
            Row::of(&none, &Format::default(), Layout::of((5, 7))).unwrap().result.as_deref(),
            Some(&b"null"[..])
        );
    }

    #[test]
    fn pickles_of_an_older_celery_are_read() {
        // `pickle.dumps({'a': (1,)}, 5)`
        let old = b"\x80\x05\x95\r\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01\x85\x94s.";
        let row = Row { status: "SUCCESS".into(), result: Some(Bytes::from_static(old)), ..Row::default() };
        let meta = row.meta(&Format::default(), Layout::of((5, 7))).unwrap();
        assert_eq!(meta.result, Value::Map(map([("a", vec![1].into())])));
    }

    #[test]
    fn rubbish_is_an_error() {
        let format = Format::default();
        for bytes in [&b""[..], b"{}", b"\x80\x04K\x01.", b"\x80\x04}.", b"\x80\x04}(\x8c\x06statusK\x01u."] {
            assert!(Row::decode(bytes).is_err(), "{bytes:?}");
        }
        let row = Row { status: "SUCCESS".into(), result: Some(Bytes::from_static(b"{")), ..Row::default() };
        assert!(row.meta(&format, Layout::of((5, 7))).is_err());
    }
}
