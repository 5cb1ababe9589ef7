//! [`Publisher`]: messages into queues (`kombu/transport/SQS:Channel._put`).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::{
    broker::{
        BrokerError, BrokerErrorKind,
        envelope::Draft,
        sqs::{
            error::broker_error,
            exchange::Exchanges,
            options::SqsOptions,
            queue::{Queues, SqsQueue},
        },
    },
    protocol::{Message, Route},
    serialization::Value,
};

/// The longest that SQS keeps a single message back, in seconds.
const LONGEST_DELAY: i64 = 900;

/// Sends, for one connection.
pub(super) struct Publisher {
    pub options: Arc<SqsOptions>,
    pub queues: Arc<Queues>,
    pub exchanges: Exchanges,
}

impl Publisher {
    /// Resolves when SQS has the message. Where no queue is bound it goes nowhere, as in kombu.
    pub async fn publish(&self, route: &Route, message: &Message) -> Result<(), BrokerError> {
        let draft = Draft::new(message, &route.exchange, &route.routing_key, self.options.base64_bodies)
            .map_err(|error| BrokerError::refused(format!("a message cannot be written for SQS: {error}")))?;
        for name in self.exchanges.queues(route, self.options.deadletter_queue.as_deref()) {
            let queue = self.queues.get(&name).await?;
            self.send(&queue, draft.copy(), message).await?;
        }
        Ok(())
    }

    async fn send(&self, queue: &SqsQueue, text: String, message: &Message) -> Result<(), BrokerError> {
        let body = if self.options.base64_messages { STANDARD.encode(text) } else { text };
        let group = property(message, "MessageGroupId");
        let mut request = queue.client.send_message().queue_url(&queue.url).message_body(body);
        if queue.is_fifo() {
            let deduplication = property(message, "MessageDeduplicationId");
            request = request
                .message_group_id(group.unwrap_or_else(|| "default".to_owned()))
                .message_deduplication_id(deduplication.unwrap_or_else(|| Uuid::new_v4().to_string()));
        } else {
            request = request.set_message_group_id(group).set_delay_seconds(delay(message));
        }
        let sent = request.send().await;
        sent.map(drop).map_err(|error| {
            let error = broker_error(&format!("a message cannot be sent to queue '{}'", queue.name), &error);
            match error.kind() {
                // A key that may not write to this queue may do all the rest.
                BrokerErrorKind::Unusable => BrokerError::refused(error.to_string()),
                _ => error,
            }
        })
    }
}

fn property(message: &Message, name: &str) -> Option<String> {
    message.properties.other.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// How long SQS is to keep the message back, in seconds.
fn delay(message: &Message) -> Option<i32> {
    let other = &message.properties.other;
    let wanted = ["delay_seconds", "DelaySeconds"].into_iter().find_map(|name| other.get(name)?.as_f64())?;
    let within = (0.0..).contains(&wanted).then_some(wanted as i64)?;
    i32::try_from(within.min(LONGEST_DELAY)).ok()
}
