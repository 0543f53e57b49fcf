//! What all requests have in common that go to addresses of the configuration: which addresses may be asked, and how a
//! file is fetched from one.

mod address;
mod fetch;

pub use address::{PublicOnly, is_public, literal_address, refusal};
pub use fetch::{Bounds, FetchError, Fetched, Fetcher, Validators};
