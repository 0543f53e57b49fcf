//! An expiry that no platform tells: an event of the catalogue itself.

use adapter::{Adapter, Dialect};
use enrich::Due;
use event::raw::RawHeaders;
use event::{CATALOGUE_SOURCE, lane};
use jiff::Timestamp;

/// A record for `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) lane: u16,
    pub(super) key: String,
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(std::borrow::Cow<'static, str>, Vec<u8>)>,
}

/// The event that a link has expired, in the canonical format. Its id depends on the link and on the moment alone, so
/// that it counts once however often it is written. `None` for a link that makes no event.
pub(super) fn told(due: &Due, received_at: i64, lanes: u16) -> Option<Told> {
    let time = Timestamp::from_millisecond(due.expires_ms).ok()?.to_string();
    let link = match due.link.split_once('/') {
        Some((domain, slug)) => serde_json::json!({ "domain": domain, "slug": slug }),
        None => serde_json::json!({ "id": due.link }),
    };
    let id = format!("catalogue:expired:{}:{}", due.expires_ms, due.link);
    let body = serde_json::json!({
        "id": id, "type": "link.expired", "time": time, "link": link, "extra": { "expires_at": time },
    });
    let body = body.to_string().into_bytes();
    let elements = Adapter::Canonical.split(&Dialect::PLAIN, &body, "application/json", &|_| None).ok()?;
    let element = elements.into_iter().next().filter(|element| element.quarantine.is_none())?;
    let key = element.key.into_string();
    let headers = RawHeaders {
        source: CATALOGUE_SOURCE.into(),
        adapter: Adapter::Canonical.name().into(),
        received_at,
        request_id: format!("expiry-{}", due.expires_ms).into(),
        content_type: "application/json".into(),
        ..RawHeaders::default()
    };
    Some(Told { lane: lane::of_key(key.as_bytes(), lanes), key, headers: headers.to_headers(), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_the_same_event_whenever_and_wherever_it_is_told() {
        for link in ["go.acme.example/spring", "go.acme.example/a/b", "l_77"] {
            let expires_ms = 1_796_083_200_000;
            let due = Due { link: link.to_owned(), expires_ms, tell_ms: expires_ms, is_other_name: false };
            let (one, other) = (told(&due, 5, 4).expect("an event"), told(&due, 900, 4).expect("an event"));
            assert_eq!((&one.key, one.lane, &one.body), (&other.key, other.lane, &other.body));
            let later = Due { expires_ms: due.expires_ms + 1, ..due.clone() };
            assert_ne!(told(&later, 5, 4).expect("an event").key, one.key, "another expiry is another event");
            let text = String::from_utf8(one.body).expect("text");
            assert!(text.contains("2026-12-01T00:00:00Z") && text.contains("link.expired"), "{text}");
        }
    }
}
