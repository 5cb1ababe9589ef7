//! `stats`: numbers about the worker, its pool, its broker and its process.

use std::{sync::Arc, time::Duration};

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike,
};

use crate::{
    config::url::ConnectionUrl,
    control::{CommandError, Node, arguments::Arguments},
    ipc::PoolKind,
    pool::{Pool, Writes},
    serialization::{Map, Value, map},
    worker::AutoscaleInfo,
};

pub(super) async fn stats(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let (totals, prefetch, pool, seats, scaler) = node
        .ask(|worker| {
            let seats = (worker.seats(), worker.running());
            (worker.totals(), worker.prefetch_count(), worker.pool(), seats, worker.autoscale_info())
        })
        .await?;
    let totals = totals.into_iter().map(|(name, total)| (name, total.into())).collect();
    let scaler = scaler.map(|scaler| ("autoscaler".to_owned(), autoscaler(scaler)));
    let told = [
        ("total", Value::Map(totals)),
        ("pid", std::process::id().into()),
        ("clock", node.clock().value().to_string().into()),
        ("uptime", node.started.elapsed().as_secs().into()),
        ("pool", pool_info(node, pool.as_ref(), seats).await),
        ("broker", broker(node)),
        ("prefetch_count", prefetch.into()),
        ("rusage", getrusage(UsageWho::RUSAGE_SELF).map_or_else(|_| "N/A".into(), |usage| rusage(&usage))),
    ];
    Ok(Value::Map(told.map(owned).into_iter().chain(scaler).collect()))
}

fn autoscaler(scaler: AutoscaleInfo) -> Value {
    let AutoscaleInfo { max, min, current, qty } = scaler;
    dict([("max", max), ("min", min), ("current", current), ("qty", qty)].map(|(name, n)| (name, (n as u64).into())))
}

/// In the words of the Celery pool whose place ours takes: Flower reads them.
async fn pool_info(node: &Node, pool: Option<&Arc<dyn Pool>>, (seats, running): (usize, usize)) -> Value {
    let pids = pool.map_or_else(|| vec![own_pid()], |pool| pool.pids());
    let number = |number: usize| Value::from(number as u64);
    let common = |implementation: &str| {
        [("implementation", Value::from(implementation)), ("max-concurrency", number(seats))].map(owned)
    };
    let mut info = Map::new();
    match node.options.pool {
        PoolKind::Prefork => {
            info.extend(common("celery.concurrency.prefork:TaskPool"));
            let writes = match pool {
                Some(pool) => pool.writes().await.unwrap_or_default(),
                None => Writes::default(),
            };
            info.extend(prefork(node, pids, &writes));
        }
        PoolKind::Solo => {
            info.extend(common("celery.concurrency.solo:TaskPool"));
            let solo = [
                ("processes", pids.into()),
                ("max-tasks-per-child", Value::Null),
                ("put-guarded-by-semaphore", true.into()),
                ("timeouts", Value::List(Vec::new())),
            ];
            info.extend(solo.map(owned));
        }
        PoolKind::Threads => {
            info.extend(common("celery.concurrency.thread:TaskPool"));
            info.insert("threads".to_owned(), number(seats));
        }
        PoolKind::Gevent => info.extend(common("celery.concurrency.gevent:TaskPool")),
        PoolKind::Eventlet => {
            info.extend(common("celery.concurrency.eventlet:TaskPool"));
            let free = seats.saturating_sub(running);
            info.extend([("free-threads", number(free)), ("running-threads", number(running))].map(owned));
        }
    }
    Value::Map(info)
}

fn prefork(node: &Node, pids: Vec<i32>, given: &Writes) -> [(String, Value); 5] {
    let seconds = |limit: Option<Duration>| limit.map_or(Value::Int(0), whole_seconds);
    let limits = node.options.limits;
    [
        ("processes", pids.into()),
        ("max-tasks-per-child", node.options.max_tasks_per_child.map_or_else(|| "N/A".into(), Value::from)),
        ("put-guarded-by-semaphore", true.into()),
        ("timeouts", Value::List(vec![seconds(limits.soft), seconds(limits.hard)])),
        ("writes", writes(given)),
    ]
    .map(owned)
}

/// `human_write_stats` of `celery/concurrency/asynpool.py`: places that were given nothing are not there.
fn writes(given: &Writes) -> Value {
    let jobs: Vec<u64> = given.jobs.iter().copied().filter(|jobs| *jobs > 0).collect();
    let total: u64 = jobs.iter().sum();
    let part = |jobs: f64| format!("{:.2}", if total > 0 { jobs / total as f64 } else { 0.0 });
    let listed = |shown: &dyn Fn(u64) -> String| jobs.iter().map(|jobs| shown(*jobs)).collect::<Vec<_>>().join(", ");
    let sockets =
        [("total", given.children), ("active", given.active)].map(|(name, count)| (name, (count as u64).into()));
    dict([
        ("total", total.into()),
        ("avg", part(total as f64 / jobs.len().max(1) as f64).into()),
        ("all", listed(&|jobs| part(jobs as f64)).into()),
        ("raw", listed(&|jobs| jobs.to_string()).into()),
        ("strategy", "fair".into()),
        ("inqueues", dict(sockets)),
    ])
}

