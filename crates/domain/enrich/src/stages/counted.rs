//! Who an event counts as: internal goes before bot, bot before human.

mod fetch;
mod network;

use std::borrow::Cow;

use event::Counted;

use super::agent::list_version;
use super::{Labelling, referrer};
pub use network::{Network, NetworkError};

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    let (event, hints, settings) = (&mut *at.event, at.hints, &at.known.settings);
    let network = hints.ip.and_then(|ip| settings.internal_networks.iter().find(|network| network.contains(ip)));
    let host = event.referrer_host.as_ref();
    let referrer = settings.internal_referrer_hosts.iter().find(|pattern| referrer::matches(pattern, host));
    let (counted, by) = if let Some(network) = network {
        (Counted::Internal, format!("network:{network}").into())
    } else if let Some(pattern) = referrer {
        (Counted::Internal, format!("referrer:{pattern}").into())
    } else if let Some(reason) = at.agent.bot {
        (Counted::Bot, reason.into())
    } else if let Some(reason) = fetch::reason(hints.method, hints.purpose) {
        (Counted::Bot, Cow::Borrowed(reason))
    } else if hints.bot == Some(true) {
        (Counted::Bot, Cow::Borrowed("platform"))
    } else {
        (Counted::Human, Cow::Borrowed(""))
    };
    event.counted = counted;
    event.counted_by = by;
    // Whatever they said, the lists were asked: which ones they were, is part of the verdict.
    if !hints.user_agent.is_empty() {
        event.trace.push(Cow::Borrowed(list_version()));
    }
}
