//! A row of a CSV file: on disk before it counts as delivered, and there once.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use notification::destination::{Answer, Row, Verdict};

/// How far back a row is looked for that was written before a crash and not reported.
const TAIL: u64 = 256 * 1024;

/// Appends a row. The file may be moved away at any time: the next row makes a new one.
pub(crate) async fn append(row: Row) -> Result<Answer, Verdict> {
    let path = row.path.clone();
    let failed =
        |error: String| Verdict::Retry { status: 0, error: format!("{}: {error}", path.display()), after: None };
    match tokio::task::spawn_blocking(move || append_now(&row)).await {
        Ok(Ok(())) => Ok(Answer::default()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn append_now(row: &Row) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(&row.path)?;
    // Several lanes may append to one file; the lock ends with the file.
    file.lock()?;
    let length = file.metadata()?.len();
    let tail = tail(&mut file, length)?;
    let mut rows = Vec::new();
    if length == 0 {
        write_row(&mut rows, &row.header)?;
    }
    let begins = format!("{},", row.fields.first().map_or("", String::as_str)).into_bytes();
    let (whole, torn) = tail.split_at(tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    if whole.split(|byte| *byte == b'\n').any(|line| line.starts_with(&begins)) {
        return Ok(());
    }
    match torn {
        [] => {}
        // The row of this very message, torn by a crash.
        torn if begins.starts_with(torn) || torn.starts_with(&begins) => file.set_len(length - torn.len() as u64)?,
        // A last line that is not ours: left alone.
        _ => rows.push(b'\n'),
    }
    write_row(&mut rows, &row.fields)?;
    file.write_all(&rows)?;
    file.sync_data()?;
    if length == 0
        && let Some(folder) = row.path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        // A new file is safe once its folder is.
        File::open(folder)?.sync_all()?;
    }
    Ok(())
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
