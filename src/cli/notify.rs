//! The service manager's side of a start (`Type=notify`, `WatchdogSec=`): systemd's protocol, where `NOTIFY_SOCKET` is set.
//!
//! Celery says nothing there; a unit that does not ask for it sees no difference.

use std::{thread, time::Duration};

use sd_notify::NotifyState;
use tokio::sync::oneshot;

use crate::app::Door;

/// Beyond which there is no point in being told.
const SLOWEST: Duration = Duration::from_secs(3600);

/// Says that the worker is ready once it consumes; then, if the manager watches, that it is alive, as long as it is.
pub(super) async fn accompany(door: Door) {
    door.ready().await;
    let _ = tell(vec![NotifyState::Ready]).await;
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    // Twice as often as asked for, as the protocol's manual advises.
    let pause = (within / 2).clamp(Duration::from_millis(1), SLOWEST);
    while door.answers().await {
        let _ = tell(vec![NotifyState::Watchdog]).await;
        tokio::time::sleep(pause).await;
    }
}

/// The worker is on its way out.
pub(super) fn stopping() {
    drop(tell(vec![NotifyState::Stopping]));
}

/// The worker starts again in this process.
pub(super) fn reloading() {
    let now = NotifyState::monotonic_usec_now().ok();
    drop(tell([NotifyState::Reloading].into_iter().chain(now).collect()));
}

/// A manager that does not listen is no reason to stop working: it is told by a thread of its own, which may have to wait
/// until it reads. The answer comes when that has ended.
fn tell(states: Vec<NotifyState<'static>>) -> oneshot::Receiver<()> {
    let (told, answer) = oneshot::channel();
    let telling = thread::Builder::new().name("celery-rs-notify".into()).spawn(move || {
        if let Err(error) = sd_notify::notify(&states) {
            tracing::debug!(target: "celery.worker", "the service manager cannot be told: {error}");
        }
        let _ = told.send(());
    });
    if let Err(error) = telling {
        tracing::debug!(target: "celery.worker", "the service manager cannot be told: {error}");
    }
    answer
}
