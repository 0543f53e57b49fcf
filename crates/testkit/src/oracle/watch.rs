//! What must hold at every moment, whoever has just been killed: the ledger's residual, looked at again and again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use reqwest::Client;
use serde_json::Value;

use super::fleet::Fleet;
use super::verify::ROWS;
use crate::clickhouse::Asker;
use traffic::load::locked;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// What was seen so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Looks at which ClickHouse answered.
    pub(crate) looks: u64,
    /// Looks at which it did not.
    pub(crate) unanswered: u64,
    /// Rows at the last look.
    pub(crate) rows: u64,
    /// Offsets that were settled at the last look.
    pub(crate) settled: u64,
}

/// Looks at the books while everything is shaken.
pub(crate) struct Watch {
    asker: Asker,
    client: Client,
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

impl Watch {
    /// A watch over what this asker sees.
    pub(crate) fn new(asker: Asker) -> anyhow::Result<Self> {
        let client = crate::http::client(Duration::from_secs(2))?;
        Ok(Self { asker, client, stop: AtomicBool::new(false), seen: Mutex::default() })
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        locked(&self.seen).clone()
    }

    /// Ends [`Self::keep`].
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Looks until the stop. Fails as soon as something is wrong.
    pub(crate) async fn keep(&self, fleet: &Fleet) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(EVERY).await;
            self.books().await?;
            for name in fleet.awake() {
                self.service(fleet, &name).await?;
            }
        }
        Ok(())
    }

    /// No offset below a lane's position is missing, and none has two rows.
    async fn books(&self) -> anyhow::Result<()> {
        // How far lanes are settled is asked first: rows can only be more when they are asked for.
        let settled = self.asker.rows("SELECT lane, max(raw_hi) AS hi FROM hookline.lane_watermarks GROUP BY lane");
        let Ok(settled) = settled.await else { return self.unanswered() };
        let settled: BTreeMap<u64, u64> = settled.iter().map(|row| (number(row, "lane"), number(row, "hi"))).collect();
        let list = |numbers: Vec<u64>| format!("{numbers:?}");
        let (lanes, ends) = settled.iter().map(|(lane, hi)| (*lane, *hi)).unzip();
        let below = match settled.is_empty() {
            true => "0".to_owned(),
            false => format!("transform(toUInt64(lane), {}, {}, toUInt64(0))", list(lanes), list(ends)),
        };
        let rows = format!(
            "SELECT lane, toUInt64(count()) AS n, toUInt64(groupBitmap(raw_offset)) AS offsets, \
             toUInt64(groupBitmapIf(raw_offset, raw_offset < {below})) AS below FROM {ROWS} GROUP BY lane"
        );
        let Ok(rows) = self.asker.rows(&rows).await else { return self.unanswered() };
        balances(&settled, &rows)?;
        let Ok(repeated) = self.asker.rows("SELECT * FROM hookline.ledger WHERE repeated != 0 OR lost != 0").await
        else {
            return self.unanswered();
        };
        ensure!(repeated.is_empty(), "the ledger does not balance: {repeated:?}");
        let mut seen = locked(&self.seen);
        seen.looks += 1;
        seen.rows = rows.iter().map(|row| number(row, "n")).sum();
        seen.settled = settled.values().sum();
        Ok(())
    }

    fn unanswered(&self) -> anyhow::Result<()> {
        locked(&self.seen).unanswered += 1;
        Ok(())
    }

    /// No lane stands still for good, and `report` finds no residual either.
    async fn service(&self, fleet: &Fleet, name: &str) -> anyhow::Result<()> {
        let Some(address) = fleet.metrics(name) else { return Ok(()) };
        // It may have been killed in this very moment.
        let Ok(answer) = self.client.get(format!("{address}/healthz")).send().await else { return Ok(()) };
        if answer.status().as_u16() == 503 {
            bail!("{name} stands still for good: {}", answer.text().await.unwrap_or_default());
        }
        if !name.starts_with("report") {
            return Ok(());
        }
        let Ok(metrics) = self.client.get(format!("{address}/metrics")).send().await else { return Ok(()) };
        let text = metrics.text().await.unwrap_or_default();
        for residual in ["hookline_ledger_missing_records", "hookline_ledger_repeated_records"] {
            let found = text.lines().filter_map(|line| line.strip_prefix(residual)?.trim().parse::<f64>().ok());
            for value in found {
                ensure!(value == 0.0, "{name} says {residual} {value}");
            }
        }
        Ok(())
    }
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or(u64::MAX)
}

/// `settled`: one past the last settled offset of each lane; `rows`: of each lane how many rows, offsets, and offsets below
/// that one it has.
fn balances(settled: &BTreeMap<u64, u64>, rows: &[Value]) -> anyhow::Result<()> {
    for row in rows {
        ensure!(row["n"] == row["offsets"], "an offset has two rows: {row}");
        let hi = settled.get(&number(row, "lane")).copied().unwrap_or(0);
        ensure!(number(row, "below") == hi, "offsets below the position {hi} are missing: {row}");
    }
    for (lane, hi) in settled {
        let there = *hi == 0 || rows.iter().any(|row| number(row, "lane") == *lane);
        ensure!(there, "lane {lane} is settled up to {hi} and has no row");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hole_below_a_position_and_a_repeat_anywhere_are_found_and_what_is_under_way_is_none() {
        let lane = |n: u64, offsets: u64, below: u64| json!({ "lane": 0, "n": n, "offsets": offsets, "below": below });
        let settled = BTreeMap::from([(0, 10)]);
        balances(&settled, &[lane(10, 10, 10)]).unwrap();
        balances(&settled, &[lane(13, 13, 10)]).unwrap();
        assert!(balances(&settled, &[lane(13, 13, 9)]).is_err());
        assert!(balances(&settled, &[lane(14, 13, 10)]).is_err());
        assert!(balances(&settled, &[]).is_err());
        balances(&BTreeMap::new(), &[lane(3, 3, 0)]).unwrap();
    }
}
