//! One stop for the whole process: told once, seen by every task and every lane thread.

use tokio_util::sync::CancellationToken;

/// The stop of a process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A stop that SIGTERM and Ctrl-C give.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let this = Self::default();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told = this.clone();
        tokio::spawn(async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            tracing::info!(signal = name, "stopping");
            told.stop();
        });
        Ok(this)
    }

    /// Tells everyone to stop.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether the stop has been given: lane threads ask between transactions.
    pub fn is_stopping(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once the stop has been given.
    pub async fn given(&self) {
        self.0.cancelled().await;
    }
}
