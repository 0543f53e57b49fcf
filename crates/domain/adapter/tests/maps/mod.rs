//! The maps that the golden payloads of the mapping adapter are read by, one a platform.

use std::path::Path;
use std::sync::LazyLock;

use hookline_adapter::mapping::{
    AmountUnit, Fact, FactFrom, Field, KeyFrom, Mapping, MappingPlan, OurType, PayloadPath, TextFrom, TypeFrom,
};
use hookline_adapter::{Adapter, Dialect, TimeFormat};

fn paths(written: &[&str]) -> Vec<PayloadPath> {
    written.iter().map(|written| PayloadPath::parse(written).expect("a path")).collect()
}

fn text(field: Field, written: &[&str]) -> (Field, TextFrom) {
    (field, TextFrom { paths: paths(written), default: String::new() })
}

fn types(path: &str, names: &[(&str, &str)]) -> TypeFrom {
    let ours = |(theirs, ours): &(&str, &str)| (theirs.to_string(), OurType::parse(ours).expect("a type"));
    TypeFrom { paths: paths(&[path]), names: names.iter().map(ours).collect(), default: None }
}

/// 8x8 Connect: clicks on the short links of text messages.
fn of_8x8() -> MappingPlan {
    MappingPlan {
        event_key: Some(KeyFrom::First(paths(&["payload.eventId"]))),
        event_type: types("eventType", &[("short_url_clicked", "click")]),
        event_time: paths(&["payload.occurredAt"]),
        fields: vec![
            text(Field::ShortUrl, &["payload.shortUrl"]),
            text(Field::DestinationUrl, &["payload.targetUrl"]),
            (Field::Channel, TextFrom { paths: Vec::new(), default: "sms".into() }),
        ],
        ..MappingPlan::default()
    }
}

/// tiny.cc: clicks without an id, at local times.
fn of_tinycc() -> MappingPlan {
    MappingPlan {
        event_type: types("event", &[("click", "click")]),
        event_time: paths(&["time"]),
        time_format: Some(TimeFormat::new("%Y-%m-%d %H:%M:%S").expect("a format")),
        fields: vec![
            text(Field::Domain, &["data.domain"]),
            text(Field::Slug, &["data.hash"]),
            text(Field::DestinationUrl, &["data.redirect_url"]),
            text(Field::Ip, &["data.remote_addr"]),
            text(Field::UserAgent, &["data.user_agent"]),
            text(Field::Referrer, &["data.referrer"]),
        ],
        ..MappingPlan::default()
    }
}

/// Everything that the language has, but for the envelope.
fn of_everything() -> MappingPlan {
    let names = [
        ("visit", "click"),
        ("7", "click"),
        ("bad", "error"),
        ("made", "link.created"),
        ("moved", "link.destination_changed"),
        ("signup", "lead"),
        ("order", "sale"),
        ("many", "threshold"),
    ];
    let mut fields: Vec<_> = Field::ALL.iter().map(|field| text(*field, &[field.name()])).collect();
    let mut put = |field: Field, from: TextFrom| match fields.iter_mut().find(|(named, _)| *named == field) {
        Some((_, text)) => *text = from,
        None => fields.push((field, from)),
    };
    put(Field::LinkId, TextFrom { paths: paths(&["link.id", "link.0.id", r"link\[id\]"]), default: String::new() });
    put(Field::ShortUrl, TextFrom { paths: paths(&["link.url", "url"]), default: String::new() });
    put(Field::Campaign, TextFrom { paths: paths(&["meta.campaign", "campaign"]), default: "everyday".into() });
    let fact = |path, is: &[&str]| FactFrom { paths: paths(&[path]), is: is.iter().map(ToString::to_string).collect() };
    MappingPlan {
        text_plain: false,
        items: None,
        event_key: Some(KeyFrom::All(paths(&["id", "kind"]))),
        event_type: TypeFrom { default: OurType::parse("click"), ..types("kind", &names) },
        event_time: paths(&["at", "created"]),
        time_format: None,
        fields,
        facts: vec![
            (Fact::Test, fact("mode", &["sandbox", "dry"])),
            (Fact::Bot, fact("agent.type", &["bot"])),
            (Fact::Qr, fact("qr", &[])),
        ],
        value: Some((paths(&["amount"]), AmountUnit::Currency)),
        extra: vec![
            ("tier".into(), TextFrom { paths: paths(&["meta.tier"]), default: "basic".into() }),
            ("expires_at".into(), TextFrom { paths: paths(&["meta.until"]), default: String::new() }),
        ],
    }
}

fn dialect(plan: MappingPlan, zone: &str) -> Dialect {
    assert!(plan.names_a_link());
    let time_zone = jiff::tz::TimeZone::get(zone).expect("a zone");
    Dialect { time_zone, mapping: Some(Mapping::new(plan)), ..Dialect::PLAIN }
}

static OF_8X8: LazyLock<Dialect> = LazyLock::new(|| dialect(of_8x8(), "UTC"));
static OF_TINYCC: LazyLock<Dialect> = LazyLock::new(|| dialect(of_tinycc(), "America/New_York"));
static OF_EVERYTHING: LazyLock<Dialect> = LazyLock::new(|| dialect(of_everything(), "Europe/Berlin"));

static OF_ENVELOPES: LazyLock<Dialect> = LazyLock::new(|| {
    let items = PayloadPath::parse("batch.events").ok();
    dialect(MappingPlan { items, ..of_everything() }, "Europe/Berlin")
});

static PLAIN: Dialect = Dialect::PLAIN;

/// How the payload of a golden file is read; of a mapped platform, its name starts with the platform's.
pub(crate) fn of(adapter: Adapter, file: &Path) -> &'static Dialect {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match adapter {
        Adapter::Mapping if name.starts_with("8x8") => &OF_8X8,
        Adapter::Mapping if name.starts_with("tinycc") => &OF_TINYCC,
        Adapter::Mapping if name.starts_with("envelope") => &OF_ENVELOPES,
        Adapter::Mapping => &OF_EVERYTHING,
        _ => &PLAIN,
    }
}
