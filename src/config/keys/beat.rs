//! Settings of beat and of message signing.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new("beat_enable_remote_control", Kind::Bool, Fallback::Bool(false), "Whether beat answers remote control")
        .old("CELERYBEAT_ENABLE_REMOTE_CONTROL")
        .beat(),
    Key::new(
        "beat_remote_control_max_tick_age",
        Kind::Float,
        Fallback::None,
        "Seconds after which a beat that has not ticked says that it is unwell",
    )
    .old("CELERYBEAT_REMOTE_CONTROL_MAX_TICK_AGE")
    .beat(),
    Key::new(
        "beat_max_loop_interval",
        Kind::Float,
        Fallback::Int(0),
        "Most seconds that beat sleeps; 0 is the scheduler's own",
    )
    .old("CELERYBEAT_MAX_LOOP_INTERVAL")
    .beat(),
    Key::new("beat_schedule", Kind::Dict, Fallback::Dict(&[]), "Periodic tasks").old("CELERYBEAT_SCHEDULE").beat(),
    Key::new(
        "beat_scheduler",
        Kind::Str,
        Fallback::Str("celery.beat:PersistentScheduler"),
        "Class path of the scheduler",
    )
    .old("CELERYBEAT_SCHEDULER")
    .flag("--scheduler")
    .beat(),
    Key::new("beat_schedule_filename", Kind::Str, Fallback::Str("celerybeat-schedule"), "Where the schedule is kept")
        .old("CELERYBEAT_SCHEDULE_FILENAME")
        .flag("--schedule-filename")
        .beat(),
    Key::new(
        "beat_sync_every",
        Kind::Int,
        Fallback::Int(0),
        "Tasks between two writes of the schedule; 0 goes by time alone",
    )
    .old("CELERYBEAT_SYNC_EVERY")
    .beat(),
    Key::new(
        "beat_cron_starting_deadline",
        Kind::Int,
        Fallback::None,
        "Seconds for which a missed crontab entry is still sent",
    )
    .old("CELERYBEAT_CRON_STARTING_DEADLINE")
    .beat(),
    Key::new("security_certificate", Kind::Str, Fallback::None, "Certificate for the auth serializer")
        .old("CELERY_SECURITY_CERTIFICATE")
        .child(),
    Key::new("security_cert_store", Kind::Str, Fallback::None, "Certificates trusted by the auth serializer")
        .old("CELERY_SECURITY_CERT_STORE")
        .child(),
    Key::new("security_key", Kind::Str, Fallback::None, "Private key for the auth serializer")
        .old("CELERY_SECURITY_KEY")
        .child(),
    Key::new("security_key_password", Kind::Str, Fallback::None, "Password of the private key")
        .old("CELERY_SECURITY_KEY_PASSWORD")
        .child(),
    Key::new("security_digest", Kind::Str, Fallback::Str("sha256"), "Digest of the auth serializer")
        .old("CELERY_SECURITY_DIGEST")
        .child(),
];
