//! Settings without a namespace.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new(
        "accept_content",
        Kind::List,
        Fallback::List(&["json"]),
        "Serializers, by name or content type, whose messages this worker decodes",
    )
    .old("CELERY_ACCEPT_CONTENT"),
    Key::new("enable_utc", Kind::Bool, Fallback::Bool(true), "Whether times in messages are UTC"),
    Key::new("imports", Kind::List, Fallback::List(&[]), "Modules imported at start").old("CELERY_IMPORTS").child(),
    Key::new("include", Kind::List, Fallback::List(&[]), "Modules imported at start, after `imports`")
        .old("CELERY_INCLUDE")
        .flag("--include")
        .child(),
    Key::new(
        "timezone",
        Kind::Str,
        Fallback::None,
        "Name of the time zone; unset is UTC, or local time without `enable_utc`",
    )
    .old("CELERY_TIMEZONE"),
];
