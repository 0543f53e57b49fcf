//! Days that are over are closed, and again when late events came.

use event::Millis;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use runtime::Component;
use warehouse::{OpenDay, REPORTS, Report, Side, WarehouseError};

use super::{KeepError, KeeperMetrics, TURN_WITHIN, first_of, only};
use crate::{SERVICE, Settings};

/// A day is closed this long after it has ended, so that the usual late deliveries are in it. Later ones open it again.
const LATENESS_MS: i64 = 3_600_000;

/// Closes what is complete and is not closed, or not over as many events.
pub(super) async fn close_days(
    settings: &Settings,
    metrics: &KeeperMetrics,
    component: &Component,
    complete: Option<Millis>,
) -> Result<(), KeepError> {
    let Some(through) = complete.and_then(last_whole_day) else { return Ok(()) };
    let Settings { warehouse, layout, .. } = settings;
    let mut open = Vec::new();
    for side in Side::BOTH {
        open.extend(warehouse.open_days(side, layout, through).await?.into_iter().map(|day| (side, day)));
    }
    let of_production = open.iter().filter(|(side, _)| *side == Side::Production).count();
    only(&metrics.reports_to_close).set(of_production as f64);
    if open.is_empty() {
        return Ok(());
    }
    // `replay --replace` has rows of days deleted: a day that is closed meanwhile would keep what is about to go.
    let (number, why) = warehouse.rewrites_of_records().await?;
    if number > 0 {
        tracing::warn!(
            service = SERVICE,
            why,
            "{number} deletions of records are under way in ClickHouse: days are closed once they are done"
        );
        return Ok(());
    }
    let closed = each_day(open, |side, OpenDay { report: name, day }| async move {
        component.allow(TURN_WITHIN);
        let Some(report) = REPORTS.iter().find(|report: &&Report| report.name == name) else { return Ok(()) };
        let closed = warehouse.close_day(side, layout, report, day).await?;
        tracing::info!(service = SERVICE, report = name, %day, ?side, ?closed, "closed");
        Ok(())
    });
    let closed = closed.await;
    let left = warehouse.open_days(Side::Production, layout, through).await;
    if let Ok(left) = &left {
        only(&metrics.reports_to_close).set(left.len() as f64);
    }
    first_of(closed, left.map(drop).map_err(KeepError::from))
}

/// Closes each of these days, whatever becomes of the others: one that cannot be closed holds no other one up. Returns
/// the first error, with the number of all.
async fn each_day<F: Future<Output = Result<(), WarehouseError>>>(
    open: Vec<(Side, OpenDay)>,
    close: impl Fn(Side, OpenDay) -> F,
) -> Result<(), KeepError> {
    let mut first = None;
    let mut failed = 0;
    let mut unanswered = 0;
    for (side, day) in open {
        let closed = close(side, day.clone()).await;
        // Two in a row without an answer: it is not the day, and each further one would wait as long.
        unanswered = if matches!(closed, Err(WarehouseError::Unreachable { .. })) { unanswered + 1 } else { 0 };
        if let Err(error) = closed {
            failed += 1;
            first.get_or_insert((day, error));
        }
        if unanswered == 2 {
            break;
        }
    }
    match first {
        None => Ok(()),
        Some((OpenDay { report, day }, error)) => Err(KeepError::Days { failed, report, day, error: Box::new(error) }),
    }
}

/// The last day of UTC that had ended, with the lateness allowed, at `complete`.
fn last_whole_day(complete: Millis) -> Option<jiff::civil::Date> {
    let at = Timestamp::from_millisecond(complete.0.checked_sub(LATENESS_MS)?).ok()?;
    TimeZone::UTC.to_datetime(at).date().yesterday().ok()
}

#[cfg(test)]
mod tests {
    use warehouse::Day;

    use super::*;

    #[tokio::test]
    async fn a_day_that_cannot_be_closed_holds_no_later_one_up_and_is_told() {
        let day = |number| Day::constant(2026, 11, number);
        let open: Vec<_> = [21, 22, 23]
            .into_iter()
            .map(|number| (Side::Production, OpenDay { report: "link_hourly", day: day(number) }))
            .collect();
        let closed = std::cell::RefCell::new(Vec::new());
        let refused = |detail: &str| WarehouseError::Answer { what: "close".into(), detail: detail.into() };
        let close = |_, OpenDay { day, .. }: OpenDay| {
            std::future::ready(match day.day() {
                21 => Err(refused("its memory")),
                22 => Err(refused("its disk")),
                _ => {
                    closed.borrow_mut().push(day);
                    Ok(())
                }
            })
        };
        let error = each_day(open.clone(), close).await.unwrap_err().to_string();
        assert_eq!(*closed.borrow(), [day(23)]);
        assert!(
            error.contains("2 reports of days") && error.contains("2026-11-21") && error.contains("its memory"),
            "{error}"
        );
        assert!(each_day(open, |_, _| std::future::ready(Ok(()))).await.is_ok());
    }

    #[tokio::test]
    async fn closing_gives_up_after_two_days_in_a_row_without_an_answer_and_not_for_two_apart() {
        let open = |count: i8| -> Vec<_> {
            let of = |number| OpenDay { report: "link_hourly", day: Day::constant(2026, 11, number) };
            (1..=count).map(|number| (Side::Production, of(number))).collect()
        };
        let asked = std::cell::RefCell::new(Vec::new());
        let close = |silent: &'static [i8]| {
            let asked = &asked;
            move |_, OpenDay { day, .. }: OpenDay| {
                asked.borrow_mut().push(day.day());
                std::future::ready(if silent.contains(&day.day()) {
                    Err(WarehouseError::Unreachable {
                        what: "close".into(),
                        url: "http://here".into(),
                        source: "timed out".into(),
                    })
                } else {
                    Ok(())
                })
            }
        };
        each_day(open(5), close(&[1, 3, 5])).await.unwrap_err();
        assert_eq!(asked.take(), [1, 2, 3, 4, 5]);
        each_day(open(5), close(&[2, 3])).await.unwrap_err();
        assert_eq!(asked.take(), [1, 2, 3]);
    }

    #[test]
    fn a_day_is_whole_an_hour_after_it_has_ended() {
        let at = |text: &str| Millis(text.parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(last_whole_day(at("2026-11-23T00:59:59Z")).unwrap().to_string(), "2026-11-21");
        assert_eq!(last_whole_day(at("2026-11-23T01:00:00Z")).unwrap().to_string(), "2026-11-22");
    }
}
