//! Which exchange and routing key a task goes to (`celery/app/routes.py`, `celery/app/amqp.py:send_task_message`).

use std::sync::{PoisonError, RwLock};

use crate::{
    config::{Queues, routes::Routes},
    producer::{ProducerError, ProducerSettings, options::Options},
    protocol::{Exchange, ExchangeType, Queue, Route},
    serialization::{Map, Value},
};

/// How many bits of a delay RabbitMQ's delay exchanges look at.
const DELAY_BITS: usize = 28;

/// The exchange into which delayed messages go (kombu's `native_delayed_delivery`).
const DELAY_EXCHANGE: &str = "celery_delayed_27";

/// The exchange out of which they come.
const DELIVERY_EXCHANGE: &str = "celery_delayed_delivery";

/// The way from a task's name and options to a queue.
pub(super) struct Router {
    routes: Routes,
    /// Grows by the queues that senders name and that may be created.
    queues: RwLock<Queues>,
    default_queue: String,
    default_exchange: String,
    default_routing_key: String,
    delays: bool,
}

/// A route that was found.
pub(super) struct Routed {
    pub route: Route,
    /// The queue's name, where one is known.
    pub queue: Option<String>,
}

impl Router {
    pub fn new(settings: &ProducerSettings) -> Self {
        Self {
            routes: settings.routes.clone(),
            queues: RwLock::new(settings.queues.clone()),
            default_queue: settings.default_queue.clone(),
            default_exchange: settings.default_exchange.clone(),
            default_routing_key: settings.default_routing_key.clone(),
            delays: settings.native_delayed_delivery,
        }
    }

    /// `task_routes` under the options: what the sender says wins.
    pub fn with_routes(&self, name: &str, options: Map) -> Map {
        let Some(found) = self.routes.lookup(name) else { return options };
        let mut merged = found.clone();
        merged.extend(options.into_iter().filter(|(_, value)| !value.is_null()));
        merged
    }

    /// Takes the routing options and decides. `delay` is how many seconds ahead the task is due.
    pub fn route(&self, options: &mut Options<'_>, delay: Option<f64>) -> Result<Routed, ProducerError> {
        let (exchange, exchange_type) = exchange_option(options);
        let routing_key = options.take_text("routing_key")?.filter(|key| !key.is_empty());
        let queue = match options.take_text("queue")? {
            Some(name) => Some(self.queue(&name)?),
            // An explicit exchange, the nameless one included, needs no queue.
            None if exchange.is_some() => None,
            None => Some(self.queue(&self.default_queue)?),
        };
        let kind = exchange_type.or_else(|| queue.as_ref().map(|queue| queue.exchange.kind.clone()));
        let kind = kind.or_else(|| self.exchange_type(exchange.as_deref()?)).unwrap_or_default();
        let mut route = self.destination(exchange, routing_key, kind, queue.as_ref())?;
        if let Some(delay) = delay.filter(|delay| self.delays && *delay > 0.0) {
            delayed(&mut route, delay, queue.as_ref());
        }
        let name = queue.as_ref().map(|queue| queue.name.clone());
        route.declare = queue.filter(|queue| queue.alias.is_none()).map(Box::new);
        Ok(Routed { route, queue: name })
    }

    /// Straight to the queue where exchange or routing key is open and the exchange is direct (M90).
    fn destination(
        &self,
        exchange: Option<String>,
        routing_key: Option<String>,
        exchange_type: ExchangeType,
        queue: Option<&Queue>,
    ) -> Result<Route, ProducerError> {
        let named = exchange.as_deref().is_some_and(|name| !name.is_empty());
        if (!named || routing_key.is_none()) && exchange_type == ExchangeType::Direct {
            let key = queue.map(|queue| queue.name.clone()).or(routing_key);
            let key = key.ok_or_else(|| ProducerError::Queue("neither queue nor routing key is given".to_owned()))?;
            return Ok(Route::queue(key));
        }
        let bound = |queue: &Queue| Some(queue.exchange.name.clone()).filter(|name| !name.is_empty());
        let exchange = exchange.or_else(|| queue.and_then(bound)).unwrap_or_else(|| self.default_exchange.clone());
        let key = queue.map(|queue| queue.routing_key.clone()).filter(|key| !key.is_empty());
        let routing_key = routing_key.or(key).unwrap_or_else(|| self.default_routing_key.clone());
        Ok(Route { exchange, exchange_type, routing_key, declare: None })
    }

