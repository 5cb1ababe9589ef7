//! [`Key`]: one setting of Celery, as a row of a table.

use crate::serialization::Value;

/// The type that Celery declares for a setting (`celery.app.defaults.Option`); command lines are converted to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// An integer.
    Int,
    /// A number; durations are seconds.
    Float,
    /// Text.
    Str,
    /// A list or tuple.
    List,
    /// A dict.
    Dict,
    /// More than one of them.
    Any,
}

/// A default, as far as constants can say it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Str(&'static str),
    /// A list of names.
    List(&'static [&'static str]),
    /// A dict.
    Dict(&'static [(&'static str, Fallback)]),
}

impl Fallback {
    /// The default as a value.
    pub fn to_value(self) -> Value {
        match self {
            Fallback::None => Value::Null,
            Fallback::Bool(b) => b.into(),
            Fallback::Int(n) => n.into(),
            Fallback::Float(f) => f.into(),
            Fallback::Str(s) => s.into(),
            Fallback::List(items) => items.to_vec().into(),
            Fallback::Dict(entries) => {
                Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.to_value())).collect())
            }
        }
    }
}

/// Who acts on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The worker's own process.
    Worker,
    /// Celery's code in the children.
    Child,
    /// Beat.
    Beat,
    /// Nobody, because here there is nothing left for it to do; the reason.
    Moot(&'static str),
    /// Nobody: setting it is answered with a message that gives this reason.
    Nobody(&'static str),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Lower-case name, as in `app.conf`.
    pub name: &'static str,
    /// Upper-case name of Celery 3 where it is not just the new one in capitals.
    pub old: Option<&'static str>,
    /// Declared type.
    pub kind: Kind,
    /// Celery's default.
    pub default: Fallback,
    /// The option of `celery worker` (or of `celery`) that overrides it.
    pub flag: Option<&'static str>,
    /// The environment variable that overrides what the app says.
    pub environment: Option<&'static str>,
    /// Whether Celery reads it although its table of settings does not have it.
    pub undeclared: bool,
    /// Who acts on it.
    pub reader: Reader,
    /// What it means, in half a line.
    pub doc: &'static str,
}

impl Key {
    /// A setting that the worker acts on.
    pub(super) const fn new(name: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Self {
        Self {
            name,
            old: None,
            kind,
            default,
            flag: None,
            environment: None,
            undeclared: false,
            reader: Reader::Worker,
            doc,
        }
    }

    pub(super) const fn old(self, old: &'static str) -> Self {
        Self { old: Some(old), ..self }
    }

    pub(super) const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) const fn environment(self, variable: &'static str) -> Self {
        Self { environment: Some(variable), ..self }
    }

    pub(super) const fn undeclared(self) -> Self {
        Self { undeclared: true, ..self }
    }

    pub(super) const fn child(self) -> Self {
        Self { reader: Reader::Child, ..self }
    }

    pub(super) const fn beat(self) -> Self {
        Self { reader: Reader::Beat, ..self }
    }

    pub(super) const fn moot(self, why: &'static str) -> Self {
        Self { reader: Reader::Moot(why), ..self }
    }

    pub(super) const fn refused(self, why: &'static str) -> Self {
        Self { reader: Reader::Nobody(why), ..self }
    }
}
