//! Shlink's real-time updates, as its own source defines them, relayed by a bridge: visits, orphan visits, new short URLs.
//!
//! A visit has no id and its time no fractions, so the hash of its bytes is the key: every field of it takes part, and
//! the count in `visitsSummary` is what tells two visits of one second apart. Orphan visits have no count: two that agree
//! in everything, to the second, are one.

use std::borrow::Cow;

use event::raw::RawHeaders;
use event::{EventKey, EventType};

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{Keyed, key_part, object, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::short_link;
use crate::time::Claim;

/// Visits to what is no short URL: the name, and what is wrong with the destination.
const ORPHANS: [(&str, &str); 3] = [
    // It looks like a short URL, and there is none behind it, or none any more.
    ("invalid_short_url", "destination_unavailable"),
    // The bare domain, or a path that no short URL has: what was opened names no link.
    ("base_url", "malformed_target"),
    ("regular_404", "malformed_target"),
];
/// The one type that is not an orphan's.
const REGULAR: &str = "valid_short_url";

type Text<'a> = Cow<'a, str>;

/// What an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Visit,
    /// A visit to nothing: its type, and the kind of error.
    Orphan(&'static str, &'static str),
    Created,
}

objects! {
    /// What the edge reads.
    Head { short_url = "shortUrl": HeadUrl<'a>, visit = "visit": HeadVisit<'a>, }
    HeadUrl {
        code = "shortCode": Text<'a>,
        url = "shortUrl": Text<'a>,
        domain = "domain": Text<'a>,
        created = "dateCreated": Text<'a>,
    }
    HeadVisit { kind = "type": Text<'a>, visited_url = "visitedUrl": Text<'a>, }

    Body { short_url = "shortUrl": ShortUrl<'a>, visit = "visit": Visit<'a>, }
    ShortUrl {
        code = "shortCode": Text<'a>,
        url = "shortUrl": Text<'a>,
        domain = "domain": Text<'a>,
        long_url = "longUrl": Text<'a>,
        created = "dateCreated": Claim<'a>,
        tags = "tags": Vec<Given<Text<'a>>>,
        meta = "meta": Meta<'a>,
        summary = "visitsSummary": Summary<'a>,
    }
    Summary { total = "total": i64, }
    Meta { valid_until = "validUntil": Text<'a>, }
    Visit {
        kind = "type": Text<'a>,
        visited_url = "visitedUrl": Text<'a>,
        redirect_url = "redirectUrl": Text<'a>,
        referer = "referer": Text<'a>,
        date = "date": Claim<'a>,
        user_agent = "userAgent": Text<'a>,
        location = "visitLocation": Location<'a>,
        bot = "potentialBot": bool,
    }
    Location { country = "countryCode": Text<'a>, region = "regionName": Text<'a>, }
}

impl Kind {
    /// From the type of the visit, if there is a visit.
    fn of(visit: Given<&Given<Text<'_>>>, has_short_url: bool) -> Result<Self, Undecodable> {
        let kind = match visit {
            Given::Is(kind) => kind,
            Given::Absent if has_short_url => return Ok(Kind::Created),
            Given::Absent => return Err(Undecodable::missing("visit")),
            Given::Wrong => return Err(Undecodable::wrong_type("visit")),
        };
        match kind {
            Given::Wrong => Err(Undecodable::wrong_type("visit.type")),
            Given::Is(name) if !name.is_empty() && name != REGULAR => {
                let known = ORPHANS.iter().find(|(known, _)| known == name);
                known.map(|(name, error)| Kind::Orphan(name, error)).ok_or_else(|| Undecodable::unknown_type(name))
            }
            Given::Is(_) | Given::Absent => Ok(Kind::Visit),
        }
    }
}

/// Domain and slug of what the update is about. The default domain stands in the short URL only.
fn link<'a>(
    kind: Kind,
    [code, url, domain]: [&Given<Text<'a>>; 3],
    visited_url: &Given<Text<'a>>,
) -> Result<(Text<'a>, Text<'a>), Undecodable> {
    let halves = |given: &Given<Text<'a>>| given.get().cloned().and_then(short_link::halves);
    if let Kind::Orphan(..) = kind {
        return halves(visited_url).ok_or_else(|| Undecodable::missing("visit.visitedUrl"));
    }
    let given = |given: &Given<Text<'a>>| given.get().filter(|text| !text.trim().is_empty()).cloned();
    let (host, path) = halves(url).or_else(|| halves(visited_url)).unwrap_or_default();
    let slug = given(code).unwrap_or(path);
    let domain = given(domain).unwrap_or(host);
    match (slug.is_empty(), domain.is_empty()) {
        (true, _) => Err(Undecodable::missing("shortUrl.shortCode")),
        (_, true) => Err(Undecodable::missing("shortUrl.shortUrl")),
        _ => Ok((domain, slug)),
    }
}

impl Head<'_> {
    /// The key recipe: none for visits (see above); of a new short URL, its address and when it was made.
    pub(crate) fn key(&self) -> Keyed {
        let (no_url, no_visit) = (HeadUrl::default(), HeadVisit::default());
        let kind = Kind::of(self.visit.view().map(|visit| &visit.kind), self.short_url.get().is_some())?;
        let url = self.short_url.get().unwrap_or(&no_url);
        let visited_url = &self.visit.get().unwrap_or(&no_visit).visited_url;
        let (domain, slug) = link(kind, [&url.code, &url.url, &url.domain], visited_url)?;
        let created = url.created.as_str();
        Ok((kind == Kind::Created && !created.is_empty()).then(|| {
            let change = format!("link.created:{}", key_part(created));
            EventKey::of_link(&key_part(&format!("{domain}/{slug}")), &change)
        }))
    }
}

