//! The country of an address, from a file that the operator names.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use event::country;
use jiff::Timestamp;
use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};

use super::Labelling;

/// Networks that are looked at to see whether a file has countries at all.
const SAMPLE: usize = 1_000;
/// Where files have the code: in a record (GeoLite2, DB-IP), or flat (others).
const PATHS: [&[PathElement<'static>]; 2] =
    [&[PathElement::Key("country"), PathElement::Key("iso_code")], &[PathElement::Key("country_code")]];

/// Networks and their countries: a file in MaxMind's format (MMDB), read whole.
pub struct Countries {
    reader: Reader<Vec<u8>>,
    /// What an event says that has its country from here.
    line: String,
}

/// A file that names no countries, and why.
#[derive(Debug, thiserror::Error)]
pub enum NotCountries {
    /// Not of that format, or cut short.
    #[error("it is not an MMDB file, or a part of one: {0}")]
    Format(#[from] MaxMindDbError),
    /// Of that format, about something else.
    #[error(
        "it is an MMDB file of the type {0:?} that names no country (country.iso_code or country_code): take one of countries or cities"
    )]
    Other(String),
}

impl Countries {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// When they are not such a file.
    pub fn read(bytes: Vec<u8>) -> Result<Self, NotCountries> {
        let reader = Reader::from_source(bytes)?;
        let built = i64::try_from(reader.metadata().build_epoch).ok().and_then(|at| Timestamp::from_second(at).ok());
        let built = built.unwrap_or(Timestamp::UNIX_EPOCH);
        let this = Self { reader, line: format!("country:mmdb:{}", built.strftime("%Y-%m-%d")) };
        let mut networks = this.reader.networks(WithinOptions::default())?.take(SAMPLE);
        let names_one =
            networks.any(|network| network.is_ok_and(|found| code(|path| found.decode_path(path)).is_some()));
        if names_one { Ok(this) } else { Err(NotCountries::Other(this.reader.metadata().database_type.clone())) }
    }

    /// The code of the country that an address is in (ISO 3166-1), if the file knows it.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Option<&'static str> {
        // `::ffff:198.51.100.7` is 198.51.100.7.
        let found = self.reader.lookup(ip.to_canonical()).ok()?;
        code(|path| found.decode_path(path))
    }

    /// When the file was built, in seconds since 1970.
    #[must_use]
    pub fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }
}

fn code<'a>(
    decode: impl Fn(&[PathElement<'static>]) -> Result<Option<&'a str>, MaxMindDbError>,
) -> Option<&'static str> {
    PATHS.iter().find_map(|path| decode(path).ok().flatten().and_then(country::read))
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Countries").field(&self.line).finish()
    }
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.is_visit
        && at.event.country.is_empty()
        && let (Some(countries), Some(ip)) = (&at.known.references.countries, at.hints.ip)
        && let Some(code) = countries.of(ip)
    {
        at.event.country = Cow::Borrowed(code);
        at.event.trace.push(countries.line.clone().into());
    }
}

#[cfg(test)]
mod tests;
