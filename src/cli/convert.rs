//! From what was typed to [`WorkerArgs`], with click's messages where it makes no sense.

use std::{env, path::PathBuf, time::Duration};

use super::{
    args::{GlobalOptions, WorkerOptions},
    environment::ProcessEnvironment,
    usage::UsageError,
};
use crate::config::{Autoscale, Concurrency, HealthAddr, LogLevel, Pool, Strings, WorkerArgs, nodename, overrides};

type Converted<T> = Result<T, UsageError>;

/// Everything that the command line and its environment variables say.
pub(super) fn worker_args(global: GlobalOptions, options: &WorkerOptions) -> Converted<WorkerArgs> {
    let hostname = hostname(options.hostname.as_deref());
    let path = |text: &Option<String>| text.as_deref().map(|text| expanded(text, &hostname));
    Ok(WorkerArgs {
        app: global.app.or_else(|| variable("APP")),
        broker: global.broker.or_else(|| variable("BROKER_URL").or_else(|| environment("CELERY_BROKER"))),
        result_backend: global.result_backend.or_else(|| variable("RESULT_BACKEND")),
        loader: global.loader.or_else(|| variable("LOADER")),
        config: global.config.or_else(|| variable("CONFIG_MODULE").or_else(|| environment("CELERY_CONFIG"))),
        workdir: global.workdir.map(PathBuf::from),
        skip_checks: global.skip_checks || variable("SKIP_CHECKS").is_some(),
        no_color: global.no_color || variable("NO_COLOR").is_some(),
        quiet: global.quiet,
        loglevel: loglevel(&options.loglevel)?,
        logfile: options.logfile.clone(),
        pidfile: path(&options.pidfile),
        statedb: path(&options.statedb),
        optimization: optimization(&options.optimization)?,
        concurrency: options.concurrency.as_deref().map(concurrency).transpose()?.filter(|c| *c != Concurrency::Cpus),
        pool: options.pool.as_deref().map(pool).transpose()?.filter(|pool| *pool != Pool::Prefork),
        prefetch_multiplier: integer("'--prefetch-multiplier'", &options.prefetch_multiplier)?,
        disable_prefetch: options.disable_prefetch.then_some(true),
        task_events: options.task_events.then_some(true),
        time_limit: seconds("'--time-limit'", &options.time_limit)?,
        soft_time_limit: seconds("'--soft-time-limit'", &options.soft_time_limit)?,
        max_tasks_per_child: count("'--max-tasks-per-child'", &options.max_tasks_per_child)?,
        max_memory_per_child: count("'--max-memory-per-child'", &options.max_memory_per_child)?,
        purge: options.purge,
        queues: list(&options.queues),
        exclude_queues: list(&options.exclude_queues),
        include: list(&options.include),
        without_gossip: options.without_gossip,
        without_mingle: options.without_mingle,
        without_heartbeat: options.without_heartbeat,
        heartbeat_interval: count("'--heartbeat-interval'", &options.heartbeat_interval)?
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        autoscale: options.autoscale.as_deref().map(autoscale).transpose()?,
        json_log: is_json(&options.log_format)?,
        health_addr: options.health_addr.as_deref().map(health_addr).transpose()?,
        overrides: configuration(&options.overrides)?,
        hostname,
    })
}

/// The machine's full node name: what `-n` says, completed.
fn hostname(wanted: Option<&str>) -> String {
    nodename::default_nodename(wanted, &gethostname::gethostname().to_string_lossy())
}

fn expanded(path: &str, hostname: &str) -> PathBuf {
    nodename::node_format(path, hostname, 0).into()
}

/// A global option's variable, under its own name or with Celery's prefix.
fn variable(name: &str) -> Option<String> {
    environment(name).or_else(|| environment(&format!("CELERY_{name}")))
}

fn environment(name: &str) -> Option<String> {
    ProcessEnvironment.string(name)
}

fn loglevel(text: &str) -> Converted<LogLevel> {
    let known = text.parse::<u8>().is_err().then(|| LogLevel::parse(text)).flatten();
    known.ok_or_else(|| {
        let name = text.to_uppercase();
        let reason = format!("'{name}' is not one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'.");
        UsageError::value("'-l' / '--loglevel'", &reason)
    })
}

