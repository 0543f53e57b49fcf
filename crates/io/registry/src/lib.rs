//! The schema registry over HTTP, by the REST interface of Confluent's, which Apicurio, Karapace and Redpanda speak as well.
//!
//! Hookline knows its schemas itself and needs a registry for nothing: one is named so that others can read the topics by the
//! ids that the values carry. So it is asked once, when a service starts: which ids do our schemas have? What it does not have
//! is registered, unless somebody else is to do that.

use std::fmt;
use std::time::Duration;

use event::wire::{Ids, SCHEMAS, Schema};
use reqwest::{Client, Method, StatusCode, redirect};
use runtime::with_causes;
use serde::Deserialize;
use serde_json::json;

/// How a change of a schema is held against the versions before it: a test holds `schemas/` to the same.
const COMPATIBILITY: &str = "BACKWARD_TRANSITIVE";
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes: a lookup repeats the schema.
const MOST: usize = 1 << 20;
/// How much of an answer is repeated in an error, in characters.
const SHOWN: usize = 300;

/// Where the registry is.
#[derive(Clone)]
pub struct Settings {
    /// Its address, a path included: Apicurio's is `http://host:8080/apis/ccompat/v7`.
    pub url: String,
    /// The user and the password, if it wants any.
    pub login: Option<(String, String)>,
    /// Whether schemas that it does not have are registered; else they are only looked up.
    pub register: bool,
}

impl fmt::Debug for Settings {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map(|(user, _)| user);
        let Self { url, register, .. } = self;
        f.debug_struct("Settings").field("url", url).field("user", &user).field("register", register).finish()
    }
}

/// Why the ids are not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers there now.
    #[error(
        "the schema registry at {url} does not answer: {reason}; start it, or take [registry] out of the configuration"
    )]
    Silent {
        /// Where.
        url: String,
        /// What the client says.
        reason: String,
    },
    /// It answers that it cannot work now.
    #[error("the schema registry at {url} cannot work now (status {status}): {said}")]
    Unwell {
        /// Where.
        url: String,
        /// The status.
        status: u16,
        /// What it says.
        said: String,
    },
    /// It does not let us in.
    #[error(
        "the schema registry at {url} refuses who asks (status {status}) for {subject}: look at user and password of [registry]"
    )]
    Denied {
        /// Where.
        url: String,
        /// The status.
        status: u16,
        /// What was asked about.
        subject: &'static str,
    },
    /// It does not have the schema, and we are not to register it.
    #[error(
        "the schema registry at {url} does not have schemas/{file} under the subject {subject}, and register = false in [registry]: \
         register it there, or set register = true"
    )]
    Missing {
        /// Where.
        url: String,
        /// The subject.
        subject: &'static str,
        /// The file in `schemas/`.
        file: &'static str,
    },
    /// It has other versions under the subject that ours does not go with.
    #[error(
        "the schema registry at {url} has schemas under {subject} that schemas/{file} is not compatible with: {said}; somebody else uses \
         our subject, or the registry belongs to a newer Hookline: use that, or delete the subject there, or name another registry"
    )]
    Incompatible {
        /// Where.
        url: String,
        /// The subject.
        subject: &'static str,
        /// The file in `schemas/`.
        file: &'static str,
        /// What it says.
        said: String,
    },
    /// It says no, for a reason of its own.
    #[error("the schema registry at {url} does not take {subject} (status {status}): {said}")]
    Refused {
        /// Where.
        url: String,
        /// The subject.
        subject: &'static str,
        /// The status.
        status: u16,
        /// What it says.
        said: String,
    },
    /// What answers is no registry.
    #[error(
        "what answers at {url} is no schema registry as Confluent's: {reason}; the address may need a path, such as /apis/ccompat/v7 for Apicurio"
    )]
    Foreign {
        /// Where.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// No client could be made.
    #[error("no HTTP client could be made for the schema registry: {0}")]
    Client(String),
}

impl RegistryError {
    /// Whether asking again later may mend it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Unwell { .. })
    }
}

/// Asks for the ids of all schemas of [`SCHEMAS`].
///
/// # Errors
/// When the registry does not answer, or has or takes one of them not. Nothing is tried again here.
pub async fn ids(settings: &Settings) -> Result<Ids, RegistryError> {
    let registry = Registry::new(settings)?;
    let mut ids = [0; SCHEMAS.len()];
    for (id, schema) in ids.iter_mut().zip(&SCHEMAS) {
        *id = registry.id(schema).await?;
    }
    Ok(Ids::registered(ids))
}

struct Registry<'s> {
    settings: &'s Settings,
    url: &'s str,
    client: Client,
}

