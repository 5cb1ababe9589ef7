//! [`HealthServer`]: the HTTP side. Answers GET and HEAD of four paths, and keeps no more connections than it can.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, header::HeaderValue,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tracing::{debug, warn};

use crate::{
    config::HealthAddr,
    health::{
        checks::{Checks, Verdict},
        page,
    },
};

/// Connections at a time; more wait until one of them ends.
const CONNECTIONS: usize = 64;
/// How long a connection may take to send a request, and so how long an idle one is kept.
const REQUEST: Duration = Duration::from_secs(30);
/// Pause after an accept that failed, as without a free descriptor.
const AGAIN: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; charset=utf-8";
const PATHS: &str = "/livez\n/readyz\n/startupz\n/metrics\n";

/// A bound socket that does not answer yet.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HealthServer {
    /// Binds the socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the host is not known, or the port is taken or not allowed.
    pub fn bind(addr: &HealthAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((addr.host.as_str(), addr.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Where it listens: with the port that was free, if any was wanted.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the worker has ended.
    pub async fn serve(self, checks: Arc<Checks>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let ended = checks.ended();
        tokio::pin!(ended);
        loop {
            let accepted = async {
                // Nobody closes the semaphore.
                let place = places.clone().acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut ended => return,
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let checks = checks.clone();
                        tokio::spawn(async move {
                            converse(stream, checks).await;
                            drop(place);
                        });
                    }
                    Err(failure) => {
                        warn!(target: "celery.worker.health", "no connection for a probe: {failure}");
                        tokio::time::sleep(AGAIN).await;
                    }
                },
            }
        }
    }
}

async fn converse(stream: TcpStream, checks: Arc<Checks>) {
    let answers = service_fn(move |request: Request<Incoming>| {
        let checks = checks.clone();
        async move { Ok::<_, Infallible>(answer(request, &checks).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST);
    if let Err(failure) = server.serve_connection(TokioIo::new(stream), answers).await {
        debug!(target: "celery.worker.health", "a probe's connection: {failure}");
    }
}

async fn answer(request: Request<Incoming>, checks: &Checks) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".to_owned());
    }
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/livez" => told(&checks.live().await),
        "/readyz" => told(&checks.ready()),
        "/startupz" => told(&checks.started()),
        "/metrics" => match checks.metrics().await {
            Ok(text) => page(StatusCode::OK, page::CONTENT_TYPE, text),
            Err(failure) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{failure}\n")),
        },
        _ => page(StatusCode::NOT_FOUND, TEXT, PATHS.to_owned()),
    }
}

/// 200 if nothing is wrong, else 503; each check in a line, as Kubernetes words its own.
fn told(verdict: &Verdict) -> Response<Full<Bytes>> {
    let is_well = verdict.iter().all(|(_, check)| check.is_ok());
    let lines = verdict.iter().map(|(name, check)| match check {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(reason) => format!("[-]{name} failed: {reason}\n"),
    });
    page(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, lines.collect())
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
