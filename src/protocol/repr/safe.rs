//! `saferepr`: a `repr` cut at a length and at three levels, with every bracket closed (`celery/utils/saferepr.py`).

use crate::serialization::{Map, Value};

/// Levels of nesting shown (`task_repr_maxlevels`).
const MAX_LEVELS: usize = 3;

/// `repr(value)` of about `maxlen` characters; 0 sets no limit to the length.
///
/// Unlike [`repr`](super::repr) it escapes nothing within strings but single quotes.
pub fn saferepr(value: &Value, maxlen: usize) -> String {
    Stream::new(maxlen).render(|stream| stream.value(value))
}

pub(super) fn tuple(items: &[Value], maxlen: usize) -> String {
    let end = if items.len() == 1 { ",)" } else { ")" };
    Stream::new(maxlen).render(|stream| stream.sequence("(", end, items))
}

pub(super) fn dict(map: &Map, maxlen: usize) -> String {
    let key = |stream: &mut Stream, key: &String| stream.quoted(key);
    Stream::new(maxlen).render(|stream| stream.entries(map.len(), map, key))
}

/// The limit is reached and everything open is closed.
struct Full;

struct Stream {
    out: String,
    /// Characters left; none when there is no limit. May fall below zero with the last token.
    left: Option<isize>,
    /// What closes the containers that are open.
    closers: Vec<&'static str>,
}

impl Stream {
    fn new(maxlen: usize) -> Self {
        let left = Some(isize::try_from(maxlen).unwrap_or(isize::MAX)).filter(|left| *left > 0);
        Self { out: String::new(), left, closers: Vec::new() }
    }

    fn render(mut self, write: impl FnOnce(&mut Self) -> Result<(), Full>) -> String {
        if let Err(Full) = write(&mut self) {
            self.out.push_str(", ...");
            while let Some(closer) = self.closers.pop() {
                self.out.push_str(closer);
            }
        }
        self.out
    }

    fn value(&mut self, value: &Value) -> Result<(), Full> {
        match value {
            Value::Str(text) => self.quoted(text),
            Value::WideStr(units) => self.quoted(&String::from_utf16_lossy(units)),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::List(items) => self.sequence("[", "]", items),
            Value::Map(map) => self.entries(map.len(), map, |stream, key| stream.quoted(key)),
            Value::Pairs(pairs) => self.entries(pairs.len(), pairs.iter().map(|(key, value)| (key, value)), Self::key),
            scalar => self.text(&super::repr(scalar)),
        }
    }

    fn sequence(&mut self, start: &'static str, end: &'static str, items: &[Value]) -> Result<(), Full> {
        if !self.open(start, end)? {
            return Ok(());
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.token(", ")?;
            }
            self.value(item)?;
        }
        self.close();
        Ok(())
    }

    fn entries<'a, K>(
        &mut self,
        count: usize,
        entries: impl IntoIterator<Item = (K, &'a Value)>,
        write_key: impl Fn(&mut Self, K) -> Result<(), Full>,
    ) -> Result<(), Full> {
        if !self.open("{", "}")? {
            return Ok(());
        }
        for (index, (key, value)) in entries.into_iter().enumerate() {
            write_key(self, key)?;
            self.token(": ")?;
            self.value(value)?;
            if index + 1 < count {
                self.token(", ")?;
            }
        }
        self.close();
        Ok(())
    }

    /// A key is shown by itself, in as many characters as are left.
    fn key(&mut self, key: &Value) -> Result<(), Full> {
        let shown =
            Self { out: String::new(), left: self.left, closers: Vec::new() }.render(|stream| stream.value(key));
        self.token(&shown)
    }

    /// Opens a container, or shows it as `[...]` when it is too deep; says which.
    fn open(&mut self, start: &'static str, end: &'static str) -> Result<bool, Full> {
        if self.closers.len() >= MAX_LEVELS {
            self.token(&format!("{start}...{end}"))?;
            return Ok(false);
        }
        self.token(start)?;
        self.closers.push(end);
        Ok(true)
    }

    fn close(&mut self) {
        if let Some(closer) = self.closers.pop() {
            let full = self.is_full();
            self.out.push_str(closer);
            if !full {
                self.count(closer);
            }
        }
    }

    fn quoted(&mut self, text: &str) -> Result<(), Full> {
        self.check()?;
        let shown = format!("'{}'", truncate(text, self.left).replace('\'', "\\'"));
        self.token(&shown)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.check()?;
        let limit = self.left.map_or(bytes.len(), |left| left.unsigned_abs());
        let (kept, dots) = if bytes.len() > limit { (&bytes[..limit], "...") } else { (bytes, "") };
        let shown = match std::str::from_utf8(kept) {
            Ok(text) => text.to_owned(),
            Err(_) => kept.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        self.token(&format!("b'{shown}{dots}'"))
    }

    fn text(&mut self, text: &str) -> Result<(), Full> {
        self.check()?;
        let shown = truncate(text, self.left);
        self.token(&shown)
    }

    fn token(&mut self, text: &str) -> Result<(), Full> {
        self.check()?;
        self.out.push_str(text);
        self.count(text);
        Ok(())
    }

    fn count(&mut self, text: &str) {
        if let Some(left) = &mut self.left {
            *left -= text.chars().count() as isize;
        }
    }

    fn is_full(&self) -> bool {
        self.left.is_some_and(|left| left <= 0)
    }

    fn check(&self) -> Result<(), Full> {
        if self.is_full() { Err(Full) } else { Ok(()) }
    }
}

/// As many characters, cut at the last space among them, and dots (`celery/utils/text.py:truncate`).
fn truncate(text: &str, limit: Option<isize>) -> String {
    let Some(limit) = limit.map(isize::unsigned_abs) else { return text.to_owned() };
    if text.len() < limit {
        return text.to_owned();
    }
    let end = match text.char_indices().nth(limit) {
        Some((end, _)) => end,
        None if text.chars().count() == limit => text.len(),
        None => return text.to_owned(),
    };
    let kept = text[..end].rsplit_once(' ').map_or(&text[..end], |(kept, _)| kept);
    format!("{kept}...")
}
