//! The campaign of the link's address, where neither the sender nor the catalogue names one.

use super::Labelling;

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.event.campaign.is_empty() {
        at.event.campaign = at.event.utm_campaign.clone();
    }
}
