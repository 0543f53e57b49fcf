//! The catalogue of links, as the topic `links` carries it.
//!
//! Everything that the catalogue says stands on that topic, and a version of it is a place there. Each key has one
//! writer at a time: what the operator's list says, and what the timer has told, is written by the keeper, under the
//! fence `hookline-links`, on the instance that has lane 0 (`keeper.rs`); what a platform says, by the lane of the
//! link's lifecycle events, in the transaction that takes the event (`told.rs`). Every instance reads all of it
//! (`follow.rs`) and its lanes change to a newer version between transactions only; docs/design/catalogue.md says more.

mod expiry;
mod follow;
mod keeper;
pub(crate) mod list;
mod told;

pub(crate) use follow::start as start_following;
pub use follow::{Followed, LinksError, read_links};
pub(crate) use keeper::{Settings as KeeperSettings, start as start_keeping};
pub(crate) use told::Told;
