//! The call of `celery.chord_unlock`, which looks whether the parts of a chord have ended, again and again.
//!
//! Celery's own task, run by Python; sent for chords whose backend counts no parts.

use crate::{
    producer::canvas::TaskCall,
    protocol::Signature,
    serialization::{Map, Value, map},
};

/// Seconds before it looks for the first time.
const COUNTDOWN: i64 = 1;
/// Where the body goes, there goes who waits for its header.
const ROUTING: [&str; 4] = ["exchange", "exchange_type", "routing_key", "headers"];

/// As `celery/backends/base.py:fallback_chord_unlock`. `known` is what the app says of calls of the body.
pub(super) fn call(group_id: &str, body: &Signature, result: Vec<Value>, known: &Map, default_queue: &str) -> TaskCall {
    let option = |name: &str| body.options.get(name).or_else(|| known.get(name)).filter(|value| !value.is_null());
    let queue = option("queue").cloned().unwrap_or_else(|| default_queue.into());
    let mut options = map([
        ("countdown", COUNTDOWN.into()),
        ("queue", queue),
        ("priority", option("priority").cloned().unwrap_or_else(|| 0.into())),
    ]);
    let stamped = body.options.get("stamped_headers").and_then(Value::as_list).unwrap_or_default();
    let mut kwargs = map([("interval", Value::Null), ("max_retries", Value::Null), ("result", result.into())]);
    for name in ROUTING.into_iter().filter(|name| !stamped.contains(&Value::from(*name))) {
        let Some(value) = body.options.get(name).filter(|value| !value.is_null()) else { continue };
        options.insert(name.to_owned(), value.clone());
        if name == "exchange_type" {
            kwargs.insert("_chord_unlock_exchange_type".to_owned(), value.clone());
        }
    }
    let args = vec![group_id.into(), body.to_value()];
    TaskCall { task: "celery.chord_unlock".to_owned(), args, kwargs, options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_where_the_body_goes() {
        let mut body = Signature { task: "total".into(), ..Signature::default() };
        let known = map([("queue", "sums".into())]);
        let queue = |body: &Signature, known: &Map| call("g", body, vec![], known, "celery").options["queue"].clone();
        assert_eq!(queue(&body, &Map::new()), "celery".into());
        assert_eq!(queue(&body, &known), "sums".into());
        body.options = map([("queue", "own".into()), ("priority", 3.into()), ("routing_key", "k".into())]);
        assert_eq!(queue(&body, &known), "own".into());
        let made = call("g", &body, vec![vec![Value::from("part")].into()], &known, "celery");
        assert_eq!((&made.options["priority"], &made.options["routing_key"]), (&3.into(), &"k".into()));
        assert_eq!(
            (&made.args[0], &made.kwargs["result"]),
            (&"g".into(), &vec![Value::List(vec!["part".into()])].into())
        );
    }
}
