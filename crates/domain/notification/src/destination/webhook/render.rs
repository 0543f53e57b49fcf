//! What a signed webhook is sent, and what its answers mean.

use signature::Signer;

use crate::destination::{Answer, Destination, Outgoing, Request, Step, Verdict};

const JSON: &str = "application/json";

pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) signer: Signer,
}

impl Destination for Webhook {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        match answers {
            [] => self.request(outgoing),
            [.., answer] => judge(answer),
        }
    }
}

impl Webhook {
    fn request(&self, outgoing: &Outgoing<'_>) -> Step {
        let body = outgoing.message.to_json();
        let message = signature::Message {
            method: "POST",
            url: &self.url,
            content_type: JSON,
            id: &outgoing.message.id,
            timestamp: outgoing.now_ms.div_euclid(1_000),
            body: body.as_bytes(),
        };
        let signed = match self.signer.sign(&message) {
            Ok(signed) => signed,
            Err(error) => return Step::End(Verdict::Refused { status: 0, error: error.to_string() }),
        };
        let mut headers = vec![("content-type".to_owned(), JSON.to_owned())];
        headers.extend(signed.headers.into_iter().map(|(name, value)| (name.to_string(), value)));
        Step::Http(Request { method: "POST", url: self.url.clone(), headers, body })
    }
}

fn judge(answer: &Answer) -> Step {
    let error = format!("it answers {}", answer.status);
    match answer.status {
        200..300 => Verdict::delivered(answer, ""),
        401 | 403 => Verdict::refused(answer, format!("{error}: its secret is not the receiver's")),
        410 => Verdict::refused(answer, format!("{error}: it wants no messages")),
        300..400 => {
            Verdict::retry(answer, format!("{error}: redirects are not followed, its url has to be the final one"))
        }
        400 | 404 | 405 | 413 | 415 | 422 => Verdict::rejected(answer, error),
        _ => Verdict::retry(answer, error),
    }
}
