//! [`Proxy`]: a way to a server on which single connections can fall silent, as behind a router that has forgotten them.

use std::collections::HashSet;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Listens on a port of its own and passes everything on, until it is dropped.
pub struct Proxy {
    port: u16,
    /// By number: the first connection is 0.
    silent: watch::Sender<HashSet<usize>>,
    accepted: watch::Receiver<usize>,
    /// Ended when dropped.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy to the server on this port of 127.0.0.1.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (silent, (counting, accepted)) = (watch::Sender::new(HashSet::new()), watch::channel(0));
        let (mut tasks, wanted) = (JoinSet::new(), silent.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = *counting.borrow();
                connections.spawn(pass_on(client, target, number, wanted.subscribe()));
                counting.send_replace(number + 1);
            }
        });
        Self { port, silent, accepted, _tasks: tasks }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        *self.accepted.borrow()
    }

    /// Nothing passes on this connection any more, and neither side is told.
    pub fn silence(&self, number: usize) {
        self.silent.send_if_modified(|silent| silent.insert(number));
    }
}

async fn pass_on(mut client: TcpStream, target: u16, number: usize, mut silent: watch::Receiver<HashSet<usize>>) {
    let mut server = TcpStream::connect(("127.0.0.1", target)).await.expect("the server listens");
    tokio::select! {
        // Either side may end in whatever way it likes.
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = silent.wait_for(|silent| silent.contains(&number)) => {}
    }
    std::future::pending().await
}
