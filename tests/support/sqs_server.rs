//! [`SqsServer`]: a private moto on a free port, gone when dropped.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::python;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server that speaks SQS.
pub struct SqsServer {
    child: Child,
    port: u16,
}

impl SqsServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let child = Command::new(python::interpreter())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let server = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "moto does not listen; is it installed?");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// `sqs://key:secret@127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("sqs://key:secret@127.0.0.1:{}", self.port)
    }

    /// SIGSTOP: nothing answers, as behind a dead router.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT, after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the server can be signalled");
    }

    /// How many messages a queue has, taken ones as well.
    pub fn messages(&self, queue: &str) -> String {
        self.boto(&format!(
            "url = sqs.get_queue_url(QueueName='{queue}')['QueueUrl']\n\
             has = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']\n\
             print(sum(int(has[f'ApproximateNumberOfMessages{{kind}}']) for kind in ('', 'NotVisible')))"
        ))
    }

    /// Calls boto3: `code` has a client `sqs`, and prints what it wants to say.
    pub fn boto(&self, code: &str) -> String {
        let client = format!(
            "import boto3\nsqs = boto3.client('sqs', region_name='us-east-1', aws_access_key_id='key', \
             aws_secret_access_key='secret', endpoint_url='http://127.0.0.1:{}')\n",
            self.port
        );
        python::run(&(client + code), &[])
    }
}

impl Drop for SqsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