    /// Of an exchange that is named without its type, as the retry of a message names the one that it came from.
    fn exchange_type(&self, name: &str) -> Option<ExchangeType> {
        if name == DELIVERY_EXCHANGE {
            return Some(ExchangeType::Topic);
        }
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().find(|queue| queue.exchange.name == name).map(|queue| queue.exchange.kind.clone())
    }

    /// A queue by name, made up if `task_create_missing_queues` allows it.
    fn queue(&self, name: &str) -> Result<Queue, ProducerError> {
        if let Some(queue) = self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(queue.clone());
        }
        Ok(self.queues.write().unwrap_or_else(PoisonError::into_inner).get_or_create(name)?.clone())
    }
}

/// The exchange by name, or as an object with its type.
fn exchange_option(options: &mut Options<'_>) -> (Option<String>, Option<ExchangeType>) {
    let kind = options.take("exchange_type").and_then(|kind| kind.as_str().map(ExchangeType::from));
    match options.take("exchange") {
        Some(Value::Str(name)) => (Some(name), kind),
        Some(Value::Map(exchange)) => {
            let text = |name: &str| exchange.get(name).and_then(Value::as_str);
            let own = text("type").or_else(|| text("kind")).map(ExchangeType::from);
            (text("name").map(str::to_owned), kind.or(own))
        }
        _ => (None, kind),
    }
}

/// Through the delay exchanges, unless the queue's exchange is direct: those cannot be bound to them.
fn delayed(route: &mut Route, delay: f64, queue: Option<&Queue>) {
    let exchange_type = queue.map_or(&route.exchange_type, |queue| &queue.exchange.kind);
    if *exchange_type == ExchangeType::Direct {
        let exchange = queue.map_or(route.exchange.as_str(), |queue| queue.exchange.name.as_str());
        tracing::warn!(
            "Direct exchanges are not supported with native delayed delivery.\n{exchange} is a direct exchange but \
             should be a topic exchange or a fanout exchange in order for native delayed delivery to work properly.\n\
             If quorum queues are used, this task may block the worker process until the ETA arrives."
        );
        return;
    }
    let key = queue.map_or(route.routing_key.as_str(), |queue| queue.routing_key.as_str());
    let Some(key) = delay_key(delay, key) else { return };
    let delay = Exchange::new(DELAY_EXCHANGE, ExchangeType::Topic);
    *route = Route { exchange: delay.name, exchange_type: delay.kind, routing_key: key, declare: None };
}

/// The delay in binary, a word for each bit, before the routing key proper; none for less than a second.
fn delay_key(delay: f64, routing_key: &str) -> Option<String> {
    let seconds = (delay as u64).min((1 << DELAY_BITS) - 1);
    if seconds == 0 {
        return None;
    }
    let bits = (0..DELAY_BITS).rev().map(|bit| if seconds >> bit & 1 == 1 { "1." } else { "0." });
    Some(bits.chain([without_delay(routing_key)]).collect())
}

/// A routing key without the delay that an earlier delivery put before it; a retried task brings it along.
pub fn without_delay(routing_key: &str) -> &str {
    let prefix = routing_key.as_bytes().get(..2 * DELAY_BITS);
    let is_delay = prefix.is_some_and(|prefix| prefix.chunks_exact(2).all(|pair| matches!(pair, [b'0' | b'1', b'.'])));
    if is_delay { &routing_key[2 * DELAY_BITS..] } else { routing_key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_told_bit_by_bit() {
        let key = delay_key(5.9, "celery").unwrap();
        assert_eq!(key, format!("{}1.0.1.celery", "0.".repeat(25)));
        assert_eq!(delay_key(1.0, &key).unwrap(), format!("{}1.celery", "0.".repeat(27)));
        assert_eq!(delay_key(0.5, "celery"), None);
    }
}
