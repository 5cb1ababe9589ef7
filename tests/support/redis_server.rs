//! [`RedisServer`]: a private redis-server on a free port, in a directory of its own, gone when dropped.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const START_ATTEMPTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Its data directory lives as long as this value, so that a killed server can come back.
pub struct RedisServer {
    child: Option<Child>,
    dir: TempDir,
    port: u16,
    options: Vec<String>,
}

impl RedisServer {
    /// A server without persistence.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server that survives `kill`: every write is in the append-only file before its reply.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A server with further `redis-server` options, as on its command line.
    pub fn with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        let mut server = Self { child: None, dir, port: 0, options };
        for _ in 0..START_ATTEMPTS {
            server.port = free_port();
            if server.spawn() {
                return server;
            }
        }
        panic!("redis-server did not start on any of {START_ATTEMPTS} ports; is it installed?");
    }

    /// The port it listens on, on 127.0.0.1; kept over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>/<db>`.
    pub fn url(&self, db: u8) -> String {
        format!("redis://127.0.0.1:{}/{db}", self.port)
    }

    /// The Unix socket it listens on as well.
    pub fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// SIGKILL, as a crash or an OOM killer would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server can be reaped");
        }
    }

    /// Starts it again on the same port with the same data, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server did not come back on port {}", self.port);
    }

    /// SIGSTOP: connections stay open and nothing answers, as behind a dead router.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT, after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Runs a command through `redis-cli` in db 0 and returns what it printed, trimmed.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "--raw"])
            .args(args)
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill(Pid::from_raw(child.id() as i32), signal).expect("the server can be signalled");
    }

    fn spawn(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server is installed"));
        self.wait_until_ready()
    }

    /// False when the process ended before it answered: its port was taken.
    fn wait_until_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let child = self.child.as_mut().expect("just spawned");
            if child.try_wait().expect("the server can be waited for").is_some() {
                self.child = None;
                return false;
            }
            if answers(self.port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server on port {} does not answer", self.port);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Up and done with loading: any reply but `-LOADING` (a server with a password says `-NOAUTH`).
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut reply = [0; 64];
    if stream.write_all(b"PING\r\n").is_err() {
        return false;
    }
    matches!(stream.read(&mut reply), Ok(n) if n > 0 && !reply.starts_with(b"-LOADING"))
}
