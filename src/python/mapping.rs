//! [`dict`]: the JSON of a job's headers and properties as a Python dict, where it is as plain as it nearly always is.
//!
//! Only what both parsers read alike goes this way: no fractions, no integers beyond 64 bits, no lone surrogates, none of
//! kombu's `__type__`. All else is left to `celery_rs.request.loads`, as are errors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How many names are kept as Python strings: headers have some thirty, and users may send any number of their own.
const MOST_NAMES: usize = 256;

thread_local! {
    static NAMES: RefCell<HashMap<Box<str>, Py<PyString>>> = RefCell::default();
}

/// None if Python is to read it.
pub(super) fn dict<'py>(py: Python<'py>, json: &[u8]) -> Option<Bound<'py, PyDict>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Plain(py).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value.cast_into::<PyDict>().ok()
}

#[derive(Clone, Copy)]
struct Plain<'py>(Python<'py>);

impl<'py> Plain<'py> {
    fn value<E: Error>(self, value: impl IntoPyObjectExt<'py>) -> Result<Bound<'py, PyAny>, E> {
        value.into_bound_py_any(self.0).map_err(E::custom)
    }

    fn name(self, name: &str) -> Bound<'py, PyString> {
        NAMES.with_borrow_mut(|names| {
            if let Some(known) = names.get(name) {
                return known.bind(self.0).clone();
            }
            let new = PyString::intern(self.0, name);
            if names.len() < MOST_NAMES {
                names.insert(name.into(), new.clone().unbind());
            }
            new
        })
    }
}

impl<'de, 'py> DeserializeSeed<'de> for Plain<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Plain<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("plain JSON without fractions")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.value(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.value(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.value(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.0, value).into_any())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.0.None().into_bound(self.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(A::Error::custom)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(name) = entries.next_key_seed(Name(self))? {
            let value = entries.next_value_seed(self)?;
            dict.set_item(name, value).map_err(A::Error::custom)?;
        }
        Ok(dict.into_any())
    }
}

/// A key.
struct Name<'py>(Plain<'py>);

impl<'de, 'py> DeserializeSeed<'de> for Name<'py> {
    type Value = Bound<'py, PyString>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 'py> Visitor<'de> for Name<'py> {
    type Value = Bound<'py, PyString>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a name that is not __type__")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        if name == "__type__" { Err(E::custom("kombu's own")) } else { Ok(self.0.name(name)) }
    }
}
