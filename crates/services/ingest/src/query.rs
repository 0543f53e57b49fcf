//! Events in a query: what affiliate networks and trackers call a postback, sent by GET or by a POST without a body.

use std::net::IpAddr;

use axum::http::Request;
use hyper::body::Incoming;

use crate::source::Source;
use crate::{Edge, SERVICE};

/// What a query is to an adapter: a form.
pub(crate) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// The event in a query: all of it but the secret, which must not rest anywhere, and `dry_run`. None if nothing is left, as when a
/// platform looks whether its address answers.
pub(crate) fn event(query: Option<&str>, secret_parameter: Option<&str>) -> Option<String> {
    let is_ours = |pair: &&str| {
        let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name).unwrap_or_default();
        !pair.is_empty() && name != "dry_run" && secret_parameter.is_none_or(|secret| name != secret)
    };
    let pairs: Vec<&str> = query?.split('&').filter(is_ours).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// Tells the owner that a sender lost an event that it has put into a query.
pub(crate) fn refused(edge: &Edge, source: &Source, peer: IpAddr, request: &Request<Incoming>) {
    if let Some(left_out) = source.log.refused.due() {
        let (name, method) = (&source.settings.name, request.method());
        let client = edge.proxies.client(peer, request.headers());
        tracing::info!(
            service = SERVICE,
            source = name,
            %client,
            left_out,
            "answered 405: {method} with a query, and nothing was stored; if its sender puts events into the query, set \
             events_in_query = true in [source.{name}]"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn an_event_is_what_is_left_of_a_query_without_the_secret() {
        for (query, secret, expected) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("&&"), None, None),
            (Some("key=abc"), Some("key"), None),
            (Some("k%65y=abc&dry_run=1"), Some("key"), None),
            (Some("key"), Some("key"), None),
            (Some("dry_run=1"), None, None),
            (Some("key=abc"), None, Some("key=abc")),
            (Some("id=1&key=a+b%2F&type=click"), Some("key"), Some("id=1&type=click")),
            (Some("id=1&&key=a&key=b&x=%26key%3Dc"), Some("key"), Some("id=1&x=%26key%3Dc")),
            (Some("hub.challenge=1"), Some("key"), Some("hub.challenge=1")),
        ] {
            assert_eq!(event(query, secret).as_deref(), expected, "{query:?}");
        }
    }
}
