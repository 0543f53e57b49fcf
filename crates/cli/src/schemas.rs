//! Which ids the schemas have: those of `schemas/index.json`, or those of a registry, asked once at the start.

use std::time::{Duration, Instant};

use anyhow::Context;
use event::wire::Ids;
use registry::RegistryError;

use crate::platform::Platform;

/// The first pause before a registry that did not answer is asked again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a tool waits: somebody sits before it.
const TOOL_PATIENCE: Duration = Duration::from_secs(20);

impl Platform {
    /// The ids, for a service: as long as the registry is out of reach it is not ready, and says so in `/readyz`, a metric and the log.
    ///
    /// # Errors
    /// When asking again would not help: the registry refuses us or one of our schemas.
    pub(crate) async fn wait_for_schemas(&self) -> anyhow::Result<Ids> {
        let Some(settings) = self.registry() else { return Ok(Ids::FIXED) };
        let component = self.telemetry.health.component("schema registry");
        let reached = self.telemetry.metrics.gauge(
            "registry_reached",
            "1 once the schema registry has told the ids of our schemas, 0 while it is waited for",
            &[],
        )?;
        let reached = reached.with_label_values::<&str>(&[]);
        reached.set(0.0);
        let mut pause = PAUSES.0;
        loop {
            match registry::ids(&settings).await {
                Ok(ids) => {
                    reached.set(1.0);
                    component.ready();
                    return Ok(ids);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, again_in_s = pause.as_secs(), "waiting for the schema registry");
                    component.failing(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The ids, for a tool.
    ///
    /// # Errors
    /// As [`Platform::wait_for_schemas`]; and when the registry is out of reach for too long.
    pub(crate) async fn schemas(&self) -> anyhow::Result<Ids> {
        let Some(settings) = self.registry() else { return Ok(Ids::FIXED) };
        let until = Instant::now() + TOOL_PATIENCE;
        loop {
            match registry::ids(&settings).await {
                Err(error) if error.is_transient() && Instant::now() < until => tokio::time::sleep(PAUSES.0).await,
                Err(error @ RegistryError::Silent { .. }) => {
                    return Err(error).context("the ids on the topics are those of a schema registry");
                }
                told => return Ok(told?),
            }
        }
    }

    fn registry(&self) -> Option<registry::Settings> {
        let config::Registry { url, user, password, register } = self.config.registry.as_ref()?;
        let password = password.as_ref().map(|password| password.reveal().to_owned()).unwrap_or_default();
        let login = user.as_ref().map(|user| (user.clone(), password));
        Some(registry::Settings { url: url.clone(), login, register: *register })
    }
}