fn whole_seconds(limit: Duration) -> Value {
    if limit.subsec_nanos() == 0 { limit.as_secs().into() } else { limit.as_secs_f64().into() }
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// kombu's `Connection.info()` without the password.
fn broker(node: &Node) -> Value {
    let settings = &node.options.settings.broker;
    let first = settings.read_urls.first().map(String::as_str).unwrap_or_default();
    let url = ConnectionUrl::parse(first).ok();
    let user = url.as_ref().and_then(|url| url.user.clone());
    let named = |parameter: &str| {
        let found = url.as_ref().and_then(|url| url.query.iter().find(|(name, _)| name == parameter));
        found.map(|(_, value)| value.clone())
    };
    let login_method = named("login_method").or_else(|| settings.login_method.clone());
    let credential_provider = named("credential_provider");
    let path = url.as_ref().and_then(|url| url.path.clone()).filter(|path| !path.is_empty());
    let (port, vhost, default_user, login) = match node.options.transport {
        "redis" => (6379, "0", None, None),
        "filesystem" => (0, "/", None, None),
        _ => (5672, "/", Some("guest"), Some("PLAIN")),
    };
    // Celery's worker has no event loop there, and no heartbeats without one.
    let heartbeat = settings.heartbeat.filter(|_| node.options.transport != "filesystem");
    // One alone has none; of several, the first is one as well.
    let alternates = settings.read_urls.iter().filter(|_| settings.read_urls.len() > 1);
    let ssl = &settings.use_ssl;
    dict([
        ("hostname", url.as_ref().and_then(|url| url.host.clone()).unwrap_or_else(|| "localhost".to_owned()).into()),
        ("userid", user.or_else(|| default_user.map(str::to_owned)).into()),
        ("virtual_host", path.unwrap_or_else(|| vhost.to_owned()).into()),
        ("port", url.as_ref().and_then(|url| url.port).unwrap_or(port).into()),
        ("insist", false.into()),
        ("ssl", if ssl.is_truthy() { true.into() } else { false.into() }),
        ("transport", url.map_or_else(|| node.options.transport.to_owned(), |url| url.scheme).into()),
        ("connect_timeout", whole_seconds(settings.connection_timeout)),
        ("transport_options", Value::Map(masked(&settings.transport_options))),
        ("login_method", login_method.or_else(|| login.map(str::to_owned)).into()),
        ("uri_prefix", Value::Null),
        ("heartbeat", heartbeat.map_or(Value::Int(0), whole_seconds)),
        ("failover_strategy", settings.failover_strategy.as_str().into()),
        ("alternates", alternates.map(|url| crate::config::url::mask(url)).collect::<Vec<_>>().into()),
        ("credential_provider", credential_provider.into()),
    ])
}

/// Options whose names speak of secrets are not shown.
fn masked(options: &Map) -> Map {
    let secret = |name: &str| ["pass", "key", "secret", "token"].iter().any(|word| name.contains(word));
    options.iter().filter(|(name, _)| !secret(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn rusage(usage: &Usage) -> Value {
    let seconds = |time: nix::sys::time::TimeVal| Value::Float(time.num_microseconds() as f64 / 1e6);
    dict([
        ("utime", seconds(usage.user_time())),
        ("stime", seconds(usage.system_time())),
        ("maxrss", usage.max_rss().into()),
        ("ixrss", usage.shared_integral().into()),
        ("idrss", usage.unshared_data_integral().into()),
        ("isrss", usage.unshared_stack_integral().into()),
        ("minflt", usage.minor_page_faults().into()),
        ("majflt", usage.major_page_faults().into()),
        ("nswap", usage.full_swaps().into()),
        ("inblock", usage.block_reads().into()),
        ("oublock", usage.block_writes().into()),
        ("msgsnd", usage.ipc_sends().into()),
        ("msgrcv", usage.ipc_receives().into()),
        ("nsignals", usage.signals().into()),
        ("nvcsw", usage.voluntary_context_switches().into()),
        ("nivcsw", usage.involuntary_context_switches().into()),
    ])
}

fn owned((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

fn dict<const N: usize>(fields: [(&str, Value); N]) -> Value {
    map(fields).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_worded_as_celery_does() {
        let given = Writes { jobs: vec![2, 0, 1], children: 3, active: 0 };
        let shown = crate::serialization::json::to_string(&writes(&given)).unwrap();
        let expected = r#"{"total": 3, "avg": "0.50", "all": "0.67, 0.33", "raw": "2, 1", "strategy": "fair", "inqueues": {"total": 3, "active": 0}}"#;
        assert_eq!(shown, expected);
        let none = writes(&Writes::default());
        assert_eq!(none.as_map().unwrap()["avg"], "0.00".into());
    }
}
