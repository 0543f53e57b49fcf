//! What a rule would send, to each of its destinations: made by the planner and the renderers that run. Nothing leaves.

use config::{Config, Destination, Rule};
use event::{Alert, Millis};
use jiff::tz::TimeZone;
use notification::Message;
use notification::destination::{Outgoing, People, Step};
use rules::Trigger;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::refuse;
use crate::{Report, Result};

/// What a rule would send.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewReport {
    /// Whether every destination has something to show.
    pub ok: bool,
    /// The rule.
    pub rule: String,
    /// Its messages: of each destination the first, and the one that ends it where the rule says so.
    pub messages: Vec<Previewed>,
    /// What is worth knowing about them.
    pub notes: Vec<String>,
}

/// A message as a destination would be sent it.
#[derive(Debug, Clone, Serialize)]
pub struct Previewed {
    /// The destination.
    pub destination: String,
    /// What it is.
    pub kind: &'static str,
    /// Whose it is.
    pub owner: String,
    /// What the message is: alert, resolved and so on.
    #[serde(rename = "type")]
    pub message: &'static str,
    /// One line.
    pub title: String,
    /// All lines, the title first.
    pub text: String,
    /// What is written there first; an example stands in the place of each secret. None for what ends a message: it
    /// depends on what the receiver called the first.
    pub sent: Option<Value>,
    /// Why nothing can be shown.
    pub problem: Option<String>,
}

impl Report for PreviewReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Shows what a rule would send about made-up events.
///
/// # Errors
/// When no rule is called that, or it sends nothing.
pub fn preview(config: &Config, rule: &str, now: Millis) -> Result<PreviewReport> {
    let Some(known) = config.rule(rule) else {
        let names = config.rules.iter().map(|rule| rule.rule.name());
        refuse!("no rule is called {rule:?}; {}", config::did_you_mean(rule, names));
    };
    if known.rule.is_shadow() {
        refuse!(
            "rule {rule:?} is tried out in shadow and sends nothing: remove shadow = true to see what it would send"
        );
    }
    if known.rule.trigger().is_none() || known.send.is_none() {
        refuse!("rule {rule:?} sends nothing: it has no alert, or no send");
    }
    let (alerts, mut notes) = example_alerts(known, &config.timezone, now);
    let messages = messages(config, &alerts, now);
    notes.push("The event and its numbers are made up; planner and renderers are those that run.".to_owned());
    let ok = !messages.is_empty() && messages.iter().all(|message| message.problem.is_none());
    Ok(PreviewReport { ok, rule: rule.to_owned(), messages, notes })
}

/// Alerts of a rule about made-up events that end now.
fn example_alerts(rule: &Rule, zone: &TimeZone, now: Millis) -> (Vec<Alert<'static>>, Vec<String>) {
    let mut notes = Vec::new();
    let mut alerts = rule.rule.example_alerts(Some(zone));
    if alerts.is_empty() {
        notes.push("No made-up traffic makes this rule speak; its counts stand for themselves here.".to_owned());
        let (event, threshold) = match rule.rule.trigger() {
            Some(Trigger::Count { count, .. }) => (rule.rule.example(), *count),
            _ => (rule.rule.example(), 0),
        };
        alerts.push(Alert {
            alert_id: "example".into(),
            rule: rule.rule.name().to_owned().into(),
            owner: rule.rule.owner().to_owned().into(),
            key: "example".into(),
            transition: event::Transition::Fired,
            observed: threshold.max(1),
            threshold,
            sample: event.event_key.clone(),
            attributes: event::attributes(&event),
            ..Alert::default()
        });
    }
    let shift = now.0 - alerts[0].window_end.0;
    for alert in &mut alerts {
        for at in [&mut alert.window_start, &mut alert.window_end, &mut alert.received_at] {
            at.0 += shift;
        }
    }
    (alerts, notes)
}

/// What alerts come to, at each destination of their rules.
pub(crate) fn messages(config: &Config, alerts: &[Alert<'_>], now: Millis) -> Vec<Previewed> {
    let people = notify::people_of(config);
    let planned = notification::preview(&notify::routing(config), alerts);
    let mut shown: Vec<Previewed> = planned
        .iter()
        .filter_map(|(name, message)| Some(show(config.destination(name)?, message, &people, now)))
        .collect();
    shown.sort_by(|left, right| left.destination.cmp(&right.destination));
    shown
}

fn show(destination: &Destination, message: &Message, people: &People, now: Millis) -> Previewed {
    let outgoing = Outgoing { message, receipt: "", people, now_ms: now.0 };
    let built = (destination.kind.build)(&destination.stand_in).map_err(|fault| fault.message);
    let ends = message.thread.as_ref().is_some_and(|thread| thread.ends && !thread.opens);
    let written = match ends {
        true => Ok(None),
        false => built.and_then(|built| notification::first_write(&*built, &outgoing)).map(Some),
    };
    let (sent, problem) = match written {
        Ok(step) => (step.as_ref().map(sent), None),
        Err(why) => (None, Some(why)),
    };
    Previewed {
        destination: destination.name.clone(),
        kind: destination.kind.name,
        owner: destination.owner.clone(),
        message: message.kind.name(),
        title: message.title.clone(),
        text: message.text.clone(),
        sent,
        problem,
    }
}

/// A step without the address that it goes to.
fn sent(step: &Step) -> Value {
    match step {
        Step::Http(request) => {
            let body = serde_json::from_str(&request.body).unwrap_or_else(|_| json!(request.body));
            json!({ "by": request.method, "body": body })
        }
        Step::Mail(mail) => json!({
            "by": "mail", "subject": mail.subject, "from": mail.from, "to": mail.to, "copy": mail.copy,
            "text": mail.text, "html": mail.html,
        }),
        Step::Append(row) => {
            let fields = row.header.iter().zip(&row.fields).map(|(name, field)| ((*name).to_owned(), json!(field)));
            json!({ "by": "row", "fields": fields.collect::<serde_json::Map<_, _>>() })
        }
        Step::End(_) => Value::Null,
    }
}
