//! What quorum queues change for a worker, from the settings (`celery/utils/quorum_queues.py`).

use crate::{
    app::{AppError, Booted},
    config::{Queues, url},
    serialization::{Map, Value},
    worker::QuorumQueues,
};

impl Booted {
    /// Whether each consumer is to have a prefetch window of its own, which nobody can change while it runs.
    pub(super) fn has_static_prefetch(&self) -> bool {
        self.settings.worker.detect_quorum_queues && has_quorum_queue(&self.settings.broker.read_urls, &self.queues)
    }

    /// What joins each connection because of them.
    ///
    /// # Errors
    /// When `broker_native_delayed_delivery_queue_type` is no type of a queue, or a queue to be consumed is a stream.
    pub(super) fn quorum_queues(&self) -> Result<Option<QuorumQueues>, AppError> {
        let broker = &self.settings.broker;
        let stream = self.queues.consume_from().find(|queue| has_type(&queue.arguments, "stream"));
        if let Some(stream) = stream.filter(|_| speaks_amqp(&broker.read_urls)) {
            return Err(AppError::refused(
                format!("queue '{}' is a stream, whose messages stay when they are acknowledged", stream.name),
                "consume classic or quorum queues",
            ));
        }
        if ![&broker.read_urls, &broker.write_urls].into_iter().any(|urls| has_quorum_queue(urls, &self.queues)) {
            return Ok(None);
        }
        let queue_type = broker.native_delayed_delivery_queue_type.clone();
        if !matches!(queue_type.as_str(), "classic" | "quorum") {
            return Err(AppError::refused(
                format!("'{queue_type}' is no type of a queue"),
                "set broker_native_delayed_delivery_queue_type to classic or quorum",
            ));
        }
        Ok(Some(QuorumQueues {
            queues: self.queues.iter().cloned().collect(),
            queue_type,
            static_prefetch: self.has_static_prefetch(),
            uri: url::broker_uri(&broker.write_urls.join(";")),
        }))
    }
}

/// Whether one of the queues, consumed or not, is a quorum queue, and these URLs are of a broker that has such.
pub(super) fn has_quorum_queue(urls: &[String], queues: &Queues) -> bool {
    speaks_amqp(urls) && queues.iter().any(|queue| has_type(&queue.arguments, "quorum"))
}

fn speaks_amqp(urls: &[String]) -> bool {
    let scheme = urls.first().and_then(|url| url.split("://").next());
    matches!(scheme, Some("amqp" | "amqps" | "pyamqp"))
}

fn has_type(arguments: &Map, queue_type: &str) -> bool {
    arguments.get("x-queue-type").and_then(Value::as_str) == Some(queue_type)
}
