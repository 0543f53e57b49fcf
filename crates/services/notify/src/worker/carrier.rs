//! One attempt: what a destination says, carried out step by step until it comes to a verdict.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::TraceContext;
use event::trace::TRACEPARENT;
use notification::destination::{Outgoing, People, SecretText, Step, Verdict};
use runtime::clock::now_ms;

use crate::fault::point;
use crate::outbox::PendingDelivery;
use crate::transport::file;
use crate::transport::http::Http;
use crate::transport::mail;
use crate::{Destination, Settings};

/// Steps of one attempt: more than any destination takes.
const MAX_STEPS: usize = 32;

/// A destination and what carries its messages.
pub(super) struct Carrier {
    destination: Box<dyn notification::destination::Destination>,
    http: Http,
    allow_private: bool,
    people: Arc<People>,
    pace: Arc<Pace>,
    /// Whether the receiver is told the trace of a message: only where it is a program of one's own.
    tells_trace: bool,
}

impl Carrier {
    pub(super) fn new(settings: &Settings, destination: &Destination) -> Result<Self, String> {
        let proxy = destination.proxy.as_ref().map(SecretText::reveal);
        Ok(Self {
            destination: (destination.kind.build)(&destination.values).map_err(|fault| fault.message)?,
            http: Http::new(destination.allow_private, proxy)?,
            allow_private: destination.allow_private,
            people: Arc::new(settings.people.clone()),
            pace: Pace::of(&destination.name),
            tells_trace: destination.kind.name == "webhook",
        })
    }

    /// Does what the destination says until it comes to a verdict.
    pub(super) async fn send(&self, owed: &PendingDelivery, receipt: &str, trace: Option<TraceContext>) -> Verdict {
        let message = match &owed.message {
            Ok(message) => message,
            Err(error) => {
                let error = format!("the planned message cannot be read: {error}; start the version that wrote it");
                return Verdict::Rejected { status: 0, error };
            }
        };
        let mut answers = Vec::new();
        while answers.len() < MAX_STEPS {
            let outgoing = Outgoing { message, receipt, people: &self.people, now_ms: now_ms() };
            let step = self.destination.step(&outgoing, &answers);
            point("asking");
            let answer = match step {
                Step::End(verdict) => return verdict,
                Step::Append(row) => file::append(row).await,
                Step::Mail(mail) => {
                    self.pace.wait(self.destination.pace_ms()).await;
                    mail::send(&mail, self.allow_private).await
                }
                Step::Http(mut request) => {
                    if let Some(trace) = trace.filter(|_| self.tells_trace) {
                        request.headers.push((TRACEPARENT.to_owned(), trace.to_header()));
                    }
                    self.pace.wait(self.destination.pace_ms()).await;
                    self.http.send(request).await
                }
            };
            point("answered");
            match answer {
                Ok(answer) => answers.push(answer),
                Err(verdict) => return verdict,
            }
        }
        let error = format!("the exchange came to no end in {MAX_STEPS} steps: a defect of this build");
        Verdict::Rejected { status: 0, error }
    }
}

/// When the next request to a destination may be made, for all lanes of this process.
#[derive(Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn of(destination: &str) -> Arc<Self> {
        static ALL: LazyLock<Mutex<HashMap<String, Arc<Pace>>>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(destination.to_owned()).or_default())
    }

    async fn wait(&self, pace_ms: u64) {
        if pace_ms == 0 {
            return;
        }
        let turn = {
            let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = Some(turn + Duration::from_millis(pace_ms));
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
    }
}
