//! [`Command`]: how anyone talks to the dispatcher, and [`WorkerHandle`], the door.

use tokio::sync::mpsc;

use crate::worker::dispatcher::Dispatcher;

/// Something to be done, or asked, in the dispatcher's own time. The answer goes wherever the closure sends it.
pub struct Command(Box<dyn FnOnce(&mut Dispatcher) + Send>);

impl Command {
    /// Wraps what is to be done.
    pub fn new(act: impl FnOnce(&mut Dispatcher) + Send + 'static) -> Self {
        Self(Box::new(act))
    }

    /// Does it.
    pub fn apply(self, dispatcher: &mut Dispatcher) {
        (self.0)(dispatcher);
    }
}

/// The worker's door for remote control, autoscale and tests. Cheap to clone.
#[derive(Clone)]
pub struct WorkerHandle {
    /// Read by the dispatcher.
    commands: mpsc::Sender<Command>,
}

impl WorkerHandle {
    /// A handle whose commands arrive at the receiver's end of `commands`.
    pub fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Resolves when the worker has ended.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Has something done or asked; none when the worker has ended.
    pub async fn ask<T: Send + 'static>(&self, act: impl FnOnce(&mut Dispatcher) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let command = Command::new(move |dispatcher| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(act(dispatcher));
        });
        self.commands.send(command).await.ok()?;
        answered.await.ok()
    }
}
