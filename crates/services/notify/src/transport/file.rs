//! A CSV file as a destination: one row a message, on disk before it counts as delivered, and there once.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::outbox::PendingDelivery;
use crate::worker::Answer;

const HEADER: [&str; 12] = [
    "bundle_id",
    "sent_at",
    "type",
    "rule",
    "owner",
    "do",
    "title",
    "count",
    "links",
    "window_start",
    "window_end",
    "alert_ids",
];
/// How far back a row is looked for that was written before a crash and not told of.
const TAIL: u64 = 256 * 1024;

/// A file that messages are appended to. It may be moved away at any time: the next message makes a new one.
#[derive(Clone)]
pub(crate) struct CsvFile {
    path: PathBuf,
}

impl CsvFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) async fn append(&self, owed: &PendingDelivery, now_ms: i64) -> Answer {
        let (file, owed) = (self.clone(), owed.clone());
        let path = self.path.display();
        let failed = |error: String| Answer::Again { status: 0, error: format!("{path}: {error}"), after: None };
        match tokio::task::spawn_blocking(move || file.append_now(&owed, now_ms)).await {
            Ok(Ok(())) => Answer::Taken { status: 0 },
            Ok(Err(error)) => failed(error.to_string()),
            Err(error) => failed(error.to_string()),
        }
    }

    fn append_now(&self, owed: &PendingDelivery, now_ms: i64) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        // Several lanes may append to one file; the lock ends with the file.
        file.lock()?;
        let length = file.metadata()?.len();
        let tail = tail(&mut file, length)?;
        let mut rows = Vec::new();
        if length == 0 {
            write_row(&mut rows, &HEADER)?;
        }
        let begins = format!("{},", owed.bundle_id).into_bytes();
        let (whole, torn) = tail.split_at(tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        if whole.split(|byte| *byte == b'\n').any(|line| line.starts_with(&begins)) {
            return Ok(());
        }
        match torn {
            [] => {}
            // The row of this very message, torn by a crash.
            torn if begins.starts_with(torn) || torn.starts_with(&begins) => {
                file.set_len(length - torn.len() as u64)?
            }
            // Somebody else's last line: left alone.
            _ => rows.push(b'\n'),
        }
        write_row(&mut rows, &row(owed, now_ms)?)?;
        file.write_all(&rows)?;
        file.sync_data()?;
        if length == 0
            && let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            // A new file is safe once its folder is.
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// The end of the file.
fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_row<T: AsRef<[u8]>>(out: &mut Vec<u8>, fields: &[T]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(fields)?;
    writer.flush()
}

fn row(owed: &PendingDelivery, now_ms: i64) -> io::Result<Vec<String>> {
    let message: Value = serde_json::from_str(&owed.body)?;
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = |value: &Value, show: &dyn Fn(&Value) -> String| {
        value.as_array().map(|items| items.iter().map(show).collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    let fields = [
        owed.bundle_id.clone(),
        Timestamp::from_millisecond(now_ms).map(|at| at.to_string()).unwrap_or_default(),
        text(&message["type"]),
        text(&message["rule"]),
        text(&message["owner"]),
        text(&message["do"]),
        text(&message["title"]),
        text(&message["count"]),
        list(&message["links"], &|link| format!("{}={}", text(&link["link"]), text(&link["count"]))),
        text(&message["window"]["start"]),
        text(&message["window"]["end"]),
        list(&message["alert_ids"], &text),
    ];
    Ok(fields.into_iter().map(|field| harmless(&field)).collect())
}

/// One line, and nothing that a spreadsheet would run as a formula.
fn harmless(field: &str) -> String {
    let line = field.replace(['\n', '\r'], " ");
    if line.starts_with(['=', '+', '-', '@', '\t']) { format!("'{line}") } else { line }
}
