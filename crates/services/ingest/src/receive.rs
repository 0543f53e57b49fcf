//! One request, from its bytes to its answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adapter::{Element, Undecodable, fallback_key};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use config::WhenOver;
use hyper::body::Incoming;
use kafka::edge::EdgeError;
use runtime::LogLimit;
use signature::Refusal;

use crate::answer::{ElementResult, Problem, QuotaState, Receipt, ReceiptId, Would};
use crate::append::{self, AppendError, Envelope};
use crate::body::{self, BodyError};
use crate::encoding::{Coding, DecodeError};
use crate::limits::Hold;
use crate::metrics::RequestOutcome;
use crate::source::{Source, SourceSettings};
use crate::switches::Gate;
use crate::traced::Traced;
use crate::{Edge, SERVICE, handshake, query};

/// The path of webhooks; the source's name follows.
pub(crate) const PATH: &str = "/v1/webhooks/";
/// What a sender is asked to wait after a 503, at least, and how far it is spread.
const RETRY_AFTER: (Duration, u64) = (Duration::from_secs(4), 4_000);
/// What a sender is asked to wait when too many of its requests are under way: they take no longer than this.
const NEXT_TURN: Duration = Duration::from_secs(1);

/// Anything at `/v1/webhooks/{source}`.
pub(crate) async fn webhook(edge: &Edge, peer: IpAddr, request: Request<Incoming>) -> Response {
    let arrived = Instant::now();
    let name = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    // It is answered by the configuration that it meets, whatever is loaded meanwhile.
    let Some(source) = edge.sources.current().get(name) else {
        edge.metrics.unknown_source.inc();
        body::drain(request.into_body());
        return Problem::UnknownSource.into_response(None);
    };
    let source = source.as_ref();
    let gate = source.switch.gate();
    let event = || query::event(request.uri().query(), source.settings.secret_parameter.as_deref());
    let (probe, outcome) = match *request.method() {
        Method::POST | Method::PUT => return deliver(edge, source, gate, arrived, peer, request).await,
        Method::OPTIONS | Method::GET | Method::HEAD if gate == Gate::Retired => {
            (Problem::Retired.into_response(None), RequestOutcome::Probe)
        }
        Method::OPTIONS => (handshake::options(source, request.headers()), RequestOutcome::Probe),
        Method::GET if source.settings.events_in_query && event().is_some() => {
            return deliver(edge, source, gate, arrived, peer, request).await;
        }
        // A 200 would say that the event in the query is stored.
        Method::GET | Method::HEAD if !source.settings.events_in_query && event().is_some() => {
            query::refused(edge, source, peer, &request);
            (Problem::QueryIsNoEvent.into_response(None), RequestOutcome::WrongMethod)
        }
        Method::GET | Method::HEAD => (handshake::listening(source), RequestOutcome::Probe),
        _ => (Problem::WrongMethod.into_response(None), RequestOutcome::WrongMethod),
    };
    source.metrics.answered(outcome, false);
    probe
}

