//! [`Neighbours`]: remote control, mingle and gossip, as the settings and the command line want them.

use std::sync::Arc;

use crate::{
    app::{AppError, Booted, wiring::event_exchange_type},
    broker::Capabilities,
    control::{Mailbox, Node, NodeOptions, PythonCommands, Stand, Versions},
    event::{Clock, EventDispatcher},
    gossip::{Gossip, GossipOptions, Mingle, MingleOptions},
    producer::Producer,
    protocol::ExchangeType,
    serialization::AcceptContent,
    worker::{Worker, WorkerOptions},
};

/// Who joins the worker's connections.
pub(super) struct Neighbours {
    mingle: Option<MingleOptions>,
    gossip: Option<Gossip>,
    node: Option<NodeOptions>,
    events: EventDispatcher,
}

impl Neighbours {
    /// Has them join each connection of this worker, in Celery's order.
    pub fn join(self, worker: &mut Worker) {
        let mailbox_clock = Clock::default();
        if let Some(options) = self.mingle {
            let mingle = Mingle::new(options, self.events.clock().clone(), mailbox_clock.clone(), worker.handle());
            worker.add_hook(Arc::new(mingle), true);
        }
        if let Some(gossip) = self.gossip {
            worker.add_hook(Arc::new(gossip), true);
        }
        if let Some(options) = self.node {
            let node = Arc::new(Node::new(options, self.events, worker.handle()));
            worker.add_hook(Arc::new(Mailbox::new(node, mailbox_clock)), false);
        }
    }
}

impl Booted {
    pub(super) fn neighbours(
        &self,
        options: &WorkerOptions,
        can: Capabilities,
        python_commands: Option<PythonCommands>,
        gossip: Option<GossipOptions>,
        events: &EventDispatcher,
        producer: &Producer,
    ) -> Neighbours {
        // Without broadcasts Celery's worker has none of them either, and says nothing of it.
        if !can.fanout {
            return Neighbours { mingle: None, gossip: None, node: None, events: events.clone() };
        }
        let exchange_type = event_exchange_type(can.driver);
        let gossip = gossip.map(|options| GossipOptions { exchange_type, ..options });
        let gossip = gossip.map(|options| Gossip::new(options, events.clone(), producer.clone()));
        let node =
            self.remote_control().then(|| self.node_options(options, can.driver, python_commands, gossip.clone()));
        let mingle = (!self.args.without_mingle).then(|| self.mingle_options(options));
        Neighbours { mingle, gossip, node, events: events.clone() }
    }

    /// `worker_enable_remote_control`.
    pub(super) fn remote_control(&self) -> bool {
        self.settings.worker.enable_remote_control
    }

    fn node_options(
        &self,
        options: &WorkerOptions,
        driver: &'static str,
        python_commands: Option<PythonCommands>,
        gossip: Option<Gossip>,
    ) -> NodeOptions {
        let tasks = self.manifest.iter().flat_map(|manifest| &manifest.tasks);
        let rate_limits = tasks.filter_map(|task| Some((task.name.clone(), task.rate_limit.clone()?)));
        NodeOptions {
            hostname: self.hostname().to_owned(),
            settings: self.settings.clone(),
            changed_settings: self.manifest.as_ref().map(|manifest| manifest.changed_settings.clone()),
            queues: self.queues.clone(),
            timezone: options.timezone,
            accept: options.accept.clone(),
            rate_limits: rate_limits.collect(),
            pool: self.pool_kind(),
            max_tasks_per_child: self.whole_number("max_tasks_per_child"),
            limits: options.limits,
            transport: driver,
            versions: self.versions(),
            python_commands,
            stand: gossip.map(|gossip| {
                let stand = move |id, topic, action| gossip.stand(id, topic, action);
                Box::new(stand) as Stand
            }),
        }
    }

    /// None with `--without-gossip`. Which type the exchange has is the transport's matter.
    pub(super) fn gossip_options(&self) -> Result<Option<GossipOptions>, AppError> {
        if self.args.without_gossip {
            return Ok(None);
        }
        let event = &self.settings.event;
        let options = GossipOptions {
            hostname: self.hostname().to_owned(),
            exchange: event.exchange.clone(),
            exchange_type: ExchangeType::Topic,
            queue_prefix: event.queue_prefix.clone(),
            queue_ttl: self.args.heartbeat_interval.or(event.queue_ttl),
            queue_expires: event.queue_expires,
            queue_exclusive: event.queue_exclusive,
            queue_durable: event.queue_durable,
            accept: AcceptContent::new(&["json".to_owned(), event.serializer.clone()])?,
        };
        Ok(Some(options))
    }

    fn mingle_options(&self, options: &WorkerOptions) -> MingleOptions {
        MingleOptions {
            hostname: self.hostname().to_owned(),
            exchange: self.settings.control.exchange.clone(),
            serializer: self.settings.task.serializer.clone(),
            accept: options.accept.clone(),
        }
    }

    fn versions(&self) -> Versions {
        let celery = self.celery_version().to_owned();
        self.manifest.as_ref().map_or_else(
            || Versions { celery_banner: celery.clone(), celery: celery.clone(), ..Versions::default() },
            |manifest| Versions {
                celery: celery.clone(),
                celery_banner: manifest.celery_banner.clone(),
                kombu: manifest.kombu_version.clone(),
                python: manifest.python_version.clone(),
                loader: manifest.loader.clone(),
            },
        )
    }
}
