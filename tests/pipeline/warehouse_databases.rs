//! Databases for tests of tables, views and blocks, and the events that go into them.
//!
//! On the local engine; on another ClickHouse when `HOOKLINE_TEST_CLICKHOUSE` is its HTTP address and
//! `HOOKLINE_TEST_CLICKHOUSE_PASSWORD` the password of its user `hookline`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex, PoisonError, Weak};

use event::{EventType, LinkEvent, Millis};
use tempfile::TempDir;
use testkit::House;
use warehouse::{
    Block, BlockBuilder, BlockStore, Completion, InsertPermit, Layout, Next, Settings, Settling, Side, Warehouse,
    WarehouseError,
};

/// A test alone writes to its databases: it needs no fence.
struct Alone;

impl InsertPermit for Alone {}

/// Blocks without a lane, as `report` brings them in.
pub(crate) trait WithoutLane {
    /// Inserts a block of which nothing is there.
    async fn insert(&self, block: &Block) -> Result<(), WarehouseError>;
    /// Brings in what of a block is not there.
    async fn complete_uncertain(&self, block: &Block) -> Result<Completion, WarehouseError>;
}

impl WithoutLane for BlockStore {
    async fn insert(&self, block: &Block) -> Result<(), WarehouseError> {
        settle(self, block, Settling::certain(block.by_side())).await.map(drop)
    }

    async fn complete_uncertain(&self, block: &Block) -> Result<Completion, WarehouseError> {
        settle(self, block, Settling::uncertain(block.by_side())).await
    }
}

async fn settle(store: &BlockStore, block: &Block, mut settling: Settling) -> Result<Completion, WarehouseError> {
    loop {
        match settling.next() {
            Next::Insert(insert) => {
                store.send(block, &insert, Alone).await?;
                settling.inserted();
            }
            Next::Read => settling.read(&store.read(block).await?),
            Next::Done(completion) => return Ok(completion),
            Next::StillMissing { missing, first, repairs } => {
                let block = block.id().to_string();
                return Err(WarehouseError::StillMissing { block, missing, first, repairs });
            }
        }
    }
}

/// A local engine, stopped with the last test that uses it.
pub(crate) struct Engine {
    house: House,
    folder: TempDir,
}

impl Engine {
    /// One that a test may harm.
    pub(crate) fn own() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        // Brokers that are given are not started, and nothing here asks them anything.
        let house = House::up(&folder.path().join("data"), &["--engines-only", "--brokers", "127.0.0.1:1"]).unwrap();
        Arc::new(Self { house, folder })
    }

    /// kill -9; it comes back by itself.
    pub(crate) fn kill(&self) {
        let noted = std::fs::read_to_string(self.folder.path().join("data/clickhouse.pid")).unwrap();
        let pid = noted.split_whitespace().next().unwrap();
        assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    }

    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = shared.upgrade().unwrap_or_else(Self::own);
        *shared = Arc::downgrade(&engine);
        engine
    }
}

/// A pair of databases of its own for a test, dropped at its end.
pub(crate) struct Databases {
    pub(crate) warehouse: Warehouse,
    pub(crate) layout: Layout,
    _engine: Option<Arc<Engine>>,
}

impl Databases {
    pub(crate) async fn new(name: &str) -> Self {
        let databases = Self::unmigrated(name).await;
        databases.warehouse.migrate(&databases.layout).await.unwrap();
        databases
    }

    pub(crate) async fn unmigrated(name: &str) -> Self {
        match std::env::var("HOOKLINE_TEST_CLICKHOUSE") {
            Ok(url) => Self::at(name, &url, None).await,
            Err(_) => Self::on(name, tokio::task::spawn_blocking(Engine::shared).await.unwrap()).await,
        }
    }

    pub(crate) async fn on(name: &str, engine: Arc<Engine>) -> Self {
        let url = engine.house.addresses.clickhouse.clone();
        Self::at(name, &url, Some(engine)).await
    }

    async fn at(name: &str, url: &str, engine: Option<Arc<Engine>>) -> Self {
        let now = jiff::Timestamp::now();
        let database = format!("t_{name}_{}", now.as_microsecond());
        let settings = Settings {
            url: url.to_owned(),
            password: std::env::var("HOOKLINE_TEST_CLICKHOUSE_PASSWORD").unwrap_or_default(),
            test_database: format!("{database}_test"),
            database,
            ..Settings::default()
        };
        let warehouse = Warehouse::connect(&settings).await.unwrap();
        Self { warehouse, layout: Layout::default(), _engine: engine }
    }

    /// A statement that the warehouse itself never makes: damage, or a check of the engine's own tables.
    pub(crate) async fn execute(&self, sql: &str) {
        let settings = self.warehouse.settings();
        let client = clickhouse::Client::default()
            .with_url(&settings.url)
            .with_user(&settings.user)
            .with_password(&settings.password);
        client.query_raw(sql).execute().await.unwrap();
    }

    /// The first column of the first row, as a number.
    pub(crate) async fn number(&self, side: Side, sql: &str) -> i64 {
        let rows = self.warehouse.query(side, sql, &[]).await.unwrap();
        let value = rows.first().and_then(|row| row.values().next()).unwrap();
        value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap()
    }

    pub(crate) async fn drop(self) {
        for side in Side::BOTH {
            self.execute(&format!("DROP DATABASE {} SYNC", self.warehouse.database(side))).await;
        }
    }
}

/// 2026-10-15 12:00 UTC: well inside a month.
pub(crate) const NOON: i64 = 1_792_065_600_000;

/// An event at an offset, received a second after the one before it.
pub(crate) fn event(offset: u64) -> LinkEvent<'static> {
    LinkEvent {
        r#type: EventType::Click,
        event_time: Millis(NOON + offset as i64 * 1_000 - 500),
        received_at: Millis(NOON + offset as i64 * 1_000),
        source: "acme".into(),
        event_key: format!("click:{offset}").into(),
        request_id: format!("r{offset}").into(),
        link_id: format!("l_{}", offset % 7).into(),
        campaign: ["", "spring", "autumn"][(offset % 3) as usize].into(),
        visitor: offset % 5,
        raw_offset: offset,
        schema_version: 1,
        ..LinkEvent::default()
    }
}

pub(crate) fn block_of(incarnation: &str, lane: u16, cut: u64, events: &[LinkEvent<'_>]) -> Block {
    let mut builder = BlockBuilder::new(incarnation, lane);
    events.iter().for_each(|event| builder.push(event).unwrap());
    builder.finish(cut)
}
