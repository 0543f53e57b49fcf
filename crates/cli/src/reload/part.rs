//! What takes another configuration while it runs: prepared first, then put in place.

use std::time::Duration;

use anyhow::Context;
use operate::Installation;
use runtime::Live;
use runtime::live::Replaced;

use crate::platform::{self, Platform};

/// A service, by what it works by. Console and canary share the installation that they are about.
pub(crate) enum Part {
    Ingest(ingest::LiveIngest),
    Process(Live<process::Decisions>),
    Detect(Live<detect::Settings>),
    Report(Live<report::Settings>),
    Notify(Live<notify::Settings>),
    Installation(Live<Installation>),
}

/// When a part takes it: a part that reads what another writes is told before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Late,
    Process,
    Ingest,
}

/// What a part will work by.
pub(crate) enum Prepared {
    Ingest(ingest::LiveIngest, Vec<ingest::SourceSettings>),
    Process(Live<process::Decisions>, process::Decisions),
    Detect(Live<detect::Settings>, detect::Settings),
    Report(Live<report::Settings>, Box<report::Settings>),
    Notify(Live<notify::Settings>, notify::Settings),
    Installation(Live<Installation>, Installation),
}

impl Part {
    /// Makes what it will work by. Nothing changes for events; tables and views follow the configuration already.
    pub(crate) async fn prepare(&self, next: &Platform) -> anyhow::Result<Prepared> {
        Ok(match self {
            Self::Ingest(live) => Prepared::Ingest(live.clone(), next.sources()?),
            Self::Process(live) => {
                let (platform, before) = (next.clone(), live.clone());
                let decisions = tokio::task::spawn_blocking(move || platform.decisions(Some(&before.current())));
                Prepared::Process(live.clone(), decisions.await.context("reading the files panicked")??)
            }
            Self::Detect(live) => {
                let rules = next.config.rules.iter().map(|rule| rule.rule.clone()).collect();
                let expectations = next.config.expectations();
                let settings = detect::Settings { rules, expectations, ..live.current().as_ref().clone() };
                Prepared::Detect(live.clone(), settings)
            }
            Self::Report(live) => {
                let before = live.current().as_ref().clone();
                let layout = next.layout();
                if before.layout != layout {
                    platform::migrate(&before.warehouse, &layout).await.context("tables and views")?;
                }
                Prepared::Report(live.clone(), Box::new(report::Settings { layout, ..before }))
            }
            Self::Notify(live) => {
                let notify::Settings { cluster, plan, ids, warehouse, traces, .. } = live.current().as_ref().clone();
                let settings = notify::Settings::from_config(cluster, plan, ids, &next.config)?;
                Prepared::Notify(live.clone(), notify::Settings { warehouse, traces, ..settings })
            }
            Self::Installation(live) => {
                let config = next.installation().config;
                Prepared::Installation(live.clone(), Installation { config, ..live.current().as_ref().clone() })
            }
        })
    }
}

/// Lanes that may still work by what was replaced.
pub(crate) enum Wait {
    Process(Replaced<process::Decisions>),
    Detect(Replaced<detect::Settings>),
    Notify(Replaced<notify::Settings>),
}

impl Wait {
    /// Whether no lane works by it any more within `patience`.
    pub(crate) async fn is_over(&self, patience: Duration) -> bool {
        match self {
            Self::Process(replaced) => replaced.out_of_use(patience).await,
            Self::Detect(replaced) => replaced.out_of_use(patience).await,
            Self::Notify(replaced) => replaced.out_of_use(patience).await,
        }
    }

    /// Whose lanes they are.
    pub(crate) fn service(&self) -> &'static str {
        match self {
            Self::Process(_) => process::SERVICE,
            Self::Detect(_) => detect::SERVICE,
            Self::Notify(_) => notify::SERVICE,
        }
    }
}

impl Prepared {
    pub(crate) fn order(&self) -> Order {
        match self {
            Self::Ingest(..) => Order::Ingest,
            Self::Process(..) => Order::Process,
            Self::Detect(..) | Self::Report(..) | Self::Notify(..) | Self::Installation(..) => Order::Late,
        }
    }

    /// Puts it in place; what is to be waited for before the stage before it follows.
    pub(crate) fn take(self) -> Option<Wait> {
        match self {
            Self::Ingest(live, sources) => {
                live.replace_sources(sources);
                None
            }
            Self::Process(live, decisions) => Some(Wait::Process(live.replace(decisions))),
            Self::Detect(live, settings) => Some(Wait::Detect(live.replace(settings))),
            Self::Notify(live, settings) => Some(Wait::Notify(live.replace(settings))),
            // Its lanes do not work by what changes.
            Self::Report(live, settings) => {
                drop(live.replace(*settings));
                None
            }
            Self::Installation(live, installation) => {
                drop(live.replace(installation));
                None
            }
        }
    }
}
