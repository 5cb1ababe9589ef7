//! [`Poller`]: the task that receives the messages of one queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    broker::{
        Acker, BrokerError, Delivery, Tag, envelope,
        sqs::{
            error::{SqsError, Trouble},
            ledger::Ledger,
            link::Link,
            queue::SqsQueue,
            receipt::Receipt,
            request::{BATCH, whole},
        },
    },
    protocol::{Message, Properties},
    serialization::Value,
};

/// How long to wait for the answer to a poll before one that is told to stop is left alone: it gives back what it gets then.
const BRIEFLY: Duration = Duration::from_secs(1);

/// How long to rest where a queue cannot be read, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What a connection's pollers share.
pub(super) struct Polling {
    pub ledger: Arc<Ledger>,
    pub link: Arc<Link>,
    /// The window; 0 has no end.
    pub prefetch: AtomicU32,
    pub wait_time_seconds: u16,
    pub polling_interval: Duration,
}

impl Polling {
    /// What comes when nobody wants it any more goes to others, unless it is held already.
    fn give_back(&self, queue: &Arc<SqsQueue>, visibility: Duration, messages: &[Received]) {
        let receipts = messages.iter().filter_map(|message| receipt(queue, visibility, message));
        let numbers: Vec<u64> = receipts.filter_map(|receipt| self.ledger.hold(self.link.number, receipt)).collect();
        if !numbers.is_empty() {
            let (name, count) = (&queue.name, numbers.len());
            tracing::info!("Consumer for queue {name} is gone, releasing {count} received message(s)");
        }
        numbers.into_iter().for_each(|number| self.ledger.release(number));
    }
}

/// A poller that runs.
pub(super) struct Poller {
    queue: Arc<str>,
    stop: CancellationToken,
    /// It, and the answer to a poll that nobody waits for any more.
    tasks: TaskTracker,
}

impl Poller {
    /// Begins to receive. `out`: the worker holds the other end.
    pub fn start(
        polling: Arc<Polling>,
        queue: Arc<SqsQueue>,
        visibility: Duration,
        out: mpsc::Sender<Vec<Delivery>>,
    ) -> Self {
        let (name, stop, tasks) = (queue.name.clone(), CancellationToken::new(), TaskTracker::new());
        let poll = Poll { polling, queue, visibility, out, stop: stop.clone(), tasks: tasks.clone() };
        let (link, running) = (poll.polling.link.clone(), tasks.spawn(poll.run()));
        tasks.spawn(async move {
            if running.await.is_err() {
                link.end(BrokerError::lost("a poller of SQS has failed"));
            }
        });
        tasks.close();
        Self { queue: name, stop, tasks }
    }

    /// Receives no more for the worker. Resolves when nothing more is taken from the queue, or soon.
    pub async fn stop(&self) {
        self.stop.cancel();
        let _ = timeout(BRIEFLY, self.tasks.wait()).await;
    }

    /// Whether it receives messages of this queue for the worker.
    pub fn receives(&self, queue: &str) -> bool {
        *self.queue == *queue && !self.stop.is_cancelled()
    }

    /// Whether the last poll has been answered.
    pub fn is_at_rest(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Resolves when the last poll has been answered, or will not be: SQS may hand out a message as long as it has not.
    pub async fn rested(&self, patience: Duration) {
        let _ = timeout(patience, self.tasks.wait()).await;
    }
}

struct Poll {
    polling: Arc<Polling>,
    queue: Arc<SqsQueue>,
    visibility: Duration,
    out: mpsc::Sender<Vec<Delivery>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Poll {
    async fn run(self) {
        let mut rest = FIRST_REST;
        while let Some(count) = self.room().await {
            let Some(received) = self.receive(count).await else { return };
            let pause = match received {
                Ok(messages) => {
                    rest = FIRST_REST;
                    if !messages.is_empty() {
                        self.deliver(messages).await;
                        continue;
                    }
                    self.polling.polling_interval
                }
                // The next connection looks for the queue, and makes it.
                Err(error) if matches!(error.trouble, Trouble::NoAnswer | Trouble::Gone) => {
                    return self.polling.link.end(BrokerError::lost(error.to_string()));
                }
                // What is this queue's own trouble does not concern the others.
                Err(error) => {
                    tracing::error!("{error}. Trying again in {} seconds...", rest.as_secs());
                    let pause = rest;
                    rest = (rest * 2).min(LONGEST_REST);
                    pause
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stopped() => return,
            }
        }
    }

    /// Waits until there is room for another message; for how many there is, as far as one request goes. None: it is time to
    /// stop.
    async fn room(&self) -> Option<usize> {
        let mut freed = self.polling.ledger.freed.subscribe();
        loop {
            if self.stop.is_cancelled() || self.polling.link.reason().is_some() {
                return None;
            }
            let window = self.polling.prefetch.load(Ordering::Relaxed) as usize;
            let room = if window == 0 {
                BATCH
            } else {
                window.saturating_sub(self.polling.ledger.own(self.polling.link.number))
            };
            if room > 0 {
                return Some(room.min(BATCH));
            }
            tokio::select! {
                _ = freed.changed() => {}
                () = self.stopped() => {}
            }
        }
    }

    async fn stopped(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.polling.link.ended() => {}
        }
    }

    /// One poll. None: it is time to stop, and what it gets is given back.
    async fn receive(&self, count: usize) -> Option<Result<Vec<Received>, SqsError>> {
        let mut poll: JoinHandle<_> = tokio::spawn(receive(
            self.queue.clone(),
            self.visibility,
            self.polling.wait_time_seconds,
            i32::try_from(count).unwrap_or(1),
        ));
        tokio::select! {
            received = &mut poll => Some(received.unwrap_or_else(|_| Err(SqsError::new(Trouble::NoAnswer, "the program ends")))),
            () = self.stopped() => {
                let (polling, queue, visibility) = (self.polling.clone(), self.queue.clone(), self.visibility);
                self.tasks.spawn(async move {
                    let Ok(Ok(messages)) = poll.await else { return };
                    polling.give_back(&queue, visibility, &messages);
                });
                None
            }
        }
    }

    async fn deliver(&self, messages: Vec<Received>) {
        let batch: Vec<Delivery> = messages.iter().filter_map(|message| self.delivery(message)).collect();
        if batch.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            room = self.out.reserve() => {
                if let Ok(room) = room {
                    room.send(batch);
                }
            }
            () = self.stopped() => batch.into_iter().for_each(|delivery| delivery.acker.reject(true)),
        }
    }

