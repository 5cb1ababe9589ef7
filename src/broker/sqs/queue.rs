//! [`Queues`]: kombu's names of queues and what SQS has under them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::broker::sqs::{
    access::Access,
    error::{SqsError, Trouble},
    options::SqsOptions,
    predefined::PredefinedQueue,
    request::LIMIT,
};

/// How long it is believed whether a queue has a redrive policy, as in kombu (`redrive_policy_cache_ttl`).
const REDRIVE_BELIEVED: Duration = Duration::from_secs(300);
/// kombu asks this often for a queue's length before it empties it, since SQS is slow to notice.
const LENGTHS_ASKED: usize = 10;
/// The ending of a FIFO queue's name.
const FIFO: &str = ".fifo";

/// A queue that exists, and the client that is let in there.
pub(super) struct SqsQueue {
    /// kombu's name.
    pub name: Arc<str>,
    pub url: String,
    pub client: Client,
    pub predefined: Option<PredefinedQueue>,
    visibility: OnceCell<Duration>,
    /// Whether it has a redrive policy, and when that was read.
    redrive: Mutex<Option<(bool, Instant)>>,
}

impl SqsQueue {
    /// Of which nothing has been read yet.
    pub fn new(name: Arc<str>, url: String, client: Client, predefined: Option<PredefinedQueue>) -> Self {
        Self { name, url, client, predefined, visibility: OnceCell::new(), redrive: Mutex::default() }
    }

    /// Whether messages are put in groups and in order.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }

    /// How long what was received stays hidden. kombu reads an attribute as well when it declares a queue.
    pub async fn visibility_timeout(&self) -> Result<Duration, SqsError> {
        let read = || async {
            let value = self.attribute(QueueAttributeName::VisibilityTimeout).await?;
            Ok(value.and_then(|seconds| seconds.parse().ok()).map_or(Duration::ZERO, Duration::from_secs))
        };
        self.visibility.get_or_try_init(read).await.copied()
    }

    /// Whether SQS itself takes messages away that nobody wants. If it does not tell, they are left to it.
    pub async fn has_redrive_policy(&self) -> bool {
        let known = *self.redrive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((has, _)) = known.filter(|(_, read)| read.elapsed() < REDRIVE_BELIEVED) {
            return has;
        }
        let read = self.attribute(QueueAttributeName::RedrivePolicy).await;
        if let Err(error) = &read {
            tracing::warn!("rejected messages are left in the queue: {error}");
            // Only who was denied it would be denied it again.
            if error.trouble != Trouble::Denied {
                return true;
            }
        }
        let has = read.map_or(true, |policy| policy.is_some());
        *self.redrive.lock().unwrap_or_else(PoisonError::into_inner) = Some((has, Instant::now()));
        has
    }

    /// Empties the queue; how many messages there were, as far as SQS knew.
    pub async fn purge(&self) -> Result<u64, SqsError> {
        let mut known = 0;
        for _ in 0..LENGTHS_ASKED {
            let length = self.attribute(QueueAttributeName::ApproximateNumberOfMessages).await?;
            known = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if known > 0 {
                break;
            }
        }
        let purged = self.client.purge_queue().queue_url(&self.url).send().await;
        purged.map_err(|error| SqsError::of(&format!("queue '{}' cannot be emptied", self.name), &error))?;
        Ok(known)
    }

    async fn attribute(&self, name: QueueAttributeName) -> Result<Option<String>, SqsError> {
        let what = format!("{name} of queue '{}' cannot be read", self.name);
        let request = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone()).send();
        let answer = timeout(LIMIT, request).await.map_err(|_| SqsError::late(&what))?;
        let mut answer = answer.map_err(|error| SqsError::of(&what, &error))?;
        Ok(answer.attributes.as_mut().and_then(|attributes| attributes.remove(&name)))
    }
}

/// All queues of a connection.
pub(super) struct Queues {
    access: Arc<Access>,
    options: Arc<SqsOptions>,
    /// URLs by SQS's names: what was there when we looked.
    urls: Mutex<HashMap<String, String>>,
    known: Mutex<HashMap<Arc<str>, Arc<SqsQueue>>>,
}

impl Queues {
    /// Looks which queues there are, unless they are predefined.
    ///
    /// # Errors
    /// SQS cannot be reached, or does not let us list them.
    pub async fn open(access: Arc<Access>, options: Arc<SqsOptions>) -> Result<Self, SqsError> {
        let queues = Self { access, options, urls: Mutex::default(), known: Mutex::default() };
        queues.look(&queues.options.queue_name_prefix).await?;
        Ok(queues)
    }

