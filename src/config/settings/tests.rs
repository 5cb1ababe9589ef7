use std::time::Duration;

use super::*;
use crate::{
    config::{Concurrency, Layers, Pool, WorkerArgs},
    serialization::{Map, Value},
};

fn resolve(app: &[(&str, Value)]) -> Result<Settings, ConfigError> {
    let app: Map = app.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Settings::resolve(Layers::new(app, &(), Vec::new()))
}

#[test]
fn defaults_are_celerys() {
    let settings = resolve(&[]).unwrap();
    assert_eq!(settings.broker.read_urls, ["amqp://guest:guest@localhost:5672//"]);
    assert_eq!(settings.broker.heartbeat, Some(Duration::from_secs(120)));
    assert_eq!(settings.broker.connection_max_retries, Some(100));
    assert!(settings.broker.connection_retry_on_startup);
    assert_eq!(settings.task.default_exchange, "celery");
    assert_eq!(settings.task.publish_retry_policy.max_retries, Some(3));
    assert_eq!(settings.worker.concurrency, Concurrency::Cpus);
    assert_eq!(settings.worker.prefetch_multiplier, 4);
    assert_eq!(settings.result.expires, Some(Duration::from_secs(86_400)));
    assert_eq!(settings.result.failure_expires, settings.result.expires);
    assert_eq!(settings.result.max_retries, None);
    assert_eq!(settings.accept_content, ["json"]);
    assert!(settings.enable_utc && settings.timezone.is_none());
}

#[test]
fn broker_urls() {
    let urls = |app: &[(&str, Value)]| resolve(app).unwrap().broker;
    let both = urls(&[("broker_url", "redis://a;b".into()), ("broker_write_url", "redis://w".into())]);
    assert_eq!(both.read_urls, ["redis://a", "redis://b"]);
    assert_eq!(both.write_urls, ["redis://w"]);
    assert_eq!(urls(&[("broker_url", vec!["amqp://a", "amqp://b"].into())]).read_urls, ["amqp://a", "amqp://b"]);
    let parts = [("broker_transport", "redis".into()), ("broker_host", "h".into()), ("broker_vhost", 3i64.into())];
    assert_eq!(urls(&parts).read_urls, ["redis://h/3"]);
}

#[test]
fn retry_on_startup_follows_retry() {
    assert!(!resolve(&[("broker_connection_retry", false.into())]).unwrap().broker.connection_retry_on_startup);
}

#[test]
fn older_flag_gives_acks_their_default() {
    let app = [("task_acks_on_failure_or_timeout", false.into()), ("task_acks_on_timeout", true.into())];
    let task = resolve(&app).unwrap().task;
    assert!(!task.acks_on_failure && task.acks_on_timeout);
}

#[test]
fn strings_are_true_as_in_python() {
    assert!(resolve(&[("task_acks_late", "false".into())]).unwrap().task.acks_late);
}

#[test]
fn refuses_what_makes_no_sense_without_showing_it() {
    for (name, value) in [
        ("broker_transport_options", Value::from("s3cret")),
        ("broker_failover_strategy", "s3cret".into()),
        ("task_time_limit", "s3cret".into()),
        ("task_default_queue_type", "s3cret".into()),
        ("worker_prefetch_multiplier", (-1i64).into()),
        ("result_expires", f64::NAN.into()),
        ("task_soft_time_limit", f64::INFINITY.into()),
    ] {
        let error = resolve(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn command_line_overrides_the_app() {
    let args = WorkerArgs {
        concurrency: Some(Concurrency::Number(3)),
        pool: Some(Pool::Solo),
        prefetch_multiplier: Some(0),
        broker: Some("redis://cli".to_owned()),
        time_limit: Some(Duration::from_secs(5)),
        ..WorkerArgs::default()
    };
    let app: Map = [("broker_read_url", "redis://app"), ("worker_pool", "threads")]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
    let settings = Settings::resolve(Layers::new(app, &(), args.settings())).unwrap();
    assert_eq!(settings.broker.read_urls, ["redis://cli"]);
    assert_eq!(settings.worker.concurrency, Concurrency::Number(3));
    assert_eq!(settings.worker.pool, Pool::Solo);
    assert_eq!(settings.worker.prefetch_multiplier, 4);
    assert_eq!(settings.task.time_limit, Some(Duration::from_secs(5)));
}

#[test]
fn debug_shows_no_password() {
    let app = [("broker_url", "redis://:hush@h".into()), ("result_backend", "redis://:hush@h".into())];
    let settings = resolve(&app).unwrap();
    assert!(!format!("{:?} {:?}", settings.broker, settings.result).contains("hush"));
}

#[test]
fn senseless_concurrency_is_told() {
    let settings = resolve(&[("worker_concurrency", "many".into())]).unwrap();
    assert_eq!(settings.worker.concurrency, Concurrency::Cpus);
    assert_eq!(settings.refusals().len(), 1);
    assert!(resolve(&[("worker_concurrency", "4".into())]).unwrap().refusals().is_empty());
}
