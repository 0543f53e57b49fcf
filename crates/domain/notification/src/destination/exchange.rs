//! What passes between a destination and its transport: requests, answers, verdicts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::settings::SecretText;
use crate::message::Message;

/// An owner who can be mentioned: ids by platform, since names do not ping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The name for people.
    pub name: String,
    /// The id at Slack: of a user (`U…`, `W…`) or a group (`S…`).
    pub slack: Option<String>,
    /// The sign-in name or Entra id at Teams.
    pub teams: Option<String>,
    /// The login at GitHub.
    pub github: Option<String>,
    /// The account id at Jira.
    pub jira: Option<String>,
    /// The mail address.
    pub email: Option<String>,
}

/// Owners by their id.
pub type People = BTreeMap<String, Person>;

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'m> {
    /// What to say.
    pub message: &'m Message,
    /// What the receiver gave for the message that opened the thread; empty if that is not known.
    pub receipt: &'m str,
    /// Who can be mentioned.
    pub people: &'m People,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

impl<'m> Outgoing<'m> {
    /// Who is to be pinged: the owner of the link, by the first message and by no later one.
    pub(super) fn pinged(&self) -> Option<&'m Person> {
        if !self.message.pings() {
            return None;
        }
        self.people.get(self.message.mention.as_deref()?)
    }

    /// The name for people of an owner.
    pub(super) fn name_of(&self, owner: &'m str) -> &'m str {
        self.people.get(owner).map(|person| person.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(owner)
    }
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Where to. It may carry a token, so it is never logged.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body; JSON, or empty.
    pub body: String,
}

impl Request {
    /// A request with a body of JSON.
    pub(super) fn json(method: &'static str, url: String, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self { method, url, headers, body: body.to_string() }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A row of a file, to be there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The file.
    pub path: PathBuf,
    /// The first line of a new file.
    pub header: Vec<&'static str>,
    /// The row; its first field is the id by which it is found again.
    pub fields: Vec<String>,
}

/// A mail to some people, the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The server that takes it.
    pub server: MailServer,
    /// Its `Message-ID`, without brackets: the same on every attempt.
    pub id: String,
    /// The `Message-ID` of the mail that opened the thread, where this one belongs to a thread.
    pub answers: Option<String>,
    /// The address of the sender.
    pub from: String,
    /// The addresses of those who get it.
    pub to: Vec<String>,
    /// The addresses of those who get a copy.
    pub copy: Vec<String>,
    /// One line.
    pub subject: String,
    /// The `List-Id`, without brackets: by what a reader sorts.
    pub list: String,
    /// The body as text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
    /// The name and contents of a CSV file beside it.
    pub attachment: Option<(String, String)>,
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When the connection is encrypted.
    pub tls: MailTls,
    /// Name and password, where it asks for them.
    pub login: Option<(String, SecretText)>,
    /// A file with the certificates (PEM) that it is trusted by, beside those of the system.
    pub ca: Option<PathBuf>,
}

/// When the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From its beginning.
    Implicit,
    /// By STARTTLS, before anything is said. A server that has none is refused.
    StartTls,
    /// Never.
    None,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a request, and ask again with its answer.
    Http(Request),
    /// Append a row, and ask again.
    Append(Row),
    /// Send a mail, and ask again.
    Mail(Box<Mail>),
    /// That was it.
    End(Verdict),
}

/// What a receiver said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, or the code of a mail server; 0 for a file.
    pub status: u16,
    /// Names, in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// How long it asks to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The beginning of its body.
    pub body: String,
}

impl Answer {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered {
        /// The HTTP status.
        status: u16,
        /// By what the receiver knows it; empty where it does not say.
        receipt: String,
    },
    /// It may take it another time, after a while of its choice.
    Retry {
        /// The HTTP status, 0 where there was no answer.
        status: u16,
        /// What it said.
        error: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// It can never take this message; it takes others.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What it said.
        error: String,
    },
    /// It has the message, and refused something that belongs to it: to move an issue, to tie a note to a contact.
    WrittenInPart {
        /// The HTTP status.
        status: u16,
        /// What it refused.
        error: String,
    },
    /// It takes nothing until its owner has changed something.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, and what to change.
        error: String,
    },
}

impl Verdict {
    pub(super) fn delivered(answer: &Answer, receipt: impl Into<String>) -> Step {
        Step::End(Self::Delivered { status: answer.status, receipt: receipt.into() })
    }

    pub(super) fn retry(answer: &Answer, error: impl Into<String>) -> Step {
        Step::End(Self::Retry { status: answer.status, error: error.into(), after: answer.retry_after })
    }

    pub(super) fn rejected(answer: &Answer, error: impl Into<String>) -> Step {
        Step::End(Self::Rejected { status: answer.status, error: error.into() })
    }

    /// The message is there; what was to be done with it is not.
    pub(super) fn written_in_part(answer: &Answer, error: impl Into<String>) -> Step {
        Step::End(Self::WrittenInPart { status: answer.status, error: error.into() })
    }

    pub(super) fn refused(answer: &Answer, error: impl Into<String>) -> Step {
        Step::End(Self::Refused { status: answer.status, error: error.into() })
    }

    /// What most receivers mean by a status that is not success. `said` is what the body says, kept short.
    pub(super) fn by_status(answer: &Answer, said: &str) -> Step {
        let error = match said {
            "" => format!("it answers {}", answer.status),
            said => format!("it answers {}: {}", answer.status, super::text::cut(said, 200)),
        };
        match answer.status {
            400 | 405 | 413 | 415 | 422 => Self::rejected(answer, error),
            401 | 403 | 404 | 410 => Self::refused(answer, error),
            301 | 302 | 303 | 307 | 308 => Self::refused(answer, format!("{error}; redirects are not followed")),
            _ => Self::retry(answer, error),
        }
    }
}