    /// The queue of this name, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be made, or is none of those that are predefined.
    pub async fn get(&self, name: &str) -> Result<Arc<SqsQueue>, SqsError> {
        if let Some(queue) = self.known().get(name) {
            return Ok(queue.clone());
        }
        let sqs_name = sqs_name(&self.options.queue_name_prefix, name);
        let (url, client, predefined) = if self.options.predefined_queues.is_empty() {
            let client = self.access.main().await;
            (self.url(&client, &sqs_name).await?, client, None)
        } else {
            let known = self.options.predefined_queues.get(&sqs_name).ok_or_else(|| {
                SqsError::new(
                    Trouble::Refused,
                    format!("Queue with name '{sqs_name}' must be defined in 'predefined_queues'."),
                )
            })?;
            let client =
                self.access.of(known).await.map_err(|error| SqsError::new(Trouble::Denied, error.to_string()))?;
            (known.url.clone(), client, Some(known.clone()))
        };
        let name: Arc<str> = name.into();
        let queue = Arc::new(SqsQueue::new(name.clone(), url, client, predefined));
        Ok(self.known().entry(name).or_insert(queue).clone())
    }

    /// It is not there any more, whatever was said when we looked.
    pub fn forget(&self, name: &str) {
        self.known().remove(name);
        self.urls().remove(&sqs_name(&self.options.queue_name_prefix, name));
    }

    async fn url(&self, client: &Client, sqs_name: &str) -> Result<String, SqsError> {
        if let Some(url) = self.urls().get(sqs_name) {
            return Ok(url.clone());
        }
        // SQS lists a thousand at most, so it may be there all the same.
        self.look(sqs_name).await?;
        if let Some(url) = self.urls().get(sqs_name) {
            return Ok(url.clone());
        }
        let url = self.create(client, sqs_name).await?;
        self.urls().insert(sqs_name.to_owned(), url.clone());
        Ok(url)
    }

    async fn look(&self, prefix: &str) -> Result<(), SqsError> {
        if !self.options.predefined_queues.is_empty() {
            return Ok(());
        }
        let answer = self.access.main().await.list_queues().queue_name_prefix(prefix).send().await;
        let found = answer.map_err(|error| SqsError::of("the queues of SQS cannot be listed", &error))?;
        let mut urls = self.urls();
        for url in found.queue_urls.unwrap_or_default() {
            let name = url.rsplit('/').next().unwrap_or_default().to_owned();
            urls.insert(name, url);
        }
        Ok(())
    }

    async fn create(&self, client: &Client, sqs_name: &str) -> Result<String, SqsError> {
        let mut attributes =
            vec![(QueueAttributeName::VisibilityTimeout, self.options.visibility_timeout.as_secs().to_string())];
        if sqs_name.ends_with(FIFO) {
            attributes.push((QueueAttributeName::FifoQueue, "true".to_owned()));
        }
        let more = self.options.creation_attributes.iter();
        attributes.extend(more.map(|(name, value)| (QueueAttributeName::from(name.as_str()), value.clone())));
        let tags = (!self.options.queue_tags.is_empty()).then(|| self.options.queue_tags.iter().cloned().collect());
        let made = client
            .create_queue()
            .queue_name(sqs_name)
            .set_attributes(Some(attributes.into_iter().collect()))
            .set_tags(tags)
            .send()
            .await
            .map_err(|error| SqsError::of(&format!("queue '{sqs_name}' cannot be made"), &error))?;
        made.queue_url
            .ok_or_else(|| SqsError::new(Trouble::Refused, format!("queue '{sqs_name}' was made, but has no URL")))
    }

    fn urls(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<SqsQueue>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What SQS calls a queue (`Channel.canonical_queue_name` of kombu).
fn sqs_name(prefix: &str, name: &str) -> String {
    let full = format!("{prefix}{name}");
    let legal = |part: &str| -> String {
        part.chars()
            .map(|c| match c {
                '.' => '-',
                '-' | '_' => c,
                c if c.is_ascii_punctuation() => '_',
                c => c,
            })
            .collect()
    };
    match full.strip_suffix(FIFO) {
        Some(part) => legal(part) + FIFO,
        None => legal(&full),
    }
}

#[cfg(test)]
mod tests {
    use super::sqs_name;

    #[test]
    fn names_are_kombus() {
        assert_eq!(sqs_name("", "celery"), "celery");
        assert_eq!(sqs_name("prod-", "a.b@host:1_x-y"), "prod-a-b_host_1_x-y");
        assert_eq!(sqs_name("p.", "orders.fifo"), "p-orders.fifo");
    }
}
