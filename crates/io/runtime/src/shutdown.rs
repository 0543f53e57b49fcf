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

    /// A stop of its own for a part, such as a lane: it is given with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_or_with_the_whole() {
        let whole = Shutdown::default();
        let (one, other) = (whole.child(), whole.child());
        one.stop();
        assert!(one.is_stopping() && !other.is_stopping() && !whole.is_stopping());
        whole.stop();
        assert!(other.is_stopping());
    }
}
