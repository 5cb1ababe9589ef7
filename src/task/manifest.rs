//! A Python task's options, from what its decorator left in the manifest.

use std::time::Duration;

use crate::{
    ipc::TaskManifest,
    serialization::{Map, Value, json},
    task::{RateLimit, TaskOptions},
};

/// The options of a Python task. An error names the task and what cannot be read in it.
pub fn options_from_manifest(task: &TaskManifest) -> Result<TaskOptions, String> {
    let told = |error: String| format!("task {}: {error}", task.name);
    Ok(TaskOptions {
        acks_late: task.acks_late,
        acks_on_failure: task.acks_on_failure,
        acks_on_timeout: task.acks_on_timeout,
        reject_on_worker_lost: task.reject_on_worker_lost,
        retry_on_worker_lost: task.retry_on_worker_lost,
        ignore_result: task.ignore_result,
        store_errors_even_if_ignored: task.store_errors_even_if_ignored,
        track_started: task.track_started,
        send_events: task.send_events,
        rate_limit: RateLimit::parse(task.rate_limit.as_deref().unwrap_or_default())
            .map_err(|error| told(error.to_string()))?,
        time_limit: limit(task.time_limit),
        soft_time_limit: limit(task.soft_time_limit),
        max_retries: task.max_retries.map(|retries| u32::try_from(retries.max(0)).unwrap_or(u32::MAX)),
        default_retry_delay: Duration::try_from_secs_f64(task.default_retry_delay).unwrap_or_default(),
        serializer: task.serializer.clone(),
        publish: publish_options(&task.publish_options).map_err(told)?,
        hooked: task.hooked,
        own_backend: task.own_backend,
    })
}

/// Zero counts as unset.
fn limit(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?).ok().filter(|limit| !limit.is_zero())
}

fn publish_options(json: &[u8]) -> Result<Map, String> {
    if json.is_empty() {
        return Ok(Map::new());
    }
    match json::parse(json).map_err(|error| error.to_string())? {
        Value::Map(options) => Ok(options),
        _ => Err("publish options are not an object".to_owned()),
    }
}
