//! What an installation chooses about its tables.

/// Retention, privacy and who may read. Times count from the received time of a record, of a report from its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Days that the rows of `records` are kept: events, duplicates and dead letters.
    pub events_days: u16,
    /// Years that closed days of the reports are kept.
    pub reports_years: u16,
    /// Days that alerts and deliveries are kept.
    pub deliveries_days: u16,
    /// Days after which `request_id` and `visitor` are cleared. They are a good part of all bytes and of no use later.
    pub identifiers_days: u16,
    /// Reports by geography hide groups of fewer people than this.
    pub smallest_group: u32,
    /// A read-only user for analysts, on servers where users live in SQL. `None`: somebody else sees to it.
    pub analyst: Option<Analyst>,
}

/// The analysts' user.
#[derive(Clone, PartialEq, Eq)]
pub struct Analyst {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Analyst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyst").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            events_days: 400,
            reports_years: 5,
            deliveries_days: 400,
            identifiers_days: 30,
            smallest_group: 10,
            analyst: None,
        }
    }
}
