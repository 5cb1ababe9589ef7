//! `hello`: the answering side of mingle; revoked ids and clocks are exchanged.

use tracing::info;

use crate::{
    control::{CommandError, Node, arguments::Arguments},
    serialization::{Map, Value},
};

pub(super) async fn hello(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let from = arguments.name("from_node")?;
    if from == node.hostname() {
        return Ok(Value::Null);
    }
    info!(target: "celery.worker.control", "sync with {from}");
    let theirs = revoked_ids(arguments.value("revoked"));
    let ours = node
        .ask(move |dispatcher| {
            dispatcher.merge_revoked(&theirs);
            dispatcher.revoked_ids()
        })
        .await?;
    let clock = node.clock().forward();
    Ok(Value::Map(Map::from_iter([("revoked".to_owned(), ours.into()), ("clock".to_owned(), clock.into())])))
}

/// Ids as other workers send them: a list, or the dict of older ones.
fn revoked_ids(value: &Value) -> Vec<String> {
    match value {
        Value::List(ids) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Map(ids) => ids.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
