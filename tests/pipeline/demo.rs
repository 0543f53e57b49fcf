//! `hookline up --demo`, seen from its tables.

use testkit::House;
use testkit::clickhouse::Asker;

use crate::harness::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_sends_as_both_platforms_all_kinds_of_rows_come_and_both_rules_speak() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::up(&folder.path().join("data"), &["--demo"]).unwrap();
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let all_kinds = "SELECT toUInt64(uniqExact(source) = 2 AND uniqExact(outcome) = 3 AND uniqExact(type) >= 6 \
                     AND countIf(counted = 'bot') > 0) FROM hookline.records";
    asker.until(all_kinds, 1, SOON).await.unwrap();
    asker.until("SELECT uniqExact(rule) FROM hookline.alerts", 2, SOON).await.unwrap();
    let delivered = "SELECT toUInt64(countIf(stage = 'delivered') > 0) FROM hookline.deliveries";
    asker.until(delivered, 1, SOON).await.unwrap();
    let off_balance =
        asker.number("SELECT toUInt64(sum(abs(missing)) + sum(repeated)) FROM hookline.ledger").await.unwrap();
    assert_eq!(off_balance, 0);
}