fn optimization(text: &str) -> Converted<String> {
    if matches!(text, "default" | "fair") {
        return Ok(text.to_owned());
    }
    let reason = format!("'{text}' is not one of 'default', 'fair'.");
    Err(UsageError::value("'-O' / '--optimization'", &reason))
}

fn concurrency(text: &str) -> Converted<Concurrency> {
    Concurrency::parse(text).ok_or_else(|| {
        let reason = format!("must be a non-negative integer or 'auto', got '{text}'");
        UsageError::value("'-c' / '--concurrency'", &reason)
    })
}

fn pool(text: &str) -> Converted<Pool> {
    match text {
        "prefork" | "eventlet" | "gevent" | "solo" | "processes" | "threads" => Ok(Pool::parse(text)),
        "custom" => Ok(Pool::Custom(env::var("CELERY_CUSTOM_WORKER_POOL").unwrap_or_default())),
        _ => {
            let reason = format!(
                "'{text}' is not one of 'prefork', 'eventlet', 'gevent', 'solo', 'processes', 'threads', 'custom'."
            );
            Err(UsageError::value("'-P' / '--pool'", &reason))
        }
    }
}

fn autoscale(text: &str) -> Converted<Autoscale> {
    let error = |reason: String| UsageError::value("'--autoscale'", &reason);
    let parts: Vec<&str> = text.split(',').collect();
    let numbers: Result<Vec<u32>, _> = parts.iter().map(|part| part.trim().parse::<u32>()).collect();
    match (parts.len(), numbers.as_deref()) {
        (1, Ok([max])) => Ok(Autoscale { max: *max, min: 0 }),
        (2, Ok([a, b])) => Ok(Autoscale { max: *a.max(b), min: *a.min(b) }),
        (1, _) => Err(error(format!("Expected an integer. Got {parts:?} instead."))),
        (2, _) => Err(error(format!("Expected two comma separated integers. Got {text} instead."))),
        (n, _) => Err(error(format!("Expected two comma separated integers or one integer.Got {n} instead."))),
    }
}

fn is_json(format: &str) -> Converted<bool> {
    match format {
        "celery" | "json" => Ok(format == "json"),
        _ => Err(UsageError::value("'--log-format'", &format!("'{format}' is not one of 'celery', 'json'."))),
    }
}

fn health_addr(text: &str) -> Converted<HealthAddr> {
    HealthAddr::parse(text).ok_or_else(|| {
        let reason = format!("'{text}' is neither HOST:PORT nor PORT.");
        UsageError::value("'--health-addr'", &reason)
    })
}

fn configuration(arguments: &[String]) -> Converted<Vec<overrides::Setting>> {
    let parsed: Result<Vec<_>, _> = arguments.iter().map(|argument| overrides::parse(argument)).collect();
    parsed.map_err(|reason| {
        UsageError::worker(format!("Unable to parse extra configuration from command line.\nReason: {reason}"))
    })
}

fn integer(option: &str, text: &Option<String>) -> Converted<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| UsageError::value(option, &format!("'{text}' is not a valid integer.")))
}

/// An integer of at least zero; Celery would take a negative one and then do nothing sensible with it.
fn count(option: &str, text: &Option<String>) -> Converted<Option<u64>> {
    let Some(number) = integer(option, text)? else { return Ok(None) };
    u64::try_from(number).map(Some).map_err(|_| UsageError::value(option, &format!("{number} is negative.")))
}

fn seconds(option: &str, text: &Option<String>) -> Converted<Option<Duration>> {
    let Some(text) = text else { return Ok(None) };
    let error = || UsageError::value(option, &format!("'{text}' is not a valid float."));
    let number: f64 = text.trim().parse().map_err(|_| error())?;
    Duration::try_from_secs_f64(number).map(Some).map_err(|_| error())
}

/// A list separated by commas.
fn list(text: &Option<String>) -> Vec<String> {
    let items = text.as_deref().unwrap_or_default().split(',');
    items.map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
