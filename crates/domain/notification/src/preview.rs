//! What rules would send, and how a destination would be sent it: the planner and the renderers that run, and nothing
//! that leaves.

use event::{Alert, Transition};

use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};
use crate::message::Message;
use crate::plan::Planner;
use crate::routing::Routing;

/// Longer than any message waits, in milliseconds.
const LATER: i64 = 2 * 86_400_000;
/// Questions that a destination asks before it writes: more than any does.
const MAX_QUESTIONS: usize = 32;

/// The messages that alerts come to at each destination of their rules: one for the starts, and one for the ends where
/// rules say when it is over. Silences, mutes, budgets and open hours hold nothing back, and test data goes where other
/// data goes.
#[must_use]
pub fn preview(routing: &Routing, alerts: &[Alert<'_>]) -> Vec<(String, Message)> {
    let mut planner = Planner::new(routing.clone().unrestrained());
    let mut now = alerts.iter().map(|alert| alert.received_at.0).max().unwrap_or_default();
    let mut messages = Vec::new();
    for ends in [false, true] {
        let some = alerts.iter().filter(|alert| (alert.transition == Transition::Resolved) == ends);
        some.for_each(|alert| planner.take(&Alert { test: false, ..alert.clone() }, now));
        now += LATER;
        for record in planner.settle(now) {
            if let Ok(message) = Message::thawed(&record.body) {
                messages.push((record.destination.into_owned(), message));
            }
        }
    }
    messages
}

/// The first thing that a destination would write for a message: a request, a mail or a row. What it asks before that
/// is answered with "nothing is there".
///
/// # Errors
/// Why it would write nothing.
pub fn first_write(destination: &dyn Destination, outgoing: &Outgoing<'_>) -> Result<Step, String> {
    let mut answers = Vec::new();
    while answers.len() < MAX_QUESTIONS {
        match destination.step(outgoing, &answers) {
            Step::Http(request) => match nothing(&request) {
                Some(body) => answers.push(Answer { status: 200, body: body.to_owned(), ..Answer::default() }),
                None => return Ok(Step::Http(request)),
            },
            Step::End(Verdict::Delivered { .. }) => return Err("there is nothing to write".to_owned()),
            Step::End(
                Verdict::Retry { error, .. }
                | Verdict::Rejected { error, .. }
                | Verdict::WrittenInPart { error, .. }
                | Verdict::Refused { error, .. },
            ) => {
                return Err(error);
            }
            write => return Ok(write),
        }
    }
    Err(format!("it asks over {MAX_QUESTIONS} questions: a defect of this build"))
}

/// The answer to a question that finds nothing; none where the request writes.
fn nothing(request: &Request) -> Option<&'static str> {
    // Jira's searches are posted.
    let asks = ["/search/jql", "/issue/bulkfetch"].iter().any(|end| request.url.ends_with(end));
    match (request.method, asks) {
        ("GET", _) => Some("[]"),
        (_, true) => Some(r#"{"issues":[]}"#),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Form, KINDS, SecretText, Value, Values};
    use crate::message::MessageKind;

    /// The settings of a kind as its examples have them.
    fn examples(kind: &crate::destination::Kind) -> Values {
        let mut values = Values::default();
        for setting in kind.settings.iter().filter(|one| one.required.is_some()) {
            values.set(
                setting.key,
                match setting.form {
                    Form::Texts => Value::Texts(vec![setting.example.to_owned()]),
                    Form::Path => Value::Path(setting.example.into()),
                    _ => Value::Text(SecretText::new(setting.example)),
                },
            );
        }
        if kind.name == "slack" {
            values = values.with("url", "https://hooks.slack.com/services/T0/B0/x");
        }
        values
    }

    #[test]
    fn what_began_and_is_over_is_said_at_every_kind_and_pings_no_person() {
        let people = crate::destination::testing::people();
        let mut message = crate::destination::testing::message(MessageKind::Resolved);
        message.title = "promo-burst: began and is over: 600 events on go.example.com/x".to_owned();
        message.text = format!("{}\nbetween 03:00 and 03:40 UTC\nOwner: web-ops", message.title);
        message.links.clear();
        if let Some(thread) = &mut message.thread {
            (thread.opens, thread.ends) = (true, true);
        }
        for kind in KINDS {
            let destination = (kind.build)(&examples(kind)).unwrap_or_else(|fault| panic!("{}: {fault:?}", kind.name));
            let outgoing = Outgoing { message: &message, receipt: "", people: &people, now_ms: 1_764_000_000_000 };
            let written = first_write(&*destination, &outgoing).unwrap_or_else(|why| panic!("{}: {why}", kind.name));
            let (said, copies) = match written {
                Step::Http(request) => (request.body, 0),
                Step::Mail(mail) => (format!("{}\n{}\n{}", mail.subject, mail.text, mail.html), mail.copy.len()),
                Step::Append(row) => (row.fields.join(";"), 0),
                Step::End(end) => panic!("{}: {end:?}", kind.name),
            };
            assert!(said.contains("began and is over: 600 events on go.example.com/x"), "{}: {said}", kind.name);
            let pings = ["U0ANN", "ann@example.com", "ann-gh", "5b10a2844c20165700ede21g"];
            assert!(copies == 0 && !pings.iter().any(|id| said.contains(id)), "{}: {said}", kind.name);
        }
    }

    #[test]
    fn every_kind_shows_what_it_would_write_first() {
        let people = crate::destination::testing::people();
        let message = crate::destination::testing::message(MessageKind::Alert);
        for kind in KINDS {
            let destination = (kind.build)(&examples(kind)).unwrap_or_else(|fault| panic!("{}: {fault:?}", kind.name));
            let outgoing = Outgoing { message: &message, receipt: "", people: &people, now_ms: 1_764_000_000_000 };
            let written = first_write(&*destination, &outgoing).unwrap_or_else(|why| panic!("{}: {why}", kind.name));
            match written {
                Step::Http(request) => assert!(
                    ["POST", "PUT"].contains(&request.method) && request.body.contains("broken-destination"),
                    "{}: {request:?}",
                    kind.name
                ),
                Step::Mail(mail) => assert!(mail.subject.contains("broken-destination")),
                Step::Append(row) => assert!(row.fields.iter().any(|field| field.contains("broken-destination"))),
                Step::End(end) => panic!("{}: {end:?}", kind.name),
            }
        }
    }
}
