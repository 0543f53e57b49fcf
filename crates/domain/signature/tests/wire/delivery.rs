//! A delivery that owns its parts, so that a test can change one of them.

use hookline_signature::{Message, Refusal, Request, Scheme, Secret, Signer, Verifier};

/// The time most tests take place at.
pub(crate) const NOW: i64 = 1_614_265_330;

/// 32 bytes, in the form Standard Webhooks wants.
pub(crate) const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA=";

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// What a test wants to know of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) secret_id: String,
    pub(crate) delivery_id: Option<String>,
    pub(crate) delivery_id_signed: bool,
    pub(crate) timestamp: Option<i64>,
}

impl Delivery {
    /// A JSON POST with these headers and this body.
    pub(crate) fn post(headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self {
            method: "POST".into(),
            url: "https://hooks.example.com/v1/webhooks/shop".into(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
            body: body.to_vec(),
        }
    }

    /// What a sender with `secret` sends.
    pub(crate) fn signed(scheme: &Scheme, secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> Self {
        Self::signed_as(scheme, secret, "application/json", id, timestamp, body)
    }

    /// As [`Delivery::signed`], with a body of another type.
    pub(crate) fn signed_as(
        scheme: &Scheme,
        secret: &Secret,
        content_type: &str,
        id: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Self {
        let mut delivery = Self::post(&[("content-type", content_type)], body);
        let message = Message { method: &delivery.method, url: &delivery.url, content_type, id, timestamp, body };
        let signed = Signer::new(scheme, secret).unwrap().sign(&message).unwrap();
        delivery.url = signed.url;
        delivery.headers.extend(signed.headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
        delivery
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
        String::from_utf8(found.1.clone()).unwrap()
    }

    pub(crate) fn verify(&self, verifier: &Verifier, now: i64) -> Result<Verdict, Refusal> {
        let headers = self.headers.as_slice();
        let request = Request { method: &self.method, url: &self.url, headers: &headers, body: &self.body };
        verifier.verify(&request, now).map(|authentic| Verdict {
            secret_id: authentic.secret_id.to_owned(),
            delivery_id: authentic.delivery_id.map(str::to_owned),
            delivery_id_signed: authentic.delivery_id_signed,
            timestamp: authentic.timestamp,
        })
    }
}

/// A verifier with one secret, `only`.
pub(crate) fn verifier(scheme: Scheme, secret: &str) -> Verifier {
    Verifier::new(scheme, vec![Secret::new("only", secret)]).unwrap()
}
