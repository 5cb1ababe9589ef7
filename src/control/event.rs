//! Events by remote control: `enable_events`, `disable_events`, `heartbeat`, `election`; and `shutdown`.

use tracing::{debug, info, warn};

use crate::{
    control::{CommandError, Node, arguments::Arguments, error::ok},
    serialization::{Map, Value},
};

/// The `freq` that Celery gives in a heartbeat on request.
const FREQ: i64 = 5;

pub(super) async fn enable_events(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    if node.events.sends_all() || !node.events.set_task_events(true) {
        return Ok(ok("task events already enabled"));
    }
    info!(target: "celery.worker.control", "Events of group {{task}} enabled by remote.");
    Ok(ok("task events enabled"))
}

pub(super) async fn disable_events(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    if node.events.sends_all() || !node.events.set_task_events(false) {
        return Ok(ok("task events already disabled"));
    }
    info!(target: "celery.worker.control", "Events of group {{task}} disabled by remote.");
    Ok(ok("task events disabled"))
}

pub(super) async fn heartbeat(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    debug!(target: "celery.worker.control", "Heartbeat requested by remote.");
    let fields = [
        ("freq", Value::Int(FREQ)),
        ("sw_ident", "py-celery".into()),
        ("sw_ver", node.options.versions.celery.as_str().into()),
        ("sw_sys", "Linux".into()),
    ];
    let fields: Map = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    node.events.worker("worker-heartbeat", fields);
    Ok(Value::Null)
}

/// Without gossip Celery fails like this.
const NO_GOSSIP: &str = r#"AttributeError("'Gossip' object has no attribute 'dispatcher'")"#;

pub(super) async fn election(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let stand = node.options.stand.as_ref().ok_or_else(|| CommandError::Raised(NO_GOSSIP.to_owned()))?;
    let argument = |name: &str| arguments.value(name).clone();
    stand(argument("id"), argument("topic"), argument("action"));
    Ok(Value::Null)
}

pub(super) async fn shutdown(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let message = arguments.text("msg")?.unwrap_or_else(|| "Got shutdown from remote".to_owned());
    warn!(target: "celery.worker.control", "{message}");
    node.ask(|dispatcher| dispatcher.shut_down()).await.map(|()| Value::Null)
}
