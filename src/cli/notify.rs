//! The service manager's side of a start (`Type=notify`, `WatchdogSec=`): systemd's protocol, where `NOTIFY_SOCKET` is set.
//!
//! Celery says nothing there; a unit that does not ask for it sees no difference.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::app::Door;

/// Beyond which there is no point in being told.
const SLOWEST: Duration = Duration::from_secs(3600);

/// Says that the worker is ready once it consumes; then, if the manager watches, that it is alive, as long as it is.
pub(super) async fn accompany(door: Door) {
    door.ready().await;
    tell(&[NotifyState::Ready]);
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    // Twice as often as asked for, as the protocol's manual advises.
    let pause = (within / 2).clamp(Duration::from_millis(1), SLOWEST);
    while door.answers().await {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(pause).await;
    }
}

/// The worker is on its way out.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The worker starts again in this process.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// A manager that does not listen is no reason to stop working.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(target: "celery.worker", "the service manager cannot be told: {error}");
    }
}