async fn deliver(
    edge: &Edge,
    source: &Source,
    gate: Gate,
    arrived: Instant,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response {
    let (parts, body) = request.into_parts();
    let dry_run = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=1"));
    let receipt = ReceiptId::new();
    let delivery = Delivery { edge, source, gate, receipt, arrived, peer, parts, dry_run };
    let (answer, authentic) = match delivery.admit(body).await {
        Ok(admitted) => (delivery.take(admitted).await, true),
        Err(problem) => (Err(problem), false),
    };
    match answer {
        Ok(receipt) => {
            let outcome = match receipt.status {
                _ if dry_run => RequestOutcome::DryRun,
                "accepted" => RequestOutcome::Accepted,
                _ => RequestOutcome::Quarantined,
            };
            source.metrics.answered(outcome, authentic);
            if !dry_run {
                edge.metrics.ack_seconds.observe(arrived.elapsed().as_secs_f64());
            }
            receipt.into_response()
        }
        Err(problem) => {
            delivery.note(problem);
            source.metrics.answered(outcome(problem), authentic && !dry_run);
            problem.into_response(Some(&receipt))
        }
    }
}

fn outcome(problem: Problem) -> RequestOutcome {
    match problem {
        Problem::Unauthenticated { .. } => RequestOutcome::Unauthenticated,
        Problem::TooLarge { .. } => RequestOutcome::TooLarge,
        Problem::WrongType | Problem::WrongEncoding => RequestOutcome::WrongType,
        Problem::OverQuota { .. } | Problem::TooManyAtOnce { .. } => RequestOutcome::OverQuota,
        Problem::Overloaded { .. } | Problem::Unavailable { .. } => RequestOutcome::Unavailable,
        Problem::Paused { .. } => RequestOutcome::Paused,
        Problem::Retired => RequestOutcome::Retired,
        Problem::TooSlow => RequestOutcome::TooSlow,
        Problem::WrongMethod | Problem::QueryIsNoEvent => RequestOutcome::WrongMethod,
        Problem::Unreadable | Problem::UnknownSource | Problem::UnknownPath => RequestOutcome::Unreadable,
    }
}

/// A request under way.
struct Delivery<'e> {
    edge: &'e Edge,
    source: &'e Source,
    gate: Gate,
    receipt: ReceiptId,
    arrived: Instant,
    peer: IpAddr,
    parts: Parts,
    dry_run: bool,
}

/// An authentic request.
struct Admitted<'e> {
    /// The body, decompressed; as it came when that is not possible.
    content: Bytes,
    /// Why it could not be decompressed.
    broken: Option<Undecodable>,
    /// Whether the content is the query instead of the body: a form.
    from_query: bool,
    secret_id: &'e str,
    received_at: Duration,
    /// The memory that the content takes, for as long as it is there.
    _hold: Hold<'e>,
}

impl<'e> Delivery<'e> {
    /// Reads the body and checks who sent it. Nothing that a stranger sends gets further than this.
    async fn admit(&self, mut body: Incoming) -> Result<Admitted<'e>, Problem> {
        let (wire, mut hold) = match self.read(&mut body).await {
            Ok(read) => read,
            Err(problem) => {
                // A sender that waits for our word before it sends has read the answer, and one that is too slow is not waited for.
                if problem != Problem::TooSlow && !body::waits_for_continue(&self.parts.headers) {
                    body::drain(body);
                }
                return Err(problem);
            }
        };
        let received_at = runtime::clock::since_1970();
        let now = received_at.as_secs() as i64;
        let coding = Coding::of(&self.parts.headers);
        // Signatures cover the bytes on the wire. Some senders sign before their HTTP client compresses, so the content counts as well.
        let (secret_id, decoded) = match self.authenticate(&wire, now) {
            Ok(secret_id) => (secret_id, None),
            Err(Refusal::NoMatch) if coding.is_compressed() => match self.decode(coding, &wire, &mut hold).await {
                Ok(content) => (self.authenticate(&content, now).map_err(|why| self.refuse(why))?, Some(Ok(content))),
                Err(DecodeError::Corrupt) => return Err(self.refuse(Refusal::NoMatch)),
                Err(other) => return Err(self.cannot_decode(other)),
            },
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        if let Some(event) = self.event_in_query() {
            if wire.is_empty() {
                let content = Bytes::from(event);
                self.source.metrics.sizes.observe(content.len() as f64);
                return Ok(Admitted { content, broken: None, from_query: true, secret_id, received_at, _hold: hold });
            }
            // The body of a GET has no meaning (RFC 9110, 9.3.1), so which of the two is the event would be a guess.
            if self.parts.method == Method::GET {
                return Err(Problem::WrongMethod);
            }
        }
        let decoded = match decoded {
            Some(decoded) => decoded,
            None => self.decode(coding, &wire, &mut hold).await,
        };
        let (content, broken) = match decoded {
            Ok(content) => (content, None),
            // Authentic all the same: kept as it came.
            Err(DecodeError::Corrupt) => {
                let detail = "the body is not encoded as its Content-Encoding says".to_owned();
                (wire, Some(Undecodable { reason: "bad_encoding", detail }))
            }
            Err(other) => return Err(self.cannot_decode(other)),
        };
        self.source.metrics.sizes.observe(content.len() as f64);
        Ok(Admitted { content, broken, from_query: false, secret_id, received_at, _hold: hold })
    }

