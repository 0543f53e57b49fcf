//! What one teller says of a link, and what a lifecycle event tells the catalogue.

use std::borrow::Cow;

use event::{EventType, LinkEvent, LinkRecord, Millis, TAGS, Teller};

use super::{Column, FIELDS, expires};

/// What the list, or the platform, says of a link. A text that is empty says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    pub(super) fields: [&'a str; FIELDS],
    /// From when on it has expired, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// When the expiry became known, by the broker's clock; for records of the topic.
    pub(super) known_ms: i64,
    /// When it was deleted.
    pub(super) deleted_ms: Option<i64>,
    /// Whether the platform itself has told the expiry.
    pub(super) expired: bool,
    /// The platform's: when the newest event behind it happened, in milliseconds since 1970. A file's: the line.
    pub(super) at: i64,
}

impl<'a> Facts<'a> {
    pub(super) fn field(&self, column: Column) -> &'a str {
        self.fields.get(column as usize).copied().unwrap_or_default()
    }

    /// The facts of a record; `known_ms` is when the broker took it.
    pub(super) fn of(record: &'a LinkRecord<'_>, known_ms: i64) -> Self {
        let fields = [
            &record.kind,
            &record.owner,
            &record.campaign,
            &record.intent,
            &record.contact,
            &record.deal,
            &record.programme,
            &record.placement,
            &record.partner,
            &record.launch,
            &record.expected_host,
            &record.tags,
        ];
        let when = |at: Millis| (at.0 != 0).then_some(at.0);
        Self {
            fields: fields.map(AsRef::as_ref),
            expires_ms: when(record.expires),
            known_ms: if record.expires.0 == 0 { 0 } else { known_ms },
            deleted_ms: when(record.deleted),
            expired: record.expired,
            at: record.at.0,
        }
    }

    /// The record that says this of a link.
    #[must_use]
    pub fn record(&self, teller: Teller, link: &'a str) -> LinkRecord<'a> {
        let said = |column: Column| Cow::Borrowed(self.field(column));
        LinkRecord {
            teller,
            link: link.into(),
            at: Millis(if teller == Teller::Platform { self.at } else { 0 }),
            kind: said(Column::Kind),
            owner: said(Column::Owner),
            campaign: said(Column::Campaign),
            intent: said(Column::Intent),
            contact: said(Column::Contact),
            deal: said(Column::Deal),
            programme: said(Column::Programme),
            placement: said(Column::Placement),
            partner: said(Column::Partner),
            launch: said(Column::Launch),
            expected_host: said(Column::ExpectedHost),
            tags: said(Column::Tags),
            expires: Millis(self.expires_ms.unwrap_or(0)),
            deleted: Millis(self.deleted_ms.unwrap_or(0)),
            expired: self.expired,
            ..LinkRecord::default()
        }
    }

    /// Whether both say the same, wherever and whenever they do.
    #[must_use]
    pub fn says_the_same(&self, other: &Facts<'_>) -> bool {
        self.fields == other.fields && self.expires_ms == other.expires_ms
    }
}

/// What an event of the platform tells of its link: a record for each name of the link, `domain/slug` and the
/// platform's id. `event` is as its adapter made it, before it was labelled; `tags` are those that the platform gave.
#[must_use]
pub fn platform_facts(event: &LinkEvent<'_>, tags: &[Cow<'_, str>]) -> Vec<LinkRecord<'static>> {
    if event.r#type != EventType::Lifecycle {
        return Vec::new();
    }
    let own = |text: &str| Cow::<'static, str>::Owned(text.to_owned());
    let extra = |name: &str| own(event.extra.get(name));
    let mut joined = String::new();
    for tag in tags {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.extend(tag.chars().map(|letter| if letter == ',' { ' ' } else { letter }));
    }
    let at = event.event_time.0;
    let (is_expired, is_deleted) = (event.subtype == "link.expired", event.subtype == "link.deleted");
    let told = expires(event.extra.get("expires_at")).ok();
    let record = LinkRecord {
        teller: Teller::Platform,
        at: event.event_time,
        kind: own(&event.link_kind),
        owner: extra("owner"),
        campaign: own(if event.campaign.is_empty() { &event.utm_campaign } else { &event.campaign }),
        intent: extra("intent"),
        contact: extra("contact"),
        deal: extra("deal"),
        programme: own(&event.programme),
        placement: own(&event.placement),
        partner: own(&event.partner),
        launch: own(&event.launch),
        expected_host: own(&event.destination_host),
        tags: if joined.is_empty() { extra(TAGS) } else { joined.into() },
        expires: Millis(told.or(is_expired.then_some(at)).unwrap_or(0)),
        deleted: Millis(if is_deleted { at } else { 0 }),
        expired: is_expired,
        ..LinkRecord::default()
    };
    let name = match (event.domain.is_empty(), event.slug.is_empty()) {
        (false, false) => format!("{}/{}", event.domain, event.slug),
        _ => String::new(),
    };
    let mut names = vec![name];
    if names.iter().all(|name| *name != event.link_id) {
        names.push(event.link_id.to_string());
    }
    let named = |link: String| LinkRecord { link: link.into(), ..record.clone() };
    names.into_iter().filter(|name| !name.is_empty()).map(named).collect()
}

/// What is known of a link after an event of its platform; `None` when the event is older than what is known.
///
/// An event that creates the link says all that there is; another one says what has changed.
#[must_use]
pub fn after(
    told: LinkRecord<'static>,
    known: Option<LinkRecord<'static>>,
    creates: bool,
) -> Option<LinkRecord<'static>> {
    let Some(known) = known else { return Some(told) };
    if told.at < known.at {
        return None;
    }
    if creates {
        return Some(told);
    }
    let keep = |told: Cow<'static, str>, known: Cow<'static, str>| if told.is_empty() { known } else { told };
    Some(LinkRecord {
        kind: keep(told.kind, known.kind),
        owner: keep(told.owner, known.owner),
        campaign: keep(told.campaign, known.campaign),
        intent: keep(told.intent, known.intent),
        contact: keep(told.contact, known.contact),
        deal: keep(told.deal, known.deal),
        programme: keep(told.programme, known.programme),
        placement: keep(told.placement, known.placement),
        partner: keep(told.partner, known.partner),
        launch: keep(told.launch, known.launch),
        expected_host: keep(told.expected_host, known.expected_host),
        tags: keep(told.tags, known.tags),
        expires: match (told.expired, told.expires.0, known.expires.0) {
            // The platform tells that it is over: at the moment that was known, if that has come.
            (true, now, planned) if planned != 0 && planned <= now => Millis(planned),
            (_, 0, planned) => Millis(planned),
            (_, said, _) => Millis(said),
        },
        deleted: if told.deleted.0 == 0 { known.deleted } else { told.deleted },
        // A later expiry opens a link again.
        expired: told.expired || (known.expired && (told.expires.0 == 0 || told.expires == known.expires)),
        ..told
    })
}
