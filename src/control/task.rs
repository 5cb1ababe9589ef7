//! Task types by remote control: `registered`, `rate_limit`, `time_limit`.

use std::{sync::PoisonError, time::Duration};

use tracing::{error, info};

use crate::{
    config::rate,
    control::{
        CommandError, Node,
        arguments::Arguments,
        error::{nok, ok},
    },
    pool::TimeLimits,
    protocol::repr::repr,
    serialization::Value,
    task::{RateLimit, TaskDefinition, TaskOptions},
};

/// What `registered` shows unless told otherwise.
const DEFAULT_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

pub(super) async fn registered(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let asked = arguments.texts("taskinfoitems")?;
    let items = if asked.is_empty() { DEFAULT_ITEMS.map(str::to_owned).to_vec() } else { asked };
    let builtins = arguments.truth("builtins");
    let registry = node.ask(|dispatcher| dispatcher.registry()).await?;
    let mut tasks: Vec<_> = registry.iter().filter(|task| builtins || !task.name.starts_with("celery.")).collect();
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Value::List(tasks.into_iter().map(|task| shown(node, task, &items).into()).collect()))
}

pub(super) async fn rate_limit(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let task = arguments.name("task_name")?;
    let written = arguments.value("rate_limit").clone();
    let limit = match rate::from_value(&written) {
        Ok(limit) => limit.map(|per_second| RateLimit { per_second }),
        Err(_) => return Ok(nok(format!("Invalid rate limit string: {}", invalid_rate(&written)))),
    };
    let name = task.clone();
    if !node.ask(move |dispatcher| dispatcher.limit_rate(&name, limit)).await? {
        error!(target: "celery.worker.control", "Rate limit attempt for unknown task {task}");
        return Ok(nok("unknown task"));
    }
    let mut known = node.rate_limits.lock().unwrap_or_else(PoisonError::into_inner);
    if !written.is_truthy() {
        known.remove(&task);
        info!(target: "celery.worker.control", "Rate limits disabled for tasks of type {task}");
        return Ok(ok("rate limit disabled successfully"));
    }
    let text = as_str(&written);
    info!(target: "celery.worker.control", "New rate limit for tasks of type {task}: {text}.");
    known.insert(task, text);
    Ok(ok("new rate limit set successfully"))
}

pub(super) async fn time_limit(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let task = arguments.name("task_name")?;
    let limits = TimeLimits { hard: duration(&arguments, "hard")?, soft: duration(&arguments, "soft")? };
    let name = task.clone();
    if !node.ask(move |dispatcher| dispatcher.limit_time(&name, limits)).await? {
        error!(target: "celery.worker.control", "Change time limit attempt for unknown task {task}");
        return Ok(nok("unknown task"));
    }
    info!(target: "celery.worker.control", "New time limits for tasks of type {task}: soft={} hard={}",
        repr(arguments.value("soft")), repr(arguments.value("hard")));
    Ok(ok("time limits set successfully"))
}

/// What Python's `float()` says of it.
fn invalid_rate(written: &Value) -> CommandError {
    let number = written.as_str().and_then(|text| text.split_once('/')).map_or(as_str(written), |(n, _)| n.to_owned());
    CommandError::value(format!("could not convert string to float: {}", repr(&number.into())))
}

fn duration(arguments: &Arguments, name: &str) -> Result<Option<Duration>, CommandError> {
    let seconds = arguments.number(name)?.filter(|seconds| *seconds > 0.0);
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

fn shown(node: &Node, task: &TaskDefinition, items: &[String]) -> String {
    let field = |name: &String| Some(format!("{name}={}", attribute(node, task, name)?));
    let fields: Vec<String> = items.iter().filter(|name| !name.starts_with('_')).filter_map(field).collect();
    if fields.is_empty() { task.name.to_string() } else { format!("{} [{}]", task.name, fields.join(" ")) }
}

/// `str()` of a task's attribute; none where it is `None` or not known here.
fn attribute(node: &Node, task: &TaskDefinition, name: &str) -> Option<String> {
    if name == "rate_limit" {
        return node.rate_limits.lock().unwrap_or_else(PoisonError::into_inner).get(&*task.name).cloned();
    }
    let value = option(&task.options, name).or_else(|| task.options.publish.get(name).cloned());
    if name == "name" {
        return Some(task.name.to_string());
    }
    value.filter(|value| !value.is_null()).map(|value| as_str(&value))
}

fn option(options: &TaskOptions, name: &str) -> Option<Value> {
    let seconds = |limit: Option<Duration>| Value::from(limit.map(|limit| limit.as_secs_f64()));
    Some(match name {
        "acks_late" => options.acks_late.into(),
        "reject_on_worker_lost" => options.reject_on_worker_lost.into(),
        "ignore_result" => options.ignore_result.into(),
        "store_errors_even_if_ignored" => options.store_errors_even_if_ignored.into(),
        "track_started" => options.track_started.into(),
        "send_events" => options.send_events.into(),
        "max_retries" => options.max_retries.into(),
        "serializer" => options.serializer.clone().into(),
        "time_limit" => seconds(options.time_limit),
        "soft_time_limit" => seconds(options.soft_time_limit),
        _ => return None,
    })
}

/// Python's `str()`.
fn as_str(value: &Value) -> String {
    value.as_str().map_or_else(|| repr(value), str::to_owned)
}