    async fn read(&self, body: &mut Incoming) -> Result<(Bytes, Hold<'e>), Problem> {
        if let Some(problem) = self.gate.refusal().filter(|_| !self.dry_run) {
            return Err(problem);
        }
        let limit = self.source.settings.max_body;
        if body::announced(&self.parts.headers).is_some_and(|length| length > limit as u64) {
            return Err(Problem::TooLarge { limit });
        }
        let mut hold = self.edge.memory.hold(&self.source.held).map_err(|_| self.overloaded())?;
        let wire = body::read(body, limit, self.edge.body_within, &mut hold).await.map_err(|why| match why {
            BodyError::TooLarge => Problem::TooLarge { limit },
            BodyError::TooSlow => Problem::TooSlow,
            BodyError::Broken => Problem::Unreadable,
            BodyError::NoRoom => self.overloaded(),
        })?;
        Ok((wire, hold))
    }

    /// The event in the query, where this source has events there.
    fn event_in_query(&self) -> Option<String> {
        let settings = &self.source.settings;
        settings.events_in_query.then(|| query::event(self.parts.uri.query(), settings.secret_parameter.as_deref()))?
    }

    async fn decode(&self, coding: Coding, wire: &Bytes, hold: &mut Hold<'_>) -> Result<Bytes, DecodeError> {
        coding.decode(wire, self.source.settings.max_body, hold).await
    }

    fn cannot_decode(&self, why: DecodeError) -> Problem {
        match why {
            DecodeError::TooLarge => Problem::TooLarge { limit: self.source.settings.max_body },
            DecodeError::Corrupt => Problem::Unreadable,
            DecodeError::NoRoom => self.overloaded(),
        }
    }

