//! `template` of a rule or a destination: titles and texts of an owner's own.

use notification::Template;

use crate::form::Text;
use crate::option::{Group, Opt};
use crate::rule::nearest;
use crate::section::Section;
use crate::table::Table;

/// The key `template`.
pub(crate) const TEMPLATE: Opt<Table> = Opt::new(
    "template",
    Table(&GROUP),
    "Title and text of its messages. `hookline preview RULE` shows what they give.",
    "{ title = \"{{ link }}: {{ count }} clicks within minutes\" }",
)
.otherwise("our own words");

const FORM: Text = Text("a template (minijinja)");
const TITLE: Opt<Text> =
    Opt::new("title", FORM, "The title.", "\"{{ link }}: {{ count }} clicks\"").otherwise("our own");
const TEXT: Opt<Text> = Opt::new("text", FORM, "The text.", "\"{{ todo }}\"").otherwise("our own");

static GROUP: Group = Group {
    title: "template",
    about: "Titles and texts of your own, over what a message knows: docs/operations.md lists the variables.",
    read_by: "notify and `preview`",
    options: &[&TITLE, &TEXT],
    others: &[],
};

/// Title and text of messages, filled with made-up values to see that they can be.
pub(crate) fn read(own: Section<'_>) -> Option<Template> {
    let template = Template { title: own.text(&TITLE), text: own.text(&TEXT) };
    if template == Template::default() {
        own.error(own.at, format!("{} says nothing", own.title), "write title = \"…\", text = \"…\" or both");
    }
    if let Err(fault) = template.check() {
        let hint = fault.unknown.map(|(name, known)| nearest(&name, known.iter().copied())).unwrap_or_default();
        own.error(own.place_of(fault.key), format!("the {} of {}: {}", fault.key, own.title, fault.message), hint);
    }
    own.finish();
    Some(template)
}
