//! [`Courier`]: the one task of a connection that takes messages and settles them.
//!
//! It waits for the kernel's word, and looks by itself once per polling interval, where it costs one look at the folder's
//! time of change if there is nothing new.

use std::{ffi::OsString, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::broker::{
    Acker, BrokerError, Delivery, Tag, envelope,
    filesystem::{
        collector::{Collector, Taken, Turn},
        ledger::Ledger,
        options::FilesystemOptions,
        orders::{Consumer, Orders},
        unacked::UnackedFolder,
        watch::Watch,
    },
    lifeline::Lifeline,
};

/// Messages taken in one turn, at most.
const BATCH: usize = 200;
/// How long to wait for a reader that does not keep up.
const CROWDED: Duration = Duration::from_millis(20);

/// The state of that task.
pub(super) struct Courier {
    pub options: Arc<FilesystemOptions>,
    pub orders: Arc<Orders>,
    pub ledger: Arc<Ledger>,
    /// The worker holds the other end.
    pub out: mpsc::Sender<Vec<Delivery>>,
    /// The connection's.
    pub lifeline: Lifeline,
}

/// What it knows between two turns.
struct Mind {
    /// None while a turn has it.
    collector: Option<Box<Collector>>,
    watch: Watch,
    names: Vec<OsString>,
    look: bool,
    look_again: Instant,
}

impl Courier {
    /// Runs until the connection is closed or its folder is gone; how many messages were given back then.
    pub async fn run(self, unacked: Arc<UnackedFolder>) -> usize {
        let mut mind = Mind {
            collector: Some(Box::new(Collector::new(self.options.clone(), unacked))),
            watch: Watch::new(&self.options.data_folder_in),
            names: Vec::new(),
            look: true,
            look_again: Instant::now() + self.options.polling_interval,
        };
        while self.lifeline.reason().is_none() && !self.orders.is_closing() {
            if let Err(error) = self.turn(&mut mind).await {
                self.lifeline.end(error);
            }
        }
        self.finish(mind).await
    }

    async fn turn(&self, mind: &mut Mind) -> Result<(), BrokerError> {
        let taking = self.orders.turn.lock().await;
        let consumers = self.orders.consumers();
        let settled = self.ledger.drain();
        let want = self.appetite();
        let open: Vec<&Consumer> = consumers.iter().filter(|consumer| has_room(consumer, want)).collect();
        let waits = |consumer: &&Consumer| mind.collector.as_ref().is_some_and(|known| known.waits(&consumer.queue));
        if settled.is_empty() && !mind.look && mind.names.is_empty() && !open.iter().any(waits) {
            let crowded = consumers.iter().any(|consumer| consumer.stream.is_some() && !has_room(consumer, want));
            drop(taking);
            self.wait(mind, crowded).await;
            return Ok(());
        }
        let turn = Turn {
            settled,
            queues: consumers.iter().map(|consumer| (consumer.queue.clone(), consumer.stream.is_none())).collect(),
            want,
            names: std::mem::take(&mut mind.names),
            look: std::mem::take(&mut mind.look),
        };
        let taken = work(mind, |collector| collector.run(turn)).await?.map_err(|error| self.unreadable(&error))?;
        self.deliver(&consumers, taken).await;
        drop(taking);
        Ok(())
    }

    /// How many messages to take that are held.
    fn appetite(&self) -> usize {
        if self.orders.is_stopped() || self.out.is_closed() || self.out.capacity() == 0 {
            return 0;
        }
        match self.orders.prefetch() {
            0 => BATCH,
            window => window.saturating_sub(self.ledger.held()).min(BATCH),
        }
    }

    async fn deliver(&self, consumers: &[Consumer], taken: Vec<Taken>) {
        let mut batches: Vec<Vec<Delivery>> = consumers.iter().map(|_| Vec::new()).collect();
        let mut held = Vec::new();
        for message in taken {
            let Consumer { queue, stream } = &consumers[message.queue];
            let acker = match stream {
                Some(_) => Acker::settled(),
                None => Acker::new(Tag::Number(self.ledger.hold(message.name)), self.ledger.clone()),
            };
            let (message_read, redelivered) = match message.payload.and_then(|payload| envelope::parse(&payload)) {
                Ok(envelope) => (Ok(envelope.message), envelope.redelivered),
                Err(malformed) => (Err(malformed), false),
            };
            let delivery = Delivery { message: message_read, queue: queue.clone(), redelivered, acker };
            if stream.is_some() { batches[message.queue].push(delivery) } else { held.push(delivery) }
        }
        for (consumer, batch) in consumers.iter().zip(batches).filter(|(_, batch)| !batch.is_empty()) {
            // Who has just gone wants them no more.
            let _ = consumer.stream.as_ref().map(|stream| stream.try_send(batch));
        }
        if !held.is_empty() {
            // There was room, and only we fill it.
            let _ = self.out.send(held).await;
        }
    }

    async fn wait(&self, mind: &mut Mind, crowded: bool) {
        let full = self.out.capacity() == 0;
        let soon = Instant::now() + CROWDED;
        tokio::select! {
            () = self.ledger.woken.notified() => {}
            () = self.orders.changed.notified() => mind.look = true,
            news = mind.watch.news() => {
                mind.names = news.names;
                mind.look |= news.look;
            }
            () = sleep_until(mind.look_again) => {
                mind.look = true;
                mind.look_again = Instant::now() + self.options.polling_interval;
            }
            room = self.out.reserve(), if full => drop(room),
            () = sleep_until(soon), if crowded => {}
            _ = self.lifeline.ended() => {}
        }
    }

    /// Settles what is to be settled and gives the rest back. The folder of what is held goes with the collector.
    async fn finish(&self, mut mind: Mind) -> usize {
        let turn = Turn { settled: self.ledger.drain(), ..Turn::default() };
        let held = self.ledger.take_held();
        if !held.is_empty() {
            tracing::info!("Restoring {} unacknowledged message(s)", held.len());
        }
        let settle = move |collector: &mut Collector| {
            let _ = collector.run(turn);
            collector.give_back(&held)
        };
        let given = work(&mut mind, settle).await.unwrap_or(0);
        // Off the runtime's threads, as it removes a folder.
        let _ = tokio::task::spawn_blocking(move || drop(mind.collector)).await;
        given
    }

    fn unreadable(&self, error: &std::io::Error) -> BrokerError {
        BrokerError::lost(format!("{} cannot be read: {error}", self.options.data_folder_in.display()))
    }
}

/// Has the collector do something where it may block.
async fn work<T: Send + 'static>(
    mind: &mut Mind,
    work: impl FnOnce(&mut Collector) -> T + Send + 'static,
) -> Result<T, BrokerError> {
    let gone = || BrokerError::lost("the file system's transport has ended");
    let mut collector = mind.collector.take().ok_or_else(gone)?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&mut collector);
        (collector, done)
    });
    let (collector, done) = done.await.map_err(|_| gone())?;
    mind.collector = Some(collector);
    Ok(done)
}

fn has_room(consumer: &Consumer, want: usize) -> bool {
    match &consumer.stream {
        Some(stream) => stream.capacity() > 0,
        None => want > 0,
    }
}
