//! A signature under a call: `Signature._merge`.

use crate::{
    protocol::Signature,
    serialization::{Map, Value},
};

/// Options that a call cannot change once they are set: a change would keep a chord from completing.
const IMMUTABLE: [&str; 2] = ["group_id", "stamped_headers"];

/// The options of a call over those of a signature. What a signature is stamped with stays.
pub(super) fn options(own: &Map, call: Map) -> Map {
    let stamps = own.get("stamped_headers").and_then(Value::as_list).unwrap_or_default();
    let is_fixed = |name: &str| {
        own.contains_key(name) && (IMMUTABLE.contains(&name) || stamps.iter().any(|stamp| stamp.as_str() == Some(name)))
    };
    let mut merged = own.clone();
    merged.extend(call.into_iter().filter(|(name, value)| !value.is_null() && !is_fixed(name)));
    merged
}

/// The arguments of a call before those of a signature, which keeps its own if it is immutable.
pub(super) fn args(signature: &Signature, call: &[Value]) -> Vec<Value> {
    if signature.immutable || call.is_empty() {
        return signature.args.clone();
    }
    call.iter().chain(&signature.args).cloned().collect()
}
