//! Few messages out of many alerts: groups, windows, bundles with ids that do not change. Pure: the clock is an argument.
//!
//! A [`Planner`] takes alerts and gathers them by group: a rule, a destination, the owner of the link where the rule asks
//! for it, and whether it is test data. The first alert of a group goes out at once, or after a wait; what follows goes out
//! as a summary every so often, for as long as there is something to say. A bundle's contents are frozen into the record
//! that plans it, under an id made of its group and its first alert.
//!
//! Everything the planner knows is in the records of `deliveries` that it asks to be written ([`Planner::settle`]): alerts
//! that wait are `held` there, so reading the records back ([`Planner::restore`]) gives the planner back, and the position
//! in `alerts` can always move on. What holds:
//! - Each alert that a rule sends is in exactly one bundle of each of its destinations, or recorded as silenced.
//! - Test data goes to [`CAPTURE`] and nowhere else.
//! - A bundle's id and contents are decided once, in one record; every retry sends those.
//! - What was opened at a destination is ended there: a silence holds starts back, never ends. The end of a start that
//!   was never told is not told either.
//! - A start that is held back while another alert fires is told when that is over, if it still fires then
//!   ([`Inhibit`]).
//! - A destination gets no more than its budget, and nothing outside its open hours: what is due then waits, and goes
//!   as one digest; at destinations with a ticket or an incident for each key, each by itself. What ends something that
//!   was opened there is not held back by a budget.
//! - A report of a period is planned once for each destination ([`Planner::due_reports`]), whatever crashes and
//!   whatever a clock says.
//!
//! [`destination`] has a folder for each kind of destination.

mod calm;
pub mod destination;
mod group;
mod hours;
mod inhibit;
mod message;
mod plan;
mod preview;
mod routing;
mod schedule;
pub mod spreadsheet;
mod template;

pub use calm::{Budget, Held, Live, LiveSilence, Open};
pub use hours::Hours;
pub use inhibit::{Inhibit, KEY, SILENT_SOURCE};
pub use message::{Attachment, Digested, LinkCount, Message, MessageKind, Thread, Window};
pub use plan::{Due, Planner, ReportText, UnreadableRecord, is_acknowledged, is_inhibited, is_inhibitor, is_report};
pub use preview::{first_write, preview};
pub use routing::{CAPTURE, Destination, Mute, Routing, Rule, Sending, Silence};
pub use schedule::{Calendar, Period, Scheduled};
pub use template::{ATTRIBUTES, Template, TemplateFault, Templates, VARIABLES};