/// Maps one update.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let body: Body<'a> = object(parse(bytes)?)?;
    let mut findings = Findings::default();
    body.survey(&Path::ROOT, &mut findings);
    let kind = Kind::of(body.visit.view().map(|visit| &visit.kind), body.short_url.get().is_some())?;
    let (url, visit) = (body.short_url.or_empty(), body.visit.or_empty());
    let (domain, slug) = link(kind, [&url.code, &url.url, &url.domain], &visit.visited_url)?;
    let mut draft = Draft::new(raw, scratch);
    match kind {
        Kind::Visit => draft.event.r#type = EventType::Click,
        Kind::Orphan(name, error) => {
            draft.event.r#type = EventType::Error;
            draft.event.subtype = name.into();
            draft.event.error_kind = error.into();
        }
        Kind::Created => {
            draft.event.r#type = EventType::Lifecycle;
            draft.event.subtype = "link.created".into();
            draft.extra("expires_at", url.meta.or_empty().valid_until);
        }
    }
    draft.time(if kind == Kind::Created { url.created.ok() } else { visit.date.ok() });
    draft.link(Given::Absent, Given::Is(domain), Given::Is(slug));
    // Where the visit was sent, which rules may make another place than where the short URL leads.
    draft.extra("clicks_total", url.summary.or_empty().total.map(|total| total.to_string().into()));
    let sent_to = visit.redirect_url.or_empty();
    draft.destination(if sent_to.is_empty() { url.long_url.as_str() } else { &sent_to }, Utm::default());
    let location = visit.location.or_empty();
    draft.event.country = draft.clean.country("visit.visitLocation.countryCode", location.country);
    draft.event.region = draft.clean.said("visit.visitLocation.regionName", location.region);
    let visitor = draft.visitor("", &Given::Absent, visit.user_agent, visit.bot.ok());
    let referrer = clean::referrer(visit.referer);
    let tags = url.tags.or_empty().into_iter().filter_map(Given::ok).collect();
    Ok(draft.finish(findings, visitor, referrer, tags))
}
