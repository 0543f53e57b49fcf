//! Receivers of messages that answer as Slack, Teams, PagerDuty, GitHub, Jira and HubSpot do, as far as destinations
//! rest on it.
//!
//! No such receiver exists to be run. Each keeps what arrives, holds it against the limits that its platform has, and
//! shows it on a page as the platform would. What it refuses, and how, can be asked for.

mod github;
mod http;
mod hubspot;
mod jira;
mod page;
mod pagerduty;
mod slack;
mod smtp;
mod teams;
mod webhook;

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;

/// Each platform in one line: what it is, its name, and the double of its module.
macro_rules! platforms {
    ($($(#[$doc:meta])* $platform:ident = $name:literal in $module:ident,)*) => {
        /// What a receiver stands for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Platform {
            $($(#[$doc])* $platform,)*
        }

        impl Platform {
            /// All of them, by their names.
            pub const ALL: [(&'static str, Self); [$($name),*].len()] = [$(($name, Self::$platform)),*];

            fn double(self) -> Box<dyn Double> {
                match self {
                    $(Self::$platform => Box::<$module::$platform>::default(),)*
                }
            }
        }
    };
}

platforms! {
    /// Incoming webhooks, and `chat.postMessage` and `chat.update`.
    Slack = "slack" in slack,
    /// The address of a workflow.
    Teams = "teams" in teams,
    /// Events, version 2.
    PagerDuty = "pagerduty" in pagerduty,
    /// Issues and comments.
    GitHub = "github" in github,
    /// Issues, comments and transitions.
    Jira = "jira" in jira,
    /// Notes.
    HubSpot = "hubspot" in hubspot,
    /// Anything that takes a POST.
    Webhook = "webhook" in webhook,
    /// A mail server, without TLS.
    Smtp = "smtp" in smtp,
}

impl Platform {
    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, platform)| *platform)
    }

    /// What to write into a configuration to send here.
    pub fn section(self, address: SocketAddr) -> String {
        let (kind, keys) = self.double().section(address);
        format!("kind = \"{kind}\"\nallow_private = true\n{keys}")
    }
}

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As a receiver that is well.
    Well,
    /// It takes no more for a second, as the platform says that.
    Busy,
    /// It takes nothing from this sender: a wrong token, a wrong password.
    Refuses,
    /// It takes this message never.
    Rejects,
    /// 500, or its like.
    Broken,
    /// 410.
    Gone,
    /// It points to a private address.
    Redirects,
    /// It takes the message and never answers.
    Hangs,
    /// It takes the message and ends the connection.
    Resets,
    /// It takes the message without what this sender may not set, and says nothing of that: labels, at GitHub.
    Strips,
}

impl Behaviour {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 10] = [
        ("well", Self::Well),
        ("busy", Self::Busy),
        ("refuses", Self::Refuses),
        ("rejects", Self::Rejects),
        ("broken", Self::Broken),
        ("gone", Self::Gone),
        ("redirects", Self::Redirects),
        ("hangs", Self::Hangs),
        ("resets", Self::Resets),
        ("strips", Self::Strips),
    ];

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, behaviour)| *behaviour)
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names, in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The value of a name in the query, as it is written there.
    fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The path without its query, in its parts.
    fn parts(&self) -> Vec<&str> {
        self.path.split('?').next().unwrap_or_default().split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Response {
    fn text(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("content-type", "text/plain".to_owned())], body: body.to_owned() }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// One platform.
pub(crate) trait Double: Send {
    /// The kind of the destination that sends here, and the keys of its section beside those that each has.
    fn section(&self, address: SocketAddr) -> (&'static str, String);
    /// What it breaks of the platform's limits; the platform refuses such a request, or drops it without a word.
    fn faults(&self, request: &Request) -> Vec<String>;
    /// Takes a request and answers it.
    fn take(&mut self, request: &Request) -> Response;
    /// Takes a request without what its sender may not set.
    fn take_stripped(&mut self, request: &Request) -> Response {
        self.take(request)
    }
    /// Its way to say that something is wrong.
    fn fails(&self, how: Behaviour) -> Response;
    /// Whether a request changes something. Bad moments are for those: what is only read again proves little.
    fn writes(&self, request: &Request) -> bool {
        request.method != "GET"
    }
    /// What arrived, as the platform shows it: the inside of a page.
    fn show(&self) -> String;
}

/// What is told of each request, its answer's status and what is wrong with it.
type Listener = dyn Fn(&Request, u16, &[String]) + Send;

/// What all connections of a receiver share.
pub(crate) struct Shared {
    pub(crate) double: Box<dyn Double>,
    /// How the next requests are answered that change something, then how all others are.
    next: VecDeque<Behaviour>,
    then: Behaviour,
    requests: Vec<Request>,
    faults: Vec<String>,
    /// Told of each request, with how it is answered.
    listener: Box<Listener>,
}

impl Shared {
    /// Keeps a request, and says how it is answered.
    pub(crate) fn note(&mut self, request: &Request) -> (Behaviour, Vec<String>) {
        let faults = self.double.faults(request);
        self.faults.extend(faults.iter().cloned());
        self.requests.push(request.clone());
        let next = if self.double.writes(request) { self.next.pop_front() } else { None };
        (next.unwrap_or(self.then), faults)
    }

    /// Answers a request; without an answer, the connection hangs or ends.
    pub(crate) fn answer(&mut self, request: &Request) -> (Behaviour, Option<Response>) {
        let (behaviour, faults) = self.note(request);
        let response = match behaviour {
            Behaviour::Well => Some(self.double.take(request)),
            Behaviour::Strips => Some(self.double.take_stripped(request)),
            Behaviour::Hangs | Behaviour::Resets => {
                self.double.take(request);
                None
            }
            Behaviour::Broken => Some(Response::text(500, "internal error")),
            Behaviour::Gone => Some(Response::text(410, "gone")),
            Behaviour::Redirects => {
                Some(Response::text(307, "").with("location", "http://169.254.169.254/latest/meta-data"))
            }
            Behaviour::Busy | Behaviour::Refuses | Behaviour::Rejects => Some(self.double.fails(behaviour)),
        };
        (self.listener)(request, response.as_ref().map_or(0, |response| response.status), &faults);
        (behaviour, response)
    }
}

/// A receiver that runs. It ends with the process.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Receiver {
    /// Starts one at a free address of this machine.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(platform: Platform) -> Result<Self> {
        Self::listen(platform, "127.0.0.1:0", |_, _, _| {})
    }

    /// Starts one; `listener` is told of each request, its answer's status and what is wrong with it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn listen(
        platform: Platform,
        at: &str,
        listener: impl Fn(&Request, u16, &[String]) + Send + 'static,
    ) -> Result<Self> {
        let socket = TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
        let address = socket.local_addr()?;
        let shared = Shared {
            double: platform.double(),
            next: VecDeque::new(),
            then: Behaviour::Well,
            requests: Vec::new(),
            faults: Vec::new(),
            listener: Box::new(listener),
        };
        let shared = Arc::new(Mutex::new(shared));
        let inside = Arc::clone(&shared);
        let serve = if platform == Platform::Smtp { smtp::serve } else { http::serve };
        std::thread::spawn(move || {
            for connection in socket.incoming().filter_map(Result::ok) {
                let shared = Arc::clone(&inside);
                std::thread::spawn(move || serve(connection, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next requests that change something are answered; those after them as before.
    pub fn next(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared().next.extend(behaviours);
    }

    /// How all requests are answered from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut shared = self.shared();
        shared.next.clear();
        shared.then = behaviour;
    }

    /// What arrived, whatever was answered.
    pub fn requests(&self) -> Vec<Request> {
        self.shared().requests.clone()
    }

    /// What broke the platform's limits.
    pub fn faults(&self) -> Vec<String> {
        self.shared().faults.clone()
    }

    /// A page that shows what arrived as the platform does.
    pub fn page(&self) -> String {
        page::whole(&self.shared().double.show())
    }
}

/// A text of at most so many characters.
fn bounded(faults: &mut Vec<String>, what: &str, value: &Value, most: usize) {
    let length = value.as_str().map_or(0, |text| text.chars().count());
    if length > most {
        faults.push(format!("{what} has {length} characters, {most} are allowed"));
    }
}

/// A text that must be there.
fn needed(faults: &mut Vec<String>, what: &str, value: &Value) {
    if value.as_str().is_none_or(str::is_empty) {
        faults.push(format!("{what} is missing"));
    }
}

#[cfg(test)]
mod tests;
