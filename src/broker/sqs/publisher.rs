//! [`Publisher`]: messages into queues (`kombu/transport/SQS:Channel._put`).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::{
    broker::{
        BrokerError,
        envelope::Draft,
        sqs::{
            error::{SqsError, Trouble},
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
            let queue = self.queues.get(&name).await.map_err(SqsError::on_connection)?;
            self.send(&queue, draft.copy(), message).await?;
        }
        Ok(())
    }

    async fn send(&self, queue: &SqsQueue, text: String, message: &Message) -> Result<(), BrokerError> {
        let body = if self.options.base64_messages { STANDARD.encode(text) } else { text };
        let group = property(message, "MessageGroupId");
        let mut request = queue.client.send_message().queue_url(&queue.url).message_body(body);
        if queue.is_fifo() {
            if delay(message).is_some() {
                tracing::warn!("SQS FIFO queues take no per-message delay, ignoring it");
            }
            let deduplication = property(message, "MessageDeduplicationId");
            request = request
                .message_group_id(group.unwrap_or_else(|| "default".to_owned()))
                .message_deduplication_id(deduplication.unwrap_or_else(|| Uuid::new_v4().to_string()));
        } else {
            request = request.set_message_group_id(group).set_delay_seconds(delay(message));
        }
        let sent = request.send().await;
        sent.map(drop).map_err(|error| {
            let error = SqsError::of(&format!("a message cannot be sent to queue '{}'", queue.name), &error);
            match error.trouble {
                // A key that may not write to this queue may do all the rest.
                Trouble::Denied => BrokerError::refused(error.to_string()),
                _ => error.on_connection(),
            }
        })
    }
}

fn property(message: &Message, name: &str) -> Option<String> {
    message.properties.other.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// How long SQS is to keep the message back, in seconds. What is no time is none, as in kombu, and said.
fn delay(message: &Message) -> Option<i32> {
    let other = &message.properties.other;
    let wanted =
        ["delay_seconds", "DelaySeconds"].into_iter().find_map(|name| other.get(name).filter(|v| !v.is_null()))?;
    let number = wanted.as_f64().or_else(|| wanted.as_str()?.trim().parse().ok());
    match number {
        Some(number) if number >= 0.0 => i32::try_from((number as i64).min(LONGEST_DELAY)).ok(),
        _ => {
            tracing::warn!("SQS delay {wanted:?} is not a time, publishing without a delay");
            None
        }
    }
}
