//! What the worker itself publishes is told of in a `task-sent` event, where `task_send_sent_event` says so.

use crate::{event::EventDispatcher, producer::SentEvents, serialization::Map};

impl SentEvents for EventDispatcher {
    fn sent(&self, fields: Map) {
        self.task_sent(fields);
    }
}
