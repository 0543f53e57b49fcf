//! Planned launches: which links belong to one, and for how long.

use std::collections::HashMap;

use event::LinkEvent;

use super::Labelling;

/// A planned launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its name.
    pub name: String,
    /// Its links: `domain/slug`, or the id that the platform gave.
    pub links: Vec<String>,
    /// When it begins, in milliseconds since 1970.
    pub from_ms: i64,
    /// When it is over, in milliseconds since 1970.
    pub until_ms: i64,
}

/// Launches by link.
#[derive(Debug, Default)]
pub(crate) struct Launches(HashMap<String, Vec<Launch>>);

impl Launches {
    pub(crate) fn new(launches: Vec<Launch>) -> Self {
        let mut by_link: HashMap<String, Vec<Launch>> = HashMap::new();
        for mut launch in launches {
            for link in std::mem::take(&mut launch.links) {
                by_link.entry(link).or_default().push(launch.clone());
            }
        }
        Self(by_link)
    }

    /// Names the launch that an event belongs to, unless the platform or the catalogue has. Of several it is the first.
    fn join(&self, event: &mut LinkEvent<'_>) {
        if self.0.is_empty() || !event.launch.is_empty() {
            return;
        }
        let name = format!("{}/{}", event.domain, event.slug);
        let of_link = self.0.get(&name).or_else(|| self.0.get(event.link_id.as_ref()));
        let at_ms = event.event_time.0;
        let launch = of_link.into_iter().flatten().find(|launch| (launch.from_ms..launch.until_ms).contains(&at_ms));
        if let Some(launch) = launch {
            event.launch = launch.name.clone().into();
        }
    }
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    at.known.launches.join(at.event);
}

#[cfg(test)]
mod tests {
    use event::Millis;

    use super::*;

    #[test]
    fn a_link_belongs_to_its_launch_while_that_lasts() {
        let launch = Launch {
            name: "podcast-s3".into(),
            links: vec!["go.example.com/bio".into(), "l_7".into()],
            from_ms: 10,
            until_ms: 20,
        };
        let launches = Launches::new(vec![launch]);
        let launch_of = |slug: &'static str, id: &'static str, said: &'static str, at: i64| {
            let mut event = LinkEvent {
                domain: "go.example.com".into(),
                slug: slug.into(),
                link_id: id.into(),
                launch: said.into(),
                event_time: Millis(at),
                ..LinkEvent::default()
            };
            launches.join(&mut event);
            event.launch.into_owned()
        };
        assert_eq!(launch_of("bio", "x", "", 10), "podcast-s3");
        assert_eq!(launch_of("", "l_7", "", 19), "podcast-s3");
        assert_eq!(launch_of("bio", "x", "", 20), "");
        assert_eq!(launch_of("bio", "x", "", 9), "");
        assert_eq!(launch_of("bio", "x", "other", 15), "other", "what the platform says stays");
        assert_eq!(launch_of("spring", "x", "", 15), "");
    }
}
