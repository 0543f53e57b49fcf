//! What an installation and its events are like.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use traffic::platform::link_names;
use traffic::{canonical, dub};

/// What is measured.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Events.
    pub events: u64,
    /// Requests that are under way at once.
    pub senders: usize,
    /// Whether they are Dub clicks, one a request, or canonical events, [`Self::batch`] a request in an array.
    pub are_clicks: bool,
    /// Events a request.
    pub batch: usize,
    /// Lanes of the topics.
    pub lanes: u16,
    /// Instances of process, and of report.
    pub instances: u16,
    /// Bytes of a text in each Dub click that no column is made from.
    pub padding: usize,
    /// How many of a hundred deliveries are of an event that was delivered before.
    pub duplicates: u64,
    /// Rules beside those of a fresh configuration, each of another link.
    pub rules: usize,
    /// Links of the catalogue.
    pub links: usize,
    /// Brokers; each topic has a replica on each.
    pub brokers: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            events: 100_000,
            senders: 256,
            are_clicks: true,
            batch: 1,
            lanes: 4,
            instances: 1,
            padding: 0,
            duplicates: 0,
            rules: 0,
            links: 0,
            brokers: 1,
        }
    }
}

impl Shape {
    pub(super) fn source(&self) -> &'static str {
        if self.are_clicks { "dub" } else { "canonical" }
    }

    /// Adds its rules and its catalogue to a fresh configuration.
    pub(super) fn configure(&self, folder: &Path, config: &Path) -> Result<()> {
        let mut text = std::fs::read_to_string(config)?;
        for rule in 0..self.rules {
            writeln!(
                text,
                "[rule.r{rule}]\nowner = \"me\"\nwhen = {{ event = \"visit\", link = \"go.example.com/l{rule}\" }}\n\
                 alert = {{ each = true }}\nsend = {{ to = [\"log\"] }}"
            )?;
        }
        if self.links > 0 {
            text.push_str("[catalogue]\nfile = \"links.csv\"\n");
            let mut list = String::from("link,kind,owner,campaign,contact\n");
            for (number, link) in self.listed().enumerate() {
                writeln!(list, "{link},promo,,2026q4-de-{},c-{number}", number % 1_000)?;
            }
            std::fs::write(folder.join("links.csv"), list)?;
        }
        Ok(std::fs::write(config, text)?)
    }

    /// The links of the catalogue: those that events are about, and as many others as there is room for.
    pub(super) fn listed(&self) -> impl Iterator<Item = String> {
        link_names().chain((0..).map(|link| format!("go.example.com/l{link}"))).take(self.links)
    }

    pub(super) fn bodies(&self) -> Bodies<'_> {
        Bodies { shape: self, clicks: dub::Generator::new(1), visits: canonical::Generator::new(1), last: Vec::new() }
    }
}

/// The bodies of requests, one after the other.
pub(super) struct Bodies<'s> {
    shape: &'s Shape,
    clicks: dub::Generator,
    visits: canonical::Generator,
    last: Vec<u8>,
}

impl Bodies<'_> {
    pub(super) fn take(&mut self, requests: u64) -> Vec<Vec<u8>> {
        (0..requests).map(|number| self.one(number)).collect()
    }

    fn one(&mut self, number: u64) -> Vec<u8> {
        if !self.shape.are_clicks {
            let visits: Vec<Vec<u8>> = (0..self.shape.batch).map(|_| self.visits.visit()).collect();
            return [b"[", visits.join(&b","[..]).as_slice(), b"]"].concat();
        }
        // Spread evenly: of a hundred requests so many say again what the one before said.
        if !self.last.is_empty() && number % 100 < self.shape.duplicates {
            return self.last.clone();
        }
        self.last = match self.shape.padding {
            0 => self.clicks.click(),
            bytes => self.clicks.click_with(&json!({"data": {"link": {"comments": "x".repeat(bytes)}}})),
        };
        self.last.clone()
    }
}