    fn delivery(&self, received: &Received) -> Option<Delivery> {
        let mut receipt = receipt(&self.queue, self.visibility, received)?;
        let (message, marked) = read(received.body().unwrap_or_default());
        receipt.task = message.headers.get("task").and_then(Value::as_str).unwrap_or_default().to_owned();
        let redelivered = marked || receipt.received > 1;
        let number = self.polling.ledger.hold(self.polling.link.number, receipt)?;
        let acker = Acker::new(Tag::Number(number), self.polling.ledger.clone());
        Some(Delivery { message: Ok(message), queue: self.queue.name.clone(), redelivered, acker })
    }
}

async fn receive(
    queue: Arc<SqsQueue>,
    visibility: Duration,
    wait_time_seconds: u16,
    count: i32,
) -> Result<Vec<Received>, SqsError> {
    let answer = queue
        .client
        .receive_message()
        .queue_url(&queue.url)
        .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
        .max_number_of_messages(count)
        .visibility_timeout(whole(visibility))
        .wait_time_seconds(wait_time_seconds.into())
        .send()
        .await;
    let answer = answer.map_err(|error| SqsError::of(&format!("queue '{}' cannot be read", queue.name), &error))?;
    Ok(answer.messages.unwrap_or_default())
}

fn receipt(queue: &Arc<SqsQueue>, visibility: Duration, message: &Received) -> Option<Receipt> {
    let count = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    Some(Receipt {
        queue: queue.clone(),
        handle: message.receipt_handle()?.to_owned(),
        id: message.message_id().and_then(|id| Uuid::parse_str(id).ok()),
        task: String::new(),
        received: count.and_then(|count| count.parse().ok()).unwrap_or(1),
        visibility,
        since: Instant::now(),
    })
}

/// A message, and whether it says that someone had it before. What is no envelope of kombu's is a message without any headers,
/// as in kombu: the worker does not know it.
fn read(body: &str) -> (Message, bool) {
    let text = decoded(body).unwrap_or_else(|| body.as_bytes().to_vec());
    match envelope::parse(&text) {
        Ok(envelope) => (envelope.message, envelope.redelivered),
        Err(_) => {
            let message =
                Message { body: Bytes::from(text), properties: Properties::default(), headers: Default::default() };
            (message, false)
        }
    }
}

/// What is base64 of text is read as that text (`Channel._optional_b64_decode` of kombu).
fn decoded(body: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(body.trim()).ok()?;
    std::str::from_utf8(&bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        r#"{"body": "e30=", "headers": {"task": "proj.add"}, "properties": {"body_encoding": "base64"}}"#;

    #[test]
    fn bodies_come_in_base64_or_without() {
        for body in [PLAIN.to_owned(), STANDARD.encode(PLAIN), format!(" {}\n", STANDARD.encode(PLAIN))] {
            let (message, _) = read(&body);
            assert_eq!(message.headers.get("task").and_then(Value::as_str), Some("proj.add"));
            assert_eq!(&message.body[..], b"{}");
        }
    }

    #[test]
    fn what_kombu_did_not_write_is_a_message_without_headers() {
        for body in ["hello", "{\"task\": 1}", "aGVsbG8", "/w==", ""] {
            let (message, redelivered) = read(body);
            assert!(message.headers.map().is_empty() && !redelivered);
            assert_eq!(&message.body[..], body.as_bytes());
        }
        assert_eq!(&read("aGVsbG8=").0.body[..], b"hello");
    }
}
