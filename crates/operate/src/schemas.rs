//! Which ids the schemas have: those of `schemas/index.json`, or those of a registry, asked once at the start.

use std::time::{Duration, Instant};

use event::wire::Ids;
use registry::RegistryError;

use crate::error::During;
use crate::{Installation, Result};

/// The pause before a registry that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a tool waits: a person waits for it.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(20);

impl Installation {
    /// The ids, for a tool.
    ///
    /// # Errors
    /// When the registry refuses us or one of our schemas, or is out of reach for 20 seconds.
    pub async fn schemas(&self) -> Result<Ids> {
        let Some(settings) = self.registry() else { return Ok(Ids::FIXED) };
        let until = Instant::now() + REGISTRY_TIMEOUT;
        loop {
            match registry::ids(&settings).await {
                Err(error) if error.is_transient() && Instant::now() < until => tokio::time::sleep(PAUSE).await,
                told @ Err(RegistryError::Silent { .. }) => {
                    return told.during(|| "the ids on the topics are those of a schema registry".to_owned());
                }
                told => return Ok(told?),
            }
        }
    }

    /// The registry, if one is configured.
    #[must_use]
    pub fn registry(&self) -> Option<registry::Settings> {
        let config::Registry { url, user, password, register } = self.config.registry.as_ref()?;
        let password = password.as_ref().map(|password| password.reveal().to_owned()).unwrap_or_default();
        let login = user.as_ref().map(|user| (user.clone(), password));
        Some(registry::Settings { url: url.clone(), login, register: *register })
    }
}
