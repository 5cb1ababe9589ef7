//! [`Sentinel`]: a private sentinel that watches one server as `mymaster`, gone when dropped.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::redis_server::RedisServer;

/// A running sentinel.
pub struct Sentinel(Child);

impl Sentinel {
    /// Starts it on a port, with its configuration in the directory.
    pub fn watching(server: &RedisServer, dir: &Path, port: u16) -> Self {
        let file = dir.join("sentinel.conf");
        let text = format!("port {port}\nsentinel monitor mymaster 127.0.0.1 {} 1\n", server.port());
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").stdout(Stdio::null());
        Self(command.spawn().expect("a sentinel"))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