    /// Checks who sent it. Returns the id of the secret that signed it.
    fn authenticate(&self, body: &[u8], now: i64) -> Result<&'e str, Refusal> {
        let settings = &self.source.settings;
        let Parts { method, uri, headers, .. } = &self.parts;
        let lookup = |name: &str| only(headers, name);
        let public;
        let url = match (&settings.public_url, uri.query()) {
            // Signed is the address that the sender was given, whatever proxies have made of it.
            (Some(address), Some(query)) => {
                public = format!("{address}?{query}");
                &public
            }
            (Some(address), None) => address.as_str(),
            (None, _) => uri.path_and_query().map_or("", |path| path.as_str()),
        };
        let signed = signature::Request { method: method.as_str(), url, headers: &lookup, body };
        let authentic = settings.verifier.verify(&signed, now)?;
        // The counters know every secret of the verifier.
        let (secret_id, uses) = self.source.metrics.secret(authentic.secret_id).ok_or(Refusal::NoLiveSecret)?;
        if !self.dry_run {
            uses.inc();
            if let Some(timestamp) = authentic.timestamp {
                self.source.metrics.skew.observe((timestamp - now) as f64);
            }
        }
        Ok(secret_id)
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        self.source.metrics.refused(refusal);
        self.line(&self.source.log.refused, |left_out, client| {
            let (source, receipt) = (&self.source.settings.name, &self.receipt);
            tracing::info!(service = SERVICE, source, %receipt, %client, left_out, "answered 401: {refusal}");
        });
        Problem::Unauthenticated { challenge: self.source.settings.challenge }
    }

    /// Finds the events of an authentic request and appends them.
    async fn take(&self, admitted: Admitted<'e>) -> Result<Receipt, Problem> {
        let (headers, settings) = (&self.parts.headers, &self.source.settings);
        if Coding::of(headers) == Coding::Unknown && !admitted.from_query {
            return Err(Problem::WrongEncoding);
        }
        let content_type = if admitted.from_query { query::CONTENT_TYPE } else { content_type(headers) };
        if !settings.adapter.accepts(&settings.dialect, content_type, &admitted.content) {
            return Err(Problem::WrongType);
        }
        let (mut elements, whole) = match &admitted.broken {
            Some(why) => (vec![quarantined(&admitted.content, why.clone())], true),
            None => self.split(&admitted.content, content_type),
        };
        self.gate.set_aside(&mut elements);
        if self.dry_run {
            return Ok(self.say(&elements, whole, Some(self.would(elements.len()))));
        }
        let _place = self.let_in(elements.len())?;
        let Admitted { received_at, secret_id, .. } = admitted;
        let cloud_event = append::cloud_event(headers);
        let envelope = Envelope { receipt: &self.receipt, received_at, secret_id, content_type, cloud_event };
        let traces = &self.edge.traces;
        let mut traced = match traces.is_on() {
            true => Traced::choose(traces, settings, &self.parts, &self.receipt, self.arrived, elements.len()),
            false => None,
        };
        let appended = append::append(self.edge, self.source, &envelope, &elements, traced.as_mut()).await;
        let appended = appended.map_err(|error| self.not_stored(&error));
        if let Some(traced) = traced {
            let status = appended.err().map_or(StatusCode::ACCEPTED, Problem::status);
            traces.publish(traced.answered(status.as_u16(), elements.len()));
        }
        if let Err(problem) = appended {
            self.source.bucket(|bucket| bucket.give_back(elements.len()));
            return Err(problem);
        }
        self.source.metrics.events.inc_by(elements.len() as u64);
        self.source.metrics.last_event.set(received_at.as_secs_f64());
        Ok(self.say(&elements, whole, None))
    }

    /// The events of the body. A body that cannot be split is one quarantined element under its hash, and `true`.
    fn split<'b>(&'b self, body: &'b [u8], content_type: &str) -> (Vec<Element<'b>>, bool) {
        let header = |name: &str| self.parts.headers.get(name).and_then(append::header_text);
        let SourceSettings { adapter, dialect, .. } = &self.source.settings;
        match adapter.split(dialect, body, content_type, &header) {
            Ok(elements) => (elements, false),
            Err(undecodable) => (vec![quarantined(body, undecodable)], true),
        }
    }

    /// Takes the room that the events need, in the quota of the source and among what is under way.
    fn let_in(&self, events: usize) -> Result<crate::limits::Place<'e>, Problem> {
        let (source, now) = (self.source, self.now());
        let place = source.in_flight.enter(events).ok_or(Problem::TooManyAtOnce { retry_after: NEXT_TURN })?;
        let Some(Err(wait)) = source.bucket(|bucket| bucket.take(now, events)) else { return Ok(place) };
        let Some(quota) = source.settings.quota else { return Ok(place) };
        source.metrics.over_quota(events);
        self.line(&source.log.over_quota, |left_out, _| {
            let (source, receipt, per_second) = (&source.settings.name, &self.receipt, quota.per_second);
            let done = if quota.when_over == WhenOver::Refuse { "refused" } else { "accepted all the same" };
            tracing::warn!(service = SERVICE, source, %receipt, per_second, left_out, "over its quota, {done}");
        });
        match quota.when_over {
            WhenOver::AcceptAndWarn => Ok(place),
            WhenOver::Refuse => Err(Problem::OverQuota { per_second: quota.per_second, retry_after: wait }),
        }
    }

    /// What the request would meet if it were no dry run. Takes nothing.
    fn would(&self, events: usize) -> Would {
        let (source, now) = (self.source, self.now());
        let quota = source.settings.quota.and_then(|quota| {
            let when_over = if quota.when_over == WhenOver::Refuse { "refuse" } else { "accept-and-warn" };
            let room = source.bucket(|bucket| bucket.room(now))?;
            Some(QuotaState { per_second: quota.per_second, room, when_over })
        });
        let refuses = source.settings.quota.is_some_and(|quota| quota.when_over == WhenOver::Refuse);
        let (switch, refusal) = self.gate.said();
        let (answer, why) = if let Some((answer, why)) = refusal {
            (answer, Some(why))
        } else if refuses && source.over_quota_for(now, events).is_some() {
            (429, Some("the quota is used up"))
        } else if !source.in_flight.has_room(events) {
            (429, Some("too many requests of this source are under way"))
        } else if !self.edge.producer.is_up() {
            (503, Some("the event log does not answer"))
        } else {
            (202, None)
        };
        Would { answer, why, switch, quota }
    }

    fn say(&self, elements: &[Element<'_>], whole: bool, would: Option<Would>) -> Receipt {
        let quarantined = elements.iter().filter(|element| element.quarantine.is_some()).count();
        let result = |why: Option<&Undecodable>| ElementResult {
            status: if why.is_some() { "quarantined" } else { "accepted" },
            reason: why.map(|why| why.reason),
            detail: why.map(|why| why.detail.clone()),
        };
        Receipt {
            status: if whole || quarantined == elements.len() { "quarantined" } else { "accepted" },
            receipt: self.receipt,
            events: elements.len(),
            quarantined,
            dry_run: self.dry_run,
            would,
            results: elements.iter().map(|element| result(element.quarantine.as_ref())).collect(),
        }
    }

    fn not_stored(&self, error: &AppendError) -> Problem {
        if let AppendError::Edge(EdgeError::TooLarge { .. }) = error {
            return Problem::TooLarge { limit: self.source.settings.max_body };
        }
        self.line(&self.source.log.unavailable, |left_out, _| {
            let (source, receipt) = (&self.source.settings.name, &self.receipt);
            tracing::warn!(service = SERVICE, source, %receipt, left_out, "answered 503: {error}");
        });
        Problem::Unavailable { retry_after: self.later() }
    }

    fn overloaded(&self) -> Problem {
        Problem::Overloaded { retry_after: self.later() }
    }

    /// Not the same for everybody, so that senders do not come back all at once.
    fn later(&self) -> Duration {
        let (least, spread) = RETRY_AFTER;
        least + Duration::from_millis(self.receipt.spread(spread))
    }

    /// Refusals that have no line of their own yet.
    fn note(&self, problem: Problem) {
        let has_its_own = matches!(
            problem,
            Problem::Unauthenticated { .. } | Problem::OverQuota { .. } | Problem::Unavailable { .. }
        );
        if !has_its_own {
            self.line(&self.source.log.refused, |left_out, client| {
                let (source, receipt, status) = (&self.source.settings.name, &self.receipt, problem.status().as_u16());
                tracing::info!(service = SERVICE, source, %receipt, %client, left_out, "answered {status}: {problem:?}");
            });
        }
    }

    /// Writes a line if one is due.
    fn line(&self, limit: &LogLimit, write: impl FnOnce(u64, IpAddr)) {
        if let Some(left_out) = limit.due() {
            write(left_out, self.edge.proxies.client(self.peer, &self.parts.headers));
        }
    }

    /// The arrival, on the clock of quotas.
    fn now(&self) -> Duration {
        self.arrived.duration_since(self.edge.begun)
    }
}

/// The value of a header. One that stands there twice is as good as an empty one: what was verified by the first value,
/// somebody behind us might read by the second.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    Some(if values.next().is_none() { value.as_bytes() } else { b"" })
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json")
}

/// A body without an event that can be used, under its hash.
fn quarantined(body: &[u8], why: Undecodable) -> Element<'_> {
    Element { bytes: body.into(), key: fallback_key(body), ordinal: 0, content_type: "", quarantine: Some(why) }
}
