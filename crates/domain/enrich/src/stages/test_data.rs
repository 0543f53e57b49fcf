//! Marks test data, saying by which line of the configuration. What the sender or the adapter marked stays marked.

use super::Labelling;

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    let (event, settings) = (&mut *at.event, &at.known.settings);
    let listed = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
    let prefix = settings.test_slug_prefixes.iter().find(|prefix| event.slug.starts_with(prefix.as_str()));
    let tag = event.tags().find(|tag| listed(&settings.test_tags, tag));
    let reason = if listed(&settings.test_sources, &event.source) {
        format!("test:source:{}", event.source)
    } else if let Some(prefix) = prefix {
        format!("test:slug_prefix:{prefix}")
    } else if listed(&settings.test_campaigns, &event.campaign) {
        format!("test:campaign:{}", event.campaign)
    } else if let Some(tag) = tag {
        format!("test:tag:{tag}")
    } else {
        return;
    };
    event.test = true;
    event.trace.push(reason.into());
}
