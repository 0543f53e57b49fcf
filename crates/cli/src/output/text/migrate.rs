//! The tables.

use operate::migrate::{MigrateReport, Migration};

use super::{Page, Text, line};

impl Text for MigrateReport {
    fn text(&self, page: &mut Page) {
        for Migration { database, version, name, shard } in &self.migrations {
            let place = shard.map(|number| format!("  on shard {number}")).unwrap_or_default();
            line!(page, "{}  {database}  {version:04} {name}{place}", if self.applied { "done" } else { "to do" });
        }
        match (self.migrations.len(), self.applied) {
            (0, _) => line!(page, "The tables are up to date."),
            (_, false) => line!(page, "Next: hookline migrate {}", page.flag()),
            (_, true) => {}
        }
    }
}
