//! For bug reports: `report`, `memsample`, `memdump`, `objgraph`.

use std::sync::PoisonError;

use nix::sys::utsname::uname;

use crate::{
    config::url,
    control::{CommandError, Node, arguments::Arguments, error::ok, settings},
    protocol::repr::repr,
    serialization::Value,
    worker::memory,
};

/// Samples that `memdump` shows at most.
const SHOWN: usize = 10;

pub(super) async fn report(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let versions = &node.options.versions;
    let kernel = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let settings = settings::changed(node);
    let lines: Vec<String> = settings.iter().map(|(name, value)| format!("{name}: {}", repr(value))).collect();
    Ok(ok(format!(
        "\nsoftware -> celery:{} kombu:{} py:{}\n            celery-rs:{} {}\nplatform -> system:Linux arch:64bit, ELF\n            \
         kernel version:{kernel} imp:CPython\nloader   -> {}\nsettings -> transport:{} results:{}\n\n{}\n",
        versions.celery_banner,
        versions.kombu,
        versions.python,
        env!("CARGO_PKG_VERSION"),
        node.options.transport,
        versions.loader,
        node.options.transport,
        url::backend_uri(node.options.settings.result.backend.as_deref()),
        lines.join("\n"),
    )))
}

pub(super) async fn memsample(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let sample = resident();
    let mut samples = node.memory_samples.lock().unwrap_or_else(PoisonError::into_inner);
    samples.extend(sample.clone());
    // Celery's list grows for ever; the first ones are the least telling.
    let surplus = samples.len().saturating_sub(1000);
    samples.drain(..surplus);
    Ok(sample.into())
}

/// Celery's command takes `samples` and does not look at it.
pub(super) async fn memdump(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let samples = std::mem::take(&mut *node.memory_samples.lock().unwrap_or_else(PoisonError::into_inner));
    let mut out = String::new();
    if !samples.is_empty() {
        out.push_str("- rss (sample):\n");
        let step = if samples.len() <= SHOWN { 1 } else { samples.len() / SHOWN };
        samples.iter().step_by(step).take(SHOWN).for_each(|sample| out.extend(["-    > ", sample, ",\n"]));
    }
    out.push_str(&format!("- rss (end): {}.\n", resident().unwrap_or_else(|| "None".to_owned())));
    Ok(out.into())
}

/// Draws the objects of the steward, where Celery's command runs: the worker's own process has none of Python's.
pub(super) async fn objgraph(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    match &node.options.python_commands {
        Some(python) => python.call("objgraph", arguments.into_map()).await,
        None => Err(CommandError::unsupported("objgraph draws Python objects, and this worker has none")),
    }
}

/// Memory of this process that is in RAM, as Celery's `humanbytes` words it; none where the system does not say.
fn resident() -> Option<String> {
    let bytes = memory::resident(std::process::id())?;
    Some(human_bytes(bytes as f64))
}

fn human_bytes(bytes: f64) -> String {
    let units = [(f64::from(1 << 30), "GB"), (f64::from(1 << 20), "MB"), (1024.0, "KB"), (1.0, "b")];
    let (divisor, unit) = units.into_iter().find(|(divisor, _)| bytes >= *divisor).unwrap_or((1.0, "b"));
    format!("{}{unit}", five_digits(bytes / divisor))
}

/// Python's `'%.5g'`, for numbers from 0 to 99999.
fn five_digits(number: f64) -> String {
    let whole = format!("{}", number.trunc());
    let text = format!("{number:.*}", 5usize.saturating_sub(whole.len()));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_celery_writes_them() {
        for (bytes, text) in [(36_804_608.0, "35.1MB".to_owned()), (2048.0, "2KB".to_owned()), (7.0, "7b".to_owned())] {
            assert_eq!(human_bytes(bytes)[..], text[..]);
        }
    }
}
