//! [`Arguments`]: a command's keyword arguments, checked against its row of the table as Python checks a signature.

use crate::{
    control::CommandError,
    serialization::{Map, Value},
};

/// Which arguments a command takes.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// Those it must be given.
    pub required: &'static [&'static str],
    /// Those it may be given.
    pub optional: &'static [&'static str],
    /// Whether it ignores others (`**kwargs`).
    pub ignores_others: bool,
}

impl Signature {
    /// Refuses what Python would refuse, in its words.
    pub fn check(&self, command: &str, given: Map) -> Result<Arguments, CommandError> {
        let knows = |name: &str| self.required.contains(&name) || self.optional.contains(&name);
        if !self.ignores_others
            && let Some(other) = given.keys().find(|name| !knows(name))
        {
            return Err(CommandError::arguments(format!("{command}() got an unexpected keyword argument '{other}'")));
        }
        let missing: Vec<&str> = self.required.iter().copied().filter(|name| !given.contains_key(*name)).collect();
        match &missing[..] {
            [] => Ok(Arguments(given)),
            missing => Err(CommandError::arguments(words(command, missing))),
        }
    }
}

fn words(command: &str, missing: &[&str]) -> String {
    let count = missing.len();
    let plural = if count == 1 { "" } else { "s" };
    let quoted: Vec<String> = missing.iter().map(|name| format!("'{name}'")).collect();
    format!("{command}() missing {count} required positional argument{plural}: {}", quoted.join(" and "))
}

/// Arguments that a command takes.
#[derive(Debug, Clone, Default)]
pub struct Arguments(Map);

impl Arguments {
    /// All of them.
    pub fn into_map(self) -> Map {
        self.0
    }

    /// One argument; `None` where it was not given.
    pub fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// A text; none for `None`.
    pub fn text(&self, name: &str) -> Result<Option<String>, CommandError> {
        match self.value(name) {
            Value::Null => Ok(None),
            Value::Str(text) => Ok(Some(text.clone())),
            _ => Err(CommandError::arguments(format!("{name} must be a string"))),
        }
    }

    /// A text, empty where there is none.
    pub fn name(&self, name: &str) -> Result<String, CommandError> {
        self.text(name).map(Option::unwrap_or_default)
    }

    /// Python's truth of an argument.
    pub fn truth(&self, name: &str) -> bool {
        self.value(name).is_truthy()
    }

    /// A number; none for `None`.
    pub fn number(&self, name: &str) -> Result<Option<f64>, CommandError> {
        match self.value(name) {
            Value::Null => Ok(None),
            value => {
                value.as_f64().map(Some).ok_or_else(|| CommandError::arguments(format!("{name} must be a number")))
            }
        }
    }

    /// A count, `fallback` where none is given.
    pub fn count(&self, name: &str, fallback: usize) -> Result<usize, CommandError> {
        self.some_count(name).map(|count| count.unwrap_or(fallback))
    }

    /// A count; none for `None`.
    pub fn some_count(&self, name: &str) -> Result<Option<usize>, CommandError> {
        match self.value(name) {
            Value::Null => Ok(None),
            value => value
                .as_i64()
                .and_then(|n| usize::try_from(n).ok())
                .map(Some)
                .ok_or_else(|| CommandError::arguments(format!("{name} must be a count"))),
        }
    }

    /// One text or a list of them (`maybe_list`), each once.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, CommandError> {
        let items = match self.value(name) {
            Value::Null => &[][..],
            Value::List(items) => &items[..],
            one => std::slice::from_ref(one),
        };
        let mut texts: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            let text = item.as_str().ok_or_else(|| CommandError::arguments(format!("{name} must be strings")))?;
            texts.push(text.to_owned());
        }
        let mut seen = std::collections::HashSet::new();
        texts.retain(|text| seen.insert(text.clone()));
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVOKE: Signature = Signature { required: &["task_id"], optional: &["signal"], ignores_others: false };

    fn given(names: &[&str]) -> Map {
        names.iter().map(|name| ((*name).to_owned(), Value::from("x"))).collect()
    }

    #[test]
    fn refuses_in_pythons_words() {
        let refused = |names: &[&str]| REVOKE.check("revoke", given(names)).unwrap_err().to_string();
        let missing = "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")";
        assert_eq!(refused(&["signal"]), missing);
        assert_eq!(refused(&["task_id", "y"]), "TypeError(\"revoke() got an unexpected keyword argument 'y'\")");
        assert!(REVOKE.check("revoke", given(&["task_id", "signal"])).is_ok());
    }
}
