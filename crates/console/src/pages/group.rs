//! A group of dead letters and a decision about it: what its plan names, and what its form confirms. Redrives and
//! discards have this in common, and so the same guards.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::{shown, time};
use crate::guard::{Visitor, is_of_session, of_another_session};
use crate::redrives::{Chosen, MOST_LETTERS};

/// Where all groups are.
pub(crate) const PATH: &str = "/dead-letters";

/// A group, as its link names it: whole, so that nothing is chosen because a part was not said.
#[derive(Deserialize)]
pub(crate) struct Group {
    source: String,
    stage: String,
    reason: String,
}

impl Group {
    /// What of it has been received by now.
    pub(crate) fn so_far(self) -> Chosen {
        let Self { source, stage, reason } = self;
        Chosen { source, stage, reason, until: Timestamp::now().as_millisecond() }
    }
}

/// A page about a group.
pub(crate) fn address(page: &str, source: &str, stage: &str, reason: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("source", source).append_pair("stage", stage).append_pair("reason", reason);
    format!("{PATH}/{page}?{}", query.finish())
}

/// The same of what was chosen.
pub(crate) fn address_of(page: &str, chosen: &Chosen) -> String {
    address(page, &chosen.source, &chosen.stage, &chosen.reason)
}

/// A plan that was confirmed.
#[derive(Deserialize)]
pub(crate) struct Confirmed {
    form_key: String,
    source: String,
    stage: String,
    reason: String,
    until: i64,
    who: String,
    why: String,
}

/// A decision, with who decides and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) chosen: Chosen,
    /// As it is written down: a console knows no names but those that it is told.
    pub(crate) who: String,
    pub(crate) why: String,
}

impl Confirmed {
    /// The decision, if the form is of the session that sends it, says who and why, and is about what has been
    /// received.
    pub(crate) fn decided(self, visitor: &Visitor) -> Result<Decided, Box<Response>> {
        if !is_of_session(visitor, &self.form_key) {
            return Err(Box::new(of_another_session()));
        }
        let (who, why) = (self.who.trim(), self.why.trim());
        if who.is_empty() || why.is_empty() || self.until > Timestamp::now().as_millisecond() {
            let words = "say who you are and why, on the page of the plan";
            return Err(Box::new((StatusCode::BAD_REQUEST, words).into_response()));
        }
        let (who, why) = (format!("{who} (console)"), why.to_owned());
        let Self { source, stage, reason, until, .. } = self;
        Ok(Decided { chosen: Chosen { source, stage, reason, until }, who, why })
    }
}

/// The form that confirms a plan about `open` letters: `verb` is what it does, `meaning` what follows, `why` what is
/// asked.
pub(crate) fn form(
    (verb, page): (&str, &str),
    chosen: &Chosen,
    open: u64,
    form_key: &str,
    meaning: &Markup,
    why: &str,
) -> Markup {
    html! {
        form class="card" method="post" action=(format!("{PATH}/{page}")) {
            input type="hidden" name="form_key" value=(form_key);
            @for (name, value) in [("source", &chosen.source), ("stage", &chosen.stage), ("reason", &chosen.reason)] {
                input type="hidden" name=(name) value=(value);
            }
            input type="hidden" name="until" value=(chosen.until);
            (meaning)
            @if open > MOST_LETTERS {
                p { "One " (page) " takes the oldest " (MOST_LETTERS) "; the rest stays open, for another." }
            }
            label for="who" { "Who you are" }
            input id="who" name="who" required maxlength="100" autocomplete="name";
            label for="why" { (why) }
            input id="why" name="why" required maxlength="500";
            button { (verb) " " (open.min(MOST_LETTERS)) }
        }
    }
}

/// Which letters a plan or a decision is about.
pub(crate) fn what(chosen: &Chosen) -> Markup {
    html! {
        p { "Dead letters of " strong { (source(&chosen.source)) } ", refused at " strong { (shown(&chosen.stage)) } " for " strong { (shown(&chosen.reason)) }
            ", received before " (time(chosen.until)) "." }
    }
}

/// The name of a source, which a record may not say.
pub(crate) fn source(name: &str) -> String {
    if name.is_empty() { "an unknown source".to_owned() } else { shown(name) }
}

pub(crate) fn is_or_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

pub(crate) fn was_or_were(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(form_key: &str, who: &str, why: &str, until: i64) -> Confirmed {
        let text = str::to_owned;
        let (source, stage, reason) = (String::new(), text("adapt"), text("not_json"));
        Confirmed { form_key: text(form_key), source, stage, reason, until, who: text(who), why: text(why) }
    }

    #[test]
    fn a_decision_is_of_its_session_by_a_name_for_a_reason_and_about_the_past() {
        let visitor = Visitor { form_key: Some("key".into()), can_sign_in: true };
        let status = |form: Confirmed, visitor: &Visitor| form.decided(visitor).map_err(|refused| refused.status());
        let decided = status(confirmed("key", " ana ", " mended\n", 5), &visitor);
        let chosen = Chosen { source: String::new(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
        assert_eq!(decided, Ok(Decided { chosen, who: "ana (console)".into(), why: "mended".into() }));

        let stranger = Visitor { form_key: None, can_sign_in: true };
        for (form, visitor, refused) in [
            (confirmed("guess", "ana", "mended", 5), &visitor, StatusCode::FORBIDDEN),
            (confirmed("", "ana", "mended", 5), &visitor, StatusCode::FORBIDDEN),
            (confirmed("key", "ana", "mended", 5), &stranger, StatusCode::FORBIDDEN),
            (confirmed("", "ana", "mended", 5), &stranger, StatusCode::FORBIDDEN),
            (confirmed("key", " ", "mended", 5), &visitor, StatusCode::BAD_REQUEST),
            (confirmed("key", "ana", "\t", 5), &visitor, StatusCode::BAD_REQUEST),
            (confirmed("key", "ana", "mended", i64::MAX), &visitor, StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(status(form, visitor), Err(refused));
        }
    }

    #[test]
    fn a_group_has_an_address_whatever_its_names_are() {
        assert_eq!(
            address("discard", "a&b=c", "adapt", "not json"),
            "/dead-letters/discard?source=a%26b%3Dc&stage=adapt&reason=not+json"
        );
    }
}
