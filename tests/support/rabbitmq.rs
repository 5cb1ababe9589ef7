//! [`RabbitMq`]: a private rabbitmq-server with its own epmd on free ports, in a directory of its own, gone with the
//! test process however that ends. It takes some seconds to start: share one per test binary, and use unique queues.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::redis_server::free_port;

const PATIENCE: Duration = Duration::from_secs(90);

/// Where distributions keep the scripts that do not insist on being root.
const SCRIPTS: &[&str] =
    &["/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin"];

/// Runs everything in one process group and kills the group: told by a line on its standard input, or when that is
/// closed because the test process has ended. Then nobody else removes the directory.
const GUARD: &str = r#"
epmd -port "$ERL_EPMD_PORT" &
"$RABBITMQ_SCRIPTS/rabbitmq-server" &
if ! read -r _; then
    setsid sh -c 'sleep 1; rm -rf "$0"' "$HOME" &
    sleep 0.3
fi
kill -KILL 0
"#;

/// A running server. What it stored lives as long as this value, so that a killed server can come back.
pub struct RabbitMq {
    guard: Option<Child>,
    dir: TempDir,
    port: u16,
    tls_port: Option<u16>,
    epmd_port: u16,
    dist_port: u16,
}

impl RabbitMq {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (port, epmd_port, dist_port) = (free_port(), free_port(), free_port());
        Self { guard: None, dir, port, tls_port: None, epmd_port, dist_port }
    }

    /// A server with guest/guest and the virtual host `/`.
    pub fn start() -> Self {
        let mut server = Self::new();
        server.write_config();
        server.spawn();
        server
    }

    /// A server that listens with TLS as well, with a certificate for the name `elsewhere`.
    pub fn secure() -> Self {
        let tls_port = free_port();
        let mut server = Self::new();
        server.tls_port = Some(tls_port);
        server.make_certificates();
        server.write_config();
        let path = server.dir.path();
        let config = format!(
            "listeners.ssl.default = 127.0.0.1:{tls_port}\nssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\nssl_options.keyfile = {key}\n",
            ca = path.join("ca.pem").display(),
            cert = path.join("cert.pem").display(),
            key = path.join("key.pem").display(),
        );
        let mut file = fs::OpenOptions::new().append(true).open(path.join("rabbitmq.conf")).expect("the configuration");
        file.write_all(config.as_bytes()).expect("the configuration can be written");
        server.spawn();
        server
    }

    /// `amqps://` to a [`secure`](Self::secure) server.
    pub fn secure_url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}//", self.tls_port.expect("a secure server"))
    }

    /// The authority that signed a [`secure`](Self::secure) server's certificate.
    pub fn ca_certs(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn make_certificates(&self) {
        const SCRIPT: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority \
            && openssl req -newkey rsa:2048 -nodes -keyout key.pem -out cert.csr -subj /CN=elsewhere \
            && printf 'subjectAltName=DNS:elsewhere\n' > extensions \
            && openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem";
        let output = Command::new("sh").args(["-c", SCRIPT]).current_dir(self.dir.path()).output().expect("sh runs");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The server that all tests of a binary share.
    pub fn shared() -> &'static RabbitMq {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The server for those tests of a binary that break it; one test at a time has it, running.
    pub async fn breakable() -> MutexGuard<'static, RabbitMq> {
        static BREAKABLE: OnceLock<Mutex<RabbitMq>> = OnceLock::new();
        let mut server = BREAKABLE.get_or_init(|| Mutex::new(Self::start())).lock().await;
        if server.guard.is_none() {
            server.spawn();
        }
        server
    }

    /// The AMQP port, on 127.0.0.1; kept over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `amqp://guest:guest@127.0.0.1:<port>//`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}//", self.port)
    }

    /// SIGKILL, as a crash or an OOM killer would.
    pub fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let mut stdin = guard.stdin.take().expect("the guard listens");
            stdin.write_all(b"kill\n").expect("the guard can be told");
            guard.wait().expect("the guard can be reaped");
        }
    }

    /// Starts it again on the same port with the same data, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// SIGSTOP: connections stay open and nothing answers, as behind a dead router.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT, after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let guard = self.guard.as_ref().expect("the server runs");
        killpg(Pid::from_raw(guard.id() as i32), signal).expect("the server can be signalled");
    }

    /// Runs `rabbitmqctl` and returns what it printed.
    pub fn ctl(&self, args: &[&str]) -> String {
        let output = self.command(&format!("{}/rabbitmqctl", scripts())).arg("-q").args(args).output();
        let output = output.expect("rabbitmqctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "rabbitmqctl {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Stops the broker inside the running node: connections are closed in an orderly way.
    pub fn stop_app(&self) {
        self.ctl(&["stop_app"]);
    }

    /// Undoes [`stop_app`](Self::stop_app).
    pub fn start_app(&self) {
        self.ctl(&["start_app"]);
        self.wait_until_ready();
    }

    fn write_config(&self) {
        let config = format!(
            "listeners.tcp.default = 127.0.0.1:{}\ndisk_free_limit.absolute = 1MB\nlog.console = false\nlog.file.level = info\n",
            self.port
        );
        fs::write(self.dir.path().join("rabbitmq.conf"), config).expect("the configuration can be written");
        fs::write(self.dir.path().join("plugins"), "[].").expect("the plugin list can be written");
    }

    fn spawn(&mut self) {
        let child = self
            .command("sh")
            .args(["-c", GUARD])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.guard = Some(child.expect("sh runs"));
        self.wait_until_ready();
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new(program);
        command
            .env("HOME", dir)
            .env("RABBITMQ_SCRIPTS", scripts())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("celery-{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none");
        command
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !(answers(self.port) && self.tls_port.is_none_or(is_open)) {
            assert!(
                Instant::now() < deadline,
                "rabbitmq-server does not answer on port {}; is it installed?",
                self.port
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
    }
}

fn scripts() -> &'static str {
    let found = SCRIPTS.iter().find(|dir| Path::new(dir).join("rabbitmq-server").exists());
    found.expect("rabbitmq-server is installed")
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Up: it answers the protocol header with a method frame.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut first = [0; 1];
    stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok() && first == [1]
}
