//! Values that a sender gave and that could not be read, for counting.

/// What a value that could not be read was to be. The event has it as unknown, and says so in its trace or flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The visitor's address: without it nobody knows who came.
    Address,
    /// When it happened.
    Time,
    /// The visitor's country.
    Country,
    /// What a conversion was worth, or its currency.
    Value,
    /// Where the link points.
    Destination,
}

impl Unreadable {
    /// Every one.
    pub const ALL: [Unreadable; 5] =
        [Unreadable::Address, Unreadable::Time, Unreadable::Country, Unreadable::Value, Unreadable::Destination];

    /// Its name as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Unreadable::Address => "address",
            Unreadable::Time => "time",
            Unreadable::Country => "country",
            Unreadable::Value => "value",
            Unreadable::Destination => "destination",
        }
    }
}
