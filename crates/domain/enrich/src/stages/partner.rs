//! Whether a partner may use the source that it sends visits from.

use super::Labelling;
use super::channel::fold;

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    let event = &mut *at.event;
    if !event.partner.is_empty() {
        let approved = at.known.settings.partners.get(event.partner.as_ref());
        event.partner_approved = approved.is_some_and(|sources| sources.contains(&fold(&event.utm_source)));
    }
}
