//! What the worker holds: `ping`, `clock`, `active`, `reserved`, `scheduled`, `revoked`, `query_task`.

use crate::{
    control::{CommandError, Node, arguments::Arguments, error::ok},
    protocol::{Body, time::isoformat},
    serialization::{Map, Value},
    worker::{Dispatcher, TaskInfo},
};

/// The priority that Celery's timer gives to tasks with an ETA.
const ETA_PRIORITY: i64 = 6;

pub(super) async fn ping(_: &Node, _: Arguments) -> Result<Value, CommandError> {
    Ok(ok("pong"))
}

pub(super) async fn clock(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    Ok(Value::Map(Map::from_iter([("clock".to_owned(), node.clock().value().into())])))
}

pub(super) async fn active(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let safe = arguments.truth("safe");
    let held = node.ask(|dispatcher| dispatcher.active()).await?;
    Ok(Value::List(held.iter().map(|task| info(node, task, safe)).collect()))
}

pub(super) async fn reserved(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let held = node.ask(|dispatcher| dispatcher.reserved()).await?;
    Ok(Value::List(held.iter().map(|task| info(node, task, false)).collect()))
}

pub(super) async fn scheduled(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let held = node.ask(|dispatcher| dispatcher.scheduled()).await?.read().await;
    Ok(Value::List(held.iter().map(|task| waiting(node, task)).collect()))
}

pub(super) async fn revoked(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    Ok(node.ask(|dispatcher| dispatcher.revoked_ids()).await?.into())
}

pub(super) async fn query_task(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let ids = arguments.texts("ids")?;
    let wanted = ids.clone();
    let ask = move |worker: &mut Dispatcher| (worker.scheduled_by_id(&wanted), worker.reserved(), worker.active());
    let (scheduled, reserved, active) = node.ask(ask).await?;
    let held = [scheduled.read().await, reserved, active];
    let mut found = Map::new();
    for (state, tasks) in ["scheduled", "reserved", "active"].into_iter().zip(&held) {
        for task in tasks.iter().filter(|task| ids.iter().any(|id| **id == *task.headers.id)) {
            found.insert(task.headers.id.to_string(), Value::List(vec![state.into(), info(node, task, false)]));
        }
    }
    Ok(Value::Map(found))
}

fn waiting(node: &Node, task: &TaskInfo) -> Value {
    let eta = task.eta.map(|eta| isoformat(eta, &node.options.timezone));
    Value::Map(Map::from_iter([
        ("eta".to_owned(), eta.into()),
        ("priority".to_owned(), ETA_PRIORITY.into()),
        ("request".to_owned(), info(node, task, false)),
    ]))
}

/// `Request.info()`.
fn info(node: &Node, task: &TaskInfo, safe: bool) -> Value {
    let (args, kwargs) = if safe { shown(task) } else { real(node, task) };
    let name = task.headers.display_name();
    let fields = [
        ("id", Value::from(&*task.headers.id)),
        ("name", name.into()),
        ("args", args),
        ("kwargs", kwargs),
        ("type", (&*task.headers.task).into()),
        ("hostname", node.hostname().into()),
        ("time_start", task.accepted.map(|accepted| accepted.at).into()),
        ("acknowledged", task.acknowledged.into()),
        ("delivery_info", delivery_info(task)),
        ("worker_pid", task.accepted.map(|accepted| accepted.pid).into()),
    ];
    Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn shown(task: &TaskInfo) -> (Value, Value) {
    (task.headers.argsrepr.clone().into(), task.headers.kwargsrepr.clone().into())
}

/// As in the message; a body that only a child can read is shown as its sender worded it.
fn real(node: &Node, task: &TaskInfo) -> (Value, Value) {
    match Body::decode(&task.message, &node.options.accept) {
        Ok(body) => (Value::List(body.args), Value::Map(body.kwargs)),
        Err(_) => shown(task),
    }
}

fn delivery_info(task: &TaskInfo) -> Value {
    let properties = &task.message.properties;
    let fields = [
        ("exchange", Value::from(properties.delivery_info.exchange.as_str())),
        ("routing_key", properties.delivery_info.routing_key.as_str().into()),
        ("priority", properties.priority.into()),
        ("redelivered", task.redelivered.into()),
    ];
    Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
