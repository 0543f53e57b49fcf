//! First offset wins: the decision, the changelog codec, the window store.
//!
//! An event key counts once within its window. What decides is the *first offset* of the raw lane at which the key
//! was seen; everything later within the window is a duplicate of it. The rooms, in the order a record meets them:
//!
//! 1. [`key`]: an event key of any length becomes a keyed 128-bit [`Id128`].
//! 2. [`decision`]: [`Window`] gives each [`Candidate`] its [`Verdict`] from the store and from what the open
//!    transaction has already decided. Marks become durable with the transaction, never before it.
//!    [`hindsight()`] gives it from the rows instead, for a record that is replayed.
//! 3. [`changelog`]: the `seen` records that carry those marks inside the same Kafka transaction. They are the truth;
//!    [`Restore`] reads them back and holds their chain together.
//! 4. [`store`]: the [`WindowStore`] that answers lookups. It is only a cache of `seen`: [`LogStore`] in production,
//!    [`MemoryStore`] as the model that tests and the model checker compare it with.
//!
//! This crate knows neither Kafka nor clocks: offsets and times come in as numbers, and the caller commits.

pub mod changelog;
pub mod decision;
pub mod hindsight;
pub mod key;
pub mod restore;
pub mod store;

pub use changelog::SeenRecord;
pub use decision::{Candidate, Verdict, Window};
pub use hindsight::{Fate, Witness, hindsight};
pub use key::{Id128, KeyHasher};
pub use restore::{Restore, RestoreError};
pub use store::{Entry, Hit, Identity, LogStore, MemoryStore, Opened, SeenPosition, StoreError, WindowStore};
