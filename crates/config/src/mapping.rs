//! The `map` of a source whose platform is described by configuration alone. Checked here; this version reads none.

use crate::document::Value;
use crate::section::Section;

/// What a mapping can fill from a path alone. The types and the time have forms of their own.
const PATHS: [&str; 25] = [
    "event_key",
    "link_id",
    "domain",
    "slug",
    "link_kind",
    "destination_url",
    "campaign",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "qr_id",
    "programme",
    "placement",
    "partner",
    "launch",
    "country",
    "region",
    "device",
    "user_agent",
    "ip",
    "referrer",
    "test",
];

/// Type-checks `map`.
pub(crate) fn check(source: &Section<'_>) {
    let Some(map) = source.section("map") else { return };
    for key in PATHS {
        map.text(key);
    }
    for required in ["event_key", "type", "event_time"] {
        if !map.has(required) {
            map.missing(required, "say where the payload has it");
        }
    }
    if let Some(types) = map.section("type") {
        types.required("path", "say where the payload names the type of event");
        for kind in route::EventPattern::TYPES {
            types.text(kind.as_str());
        }
        types.finish();
    }
    if let Some(node) = map.node("event_time") {
        match &node.value {
            Value::Text(_) => _ = map.text("event_time"),
            _ => {
                if let Some(time) = map.section_of(node, "event_time") {
                    time.required("path", "say where the payload has the time");
                    time.text("format");
                    time.text("zone");
                    time.finish();
                }
            }
        }
    }
    map.finish();
}
