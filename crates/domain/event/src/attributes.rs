//! What signals and alerts say of an event.

use crate::{LinkEvent, Map};

/// The names of [`attributes`], in its order.
pub const ATTRIBUTES: [&str; 18] = [
    "event",
    "subtype",
    "link_id",
    "link_kind",
    "domain",
    "slug",
    "destination_host",
    "campaign",
    "channel",
    "programme",
    "qr_id",
    "placement",
    "partner",
    "launch",
    "country",
    "error_kind",
    "source",
    "owner",
];

/// What a message about an event needs: names that people know, no personal data. The same list on signals and alerts.
pub fn attributes(event: &LinkEvent<'_>) -> Map<'static> {
    let values: [&str; ATTRIBUTES.len()] = [
        event.r#type.as_str(),
        &event.subtype,
        &event.link_id,
        &event.link_kind,
        &event.domain,
        &event.slug,
        &event.destination_host,
        &event.campaign,
        &event.channel,
        &event.programme,
        &event.qr_id,
        &event.placement,
        &event.partner,
        &event.launch,
        &event.country,
        &event.error_kind,
        &event.source,
        &event.owner,
    ];
    let mut map = Map::default();
    ATTRIBUTES.into_iter().zip(values).for_each(|(name, value)| map.add(name, value.to_owned()));
    map
}
