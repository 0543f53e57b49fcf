//! The platforms: a generator of events each.

pub mod canonical;
pub mod clicks;
pub mod dub;
mod links;
mod visitors;

use adapter::Adapter;
use serde_json::Value;

/// A platform that has events to send.
pub trait Platform: Send {
    /// The next event, as it happened now.
    fn event(&mut self) -> Vec<u8>;

    /// An event of before, as the platform delivers it once more: byte for byte, unless it says otherwise.
    fn again(&mut self, body: &[u8]) -> Vec<u8> {
        body.to_vec()
    }

    /// The content type of its bodies.
    fn content_type(&self) -> &'static str {
        "application/json"
    }
}

/// The links that events are about, as a list of links names them: domain and slug.
pub fn link_names() -> impl Iterator<Item = String> {
    links::LINKS.iter().map(|link| format!("{}/{}", link.domain, link.key))
}

/// A generator of events that this adapter reads; `None` for mapped sources, whose payloads only the configuration knows.
pub fn for_adapter(adapter: Adapter, seed: u64) -> Option<Box<dyn Platform>> {
    Some(match adapter {
        Adapter::Dub => Box::new(dub::Generator::new(seed)),
        Adapter::Canonical => Box::new(canonical::Generator::new(seed)),
        Adapter::CloudEvents => Box::new(canonical::CloudEvents(canonical::Generator::new(seed))),
        Adapter::Bitly => Box::new(clicks::Bitly::new(seed)),
        Adapter::Rebrandly => Box::new(clicks::Rebrandly::new(seed)),
        Adapter::ShortIo => Box::new(clicks::ShortIo::new(seed)),
        Adapter::Shlink => Box::new(clicks::Shlink::new(seed)),
        Adapter::Twilio => Box::new(clicks::Twilio::new(seed)),
        Adapter::Mapping => return None,
    })
}

/// The time as platforms write it.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Puts `patch` into a document, object by object.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_is_read_without_complaint_and_a_repeat_has_the_keys_of_its_event() {
        for adapter in Adapter::ALL {
            let Some(mut platform) = for_adapter(*adapter, 1) else {
                assert_eq!(*adapter, Adapter::Mapping);
                continue;
            };
            let content_type = platform.content_type();
            assert!(adapter.accepts(&adapter::Dialect::PLAIN, content_type, b"{}"));
            let keys = |body: &[u8]| -> Vec<_> {
                let elements = adapter.split(&adapter::Dialect::PLAIN, body, content_type, &|_| None).unwrap();
                assert!(
                    elements.iter().all(|element| element.quarantine.is_none()),
                    "{}",
                    String::from_utf8_lossy(body)
                );
                elements.into_iter().map(|element| element.key).collect()
            };
            let mut seen = std::collections::HashSet::new();
            for _ in 0..3_000 {
                let body = platform.event();
                let of_event = keys(&body);
                assert_eq!(of_event, keys(&platform.again(&body)));
                assert!(!of_event.is_empty());
                for key in of_event {
                    assert!(seen.insert(key), "{} makes the same event up twice", adapter.name());
                }
            }
        }
    }
}