/// What an answer is about, as far as it is read.
#[derive(Deserialize)]
struct Known {
    id: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Complaint {
    error_code: u32,
    message: String,
}

impl Complaint {
    /// Confluent's codes for "no such subject" and "no such schema in it".
    fn is_missing_schema(&self) -> bool {
        matches!(self.error_code, 40_401 | 40_403)
    }

    fn is_missing_subject(&self) -> bool {
        self.error_code == 40_401
    }
}

/// An answer: its status and its text.
struct Answer {
    status: StatusCode,
    text: String,
}

impl Answer {
    fn complaint(&self) -> Complaint {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// What it says, short and on one line.
    fn said(&self) -> String {
        let Complaint { message, .. } = self.complaint();
        let said = if message.is_empty() { self.text.as_str() } else { &message };
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
    }
}

impl<'s> Registry<'s> {
    fn new(settings: &'s Settings) -> Result<Self, RegistryError> {
        // An error means that a provider is installed already, which is all that is needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none()) // the password is for this address
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .build()
            .map_err(|error| RegistryError::Client(error.to_string()))?;
        Ok(Self { settings, url: settings.url.trim_end_matches('/'), client })
    }

    async fn id(&self, schema: &Schema) -> Result<u32, RegistryError> {
        let Schema { subject, file, text, .. } = *schema;
        // The file as it is: a registry may tell texts apart by their bytes, and others register the file.
        let body = json!({ "schema": text });
        let found = self.ask(Method::POST, &format!("/subjects/{subject}"), &body).await?;
        if found.status.is_success() {
            return self.read(&found);
        }
        let complaint = found.complaint();
        if found.status != StatusCode::NOT_FOUND || !complaint.is_missing_schema() {
            return Err(self.no(schema, &found));
        }
        if !self.settings.register {
            return Err(RegistryError::Missing { url: self.url.to_owned(), subject, file });
        }
        let made = self.ask(Method::POST, &format!("/subjects/{subject}/versions"), &body).await?;
        if !made.status.is_success() {
            return Err(self.no(schema, &made));
        }
        let id = self.read(&made)?;
        tracing::info!(subject, id, file, "registered with the schema registry");
        if complaint.is_missing_subject() {
            self.hold_to_compatibility(subject).await?;
        }
        Ok(id)
    }

    /// A subject of ours is held to what `schemas/` is held to. A registry that has a rule of its own about that keeps it.
    async fn hold_to_compatibility(&self, subject: &str) -> Result<(), RegistryError> {
        let body = json!({ "compatibility": COMPATIBILITY });
        let answer = self.ask(Method::PUT, &format!("/config/{subject}"), &body).await?;
        if !answer.status.is_success() {
            let (status, said) = (answer.status.as_u16(), answer.said());
            tracing::warn!(
                subject,
                status,
                said,
                "the schema registry does not set the subject to {COMPATIBILITY}; its own rule holds"
            );
        }
        Ok(())
    }

    fn read(&self, answer: &Answer) -> Result<u32, RegistryError> {
        let known: Result<Known, _> = serde_json::from_str(&answer.text);
        known.map(|known| known.id).map_err(|error| self.foreign(format!("its answer has no id: {error}")))
    }

    /// Why a schema was not taken or not found.
    fn no(&self, schema: &Schema, answer: &Answer) -> RegistryError {
        let (url, subject, file) = (self.url.to_owned(), schema.subject, schema.file);
        let (status, said) = (answer.status.as_u16(), answer.said());
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied { url, status, subject },
            StatusCode::CONFLICT => RegistryError::Incompatible { url, subject, file, said },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => RegistryError::Unwell { url, status, said },
            status if status.is_server_error() => RegistryError::Unwell { url, status: status.as_u16(), said },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                self.foreign(format!("it answers {status} to a question about {subject}: {said}"))
            }
            status if status.is_redirection() => self.foreign(format!("it redirects elsewhere ({status})")),
            _ => RegistryError::Refused { url, subject, status, said },
        }
    }

    fn foreign(&self, reason: String) -> RegistryError {
        RegistryError::Foreign { url: self.url.to_owned(), reason }
    }

    async fn ask(&self, method: Method, path: &str, body: &serde_json::Value) -> Result<Answer, RegistryError> {
        let silent =
            |error: reqwest::Error| RegistryError::Silent { url: self.url.to_owned(), reason: with_causes(&error) };
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = match &self.settings.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let request = request.header("accept", CONTENT_TYPE).header("content-type", CONTENT_TYPE);
        let mut response = request.body(body.to_string()).send().await.map_err(silent)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                return Err(self.foreign(format!("its answer is longer than {MOST} bytes")));
            }
        }
        Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

#[cfg(test)]
mod tests;
