//! The owner of the source, where neither the sender nor the catalogue names one.

use super::Labelling;

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.event.owner.is_empty()
        && let Some(owner) = at.known.settings.source_owners.get(at.event.source.as_ref())
    {
        at.event.owner = owner.clone().into();
    }
}
