//! What the Redis transport alone reads and changes in an envelope: its priority, and the marks of a redelivery.

use crate::{
    broker::envelope::{
        marked,
        scanner::{self, NotJson},
    },
    serialization::{Value, json},
};

/// The payload with the marks of a redelivery, or as it was where it has no place for them
/// (`kombu/transport/redis.py:Channel._do_restore_message`).
pub(super) fn mark_redelivered(payload: &[u8]) -> Vec<u8> {
    let mut text = payload.to_vec();
    let Ok(outer) = members(payload, ["headers", "properties"]) else { return text };
    let info = outer[1].clone().and_then(|properties| {
        let inner = members(&payload[properties.clone()], ["delivery_info", ""]).ok()?;
        inner[0].clone().map(|place| properties.start + place.start..properties.start + place.end)
    });
    let mut places: Vec<_> = [outer[0].clone(), info].into_iter().flatten().collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.start));
    for place in places {
        if let Ok(object) = marked(&payload[place.clone()]) {
            text.splice(place, object);
        }
    }
    text
}

/// The priority in a payload; 0 where there is none.
pub(super) fn priority(payload: &[u8]) -> i64 {
    let found = members(payload, ["properties", ""]).ok().and_then(|[properties, _]| {
        let properties = &payload[properties?];
        let place = members(properties, ["priority", ""]).ok()?[0].clone()?;
        json::parse(&properties[place]).ok()
    });
    match found {
        Some(Value::Int(number)) => number,
        Some(Value::Float(number)) => number as i64,
        Some(Value::Str(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

type Place = Option<std::ops::Range<usize>>;

fn members(text: &[u8], names: [&str; 2]) -> Result<[Place; 2], NotJson> {
    let mut places = [None, None];
    scanner::object(text, |key, place| {
        if let Some(index) = names.iter().position(|name| name.as_bytes() == key) {
            places[index] = Some(place);
        }
    })?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::envelope::parse;

    const SAMPLE: &str = r#"{"body": "W1sxXSwge30sIHt9XQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "5a53", "timelimit": [null, null]}, "properties": {"correlation_id": "5a53", "reply_to": "523f", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 5, "body_encoding": "base64", "delivery_tag": "a578"}}"#;

    #[test]
    fn redelivery_is_marked_where_kombu_marks_it_and_nothing_else_changes() {
        let once = mark_redelivered(SAMPLE.as_bytes());
        let text = String::from_utf8(once.clone()).unwrap();
        assert!(text.contains(r#""timelimit": [null, null], "redelivered": true}"#), "{text}");
        assert!(text.contains(r#""routing_key": "celery", "redelivered": true}"#), "{text}");
        assert_eq!(text.replace(r#", "redelivered": true"#, ""), SAMPLE);
        assert_eq!(mark_redelivered(&once), once);
        assert!(parse(&once).unwrap().redelivered);
    }

    #[test]
    fn payloads_without_a_place_for_the_mark_stay() {
        for text in ["not json", "{}", r#"{"headers": null, "properties": []}"#] {
            assert_eq!(mark_redelivered(text.as_bytes()), text.as_bytes());
        }
        assert_eq!(mark_redelivered(br#"{"headers": {}}"#), br#"{"headers": {"redelivered": true}}"#);
    }

    #[test]
    fn priorities_are_found_whatever_they_are() {
        assert_eq!(priority(SAMPLE.as_bytes()), 5);
        for (text, expected) in [("\"7\"", 7), ("null", 0), ("3.9", 3), ("[]", 0)] {
            let payload = format!(r#"{{"properties": {{"priority": {text}}}}}"#);
            assert_eq!(priority(payload.as_bytes()), expected, "{text}");
        }
        assert_eq!(priority(b"nonsense"), 0);
    }

    #[test]
    fn what_is_cut_off_is_never_a_panic() {
        for length in 0..SAMPLE.len() {
            mark_redelivered(&SAMPLE.as_bytes()[..length]);
            priority(&SAMPLE.as_bytes()[..length]);
        }
    }
}
