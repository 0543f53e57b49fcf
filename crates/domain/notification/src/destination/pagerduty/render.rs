//! Events for PagerDuty: a start triggers, what follows triggers the same again, `hookline ack` acknowledges, the end
//! resolves. All by one key, so what is sent twice counts once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::destination::text::{cut, one_line};
use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};
use crate::message::MessageKind;

const SUMMARY: usize = 1_024;
/// PagerDuty asks for a few minutes where it says nothing.
const AFTER: Duration = Duration::from_secs(120);

pub(super) struct PagerDuty {
    pub(super) api: String,
    pub(super) key: String,
    pub(super) severity: String,
}

impl Destination for PagerDuty {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        let (dedup_key, ends, only_ends) = match &outgoing.message.thread {
            Some(thread) => (thread.key.as_str(), thread.ends, thread.ends && !thread.opens),
            None => (outgoing.message.id.as_str(), false, false),
        };
        let mut events = Vec::new();
        let action = |action: &str| json!({ "routing_key": self.key, "event_action": action, "dedup_key": dedup_key });
        if outgoing.message.kind == MessageKind::Acknowledged {
            events.push(action("acknowledge"));
        } else if !only_ends {
            events.push(self.trigger(outgoing, dedup_key));
        }
        if ends {
            events.push(action("resolve"));
        }
        match answers {
            [.., last] if !last.is_success() => judge(last),
            [.., last] if answers.len() >= events.len() => Verdict::delivered(last, dedup_key),
            _ => Step::Http(Request::json("POST", format!("{}/v2/enqueue", self.api), &events[answers.len()])),
        }
    }

    fn pace_ms(&self) -> u64 {
        500
    }
}

impl PagerDuty {
    fn trigger(&self, outgoing: &Outgoing<'_>, dedup_key: &str) -> Value {
        let message = outgoing.message;
        let links: Vec<Value> =
            message.links.iter().map(|one| json!({ "link": cut(&one.link, 300), "count": one.count })).collect();
        json!({
            "routing_key": self.key,
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "client": "Hookline",
            "payload": {
                "summary": cut(&one_line(&message.title), SUMMARY),
                "source": message.attributes.get("source").map_or("hookline", String::as_str),
                "severity": self.severity,
                "timestamp": message.window.start,
                "component": message.rule,
                "group": outgoing.name_of(&message.owner),
                "custom_details": {
                    // Its first line is the summary.
                    "text": cut(message.text.split_once('\n').map_or("", |(_, rest)| rest), 8_000),
                    "do": message.instruction,
                    "events": message.count,
                    "links": links,
                    "id": message.id,
                },
            },
        })
    }
}

fn judge(answer: &Answer) -> Step {
    // An event that is invalid because of the key will be so with every message.
    if answer.status == 400 && answer.body.to_ascii_lowercase().contains("routing") {
        return Verdict::refused(answer, format!("PagerDuty does not know its key: {}", cut(&answer.body, 200)));
    }
    match answer.status {
        429 | 500.. => {
            let after = answer.retry_after.or(Some(AFTER));
            Step::End(Verdict::Retry { status: answer.status, error: format!("it answers {}", answer.status), after })
        }
        _ => Verdict::by_status(answer, &answer.body),
    }
}
