//! The tags that the platform and the catalogue give the link, each once.

use super::Labelling;

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    let given = at.hints.tags;
    let of_catalogue = at.more_tags.split(',').filter(|tag| !tag.is_empty());
    let more = of_catalogue.filter(|tag| given.iter().all(|known| known != tag));
    at.event.keep_tags(given.iter().map(AsRef::as_ref).chain(more));
}
