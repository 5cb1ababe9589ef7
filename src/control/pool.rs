//! The pool by remote control: `pool_grow`, `pool_shrink`, `pool_restart`, `autoscale`.

use crate::{
    control::{
        CommandError, Node,
        arguments::Arguments,
        error::{nok, ok},
    },
    ipc::PoolKind,
    serialization::Value,
};

pub(super) async fn grow(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let by = arguments.count("n", 1)?;
    must_be_resizable(node).await?;
    if scales_itself(node).await? {
        return Ok(nok("pool_grow is not supported with autoscale. Adjust autoscale range instead."));
    }
    node.ask(move |dispatcher| dispatcher.grow(by)).await?;
    Ok(ok("pool will grow"))
}

pub(super) async fn shrink(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let by = arguments.count("n", 1)?;
    must_be_resizable(node).await?;
    if scales_itself(node).await? {
        return Ok(nok("pool_shrink is not supported with autoscale. Adjust autoscale range instead."));
    }
    if node.options.pool.is_green() {
        node.ask(move |dispatcher| dispatcher.shrink_when_free(by)).await?;
        return Ok(ok("pool will shrink"));
    }
    let shrunk = node.ask(move |dispatcher| dispatcher.shrink(by)).await?;
    shrunk.map_err(|busy| CommandError::value(busy.to_string()))?;
    Ok(ok("pool will shrink"))
}

/// The app is loaded anew in any case, so that `modules` and `reload` say nothing more.
pub(super) async fn restart(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    if !node.options.settings.worker.pool_restarts {
        return Err(CommandError::value("Pool restarts not enabled"));
    }
    match node.ask(|dispatcher| dispatcher.pool()).await? {
        Some(pool) => pool.restart(),
        None => return Err(CommandError::unsupported("this worker has no pool of Python children")),
    }
    Ok(ok("reload started"))
}

pub(super) async fn autoscale(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let (max, min) = (arguments.some_count("max")?, arguments.some_count("min")?);
    let range = node.ask(move |dispatcher| dispatcher.set_autoscale(max, min)).await?;
    let (max, min) = range.ok_or_else(|| CommandError::value("Autoscale not enabled"))?;
    Ok(ok(format!("autoscale now max={max} min={min}")))
}

/// Whether `--autoscale` decides how many children there are.
async fn scales_itself(node: &Node) -> Result<bool, CommandError> {
    node.ask(|dispatcher| dispatcher.autoscale_info().is_some()).await
}

/// Only children and greenlets can become more or fewer.
async fn must_be_resizable(node: &Node) -> Result<(), CommandError> {
    let has_pool = node.ask(|dispatcher| dispatcher.pool().is_some()).await?;
    let pool = node.options.pool;
    if has_pool && (pool == PoolKind::Prefork || pool.is_green()) {
        return Ok(());
    }
    Err(CommandError::unsupported("only a prefork or greenlet pool can grow and shrink"))
}
