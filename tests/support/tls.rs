//! Certificates for servers that speak TLS.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// `cert.pem` and `key.pem`: a certificate for `localhost` that is its own authority.
pub fn make_certificate(dir: &Path) {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl runs").success());
}
