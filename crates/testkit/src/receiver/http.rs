//! The least of HTTP/1.1 that clients need, with the freedom to hang and to break off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Behaviour, Request, Response, Shared, page};

/// The longest body that is read.
const MAX_BODY: u64 = 8 * 1024 * 1024;
/// How long a request may take to arrive, and how long a receiver hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Answers the requests of one connection.
pub(super) fn serve(connection: TcpStream, shared: &Mutex<Shared>) {
    let timeout = connection.set_read_timeout(Some(PATIENCE));
    let (Ok(()), Ok(mut writer)) = (timeout, connection.try_clone()) else { return };
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader) {
        let shows = request.method == "GET" && matches!(request.path.as_str(), "/" | "/favicon.ico");
        let answer = |mut shared: std::sync::MutexGuard<'_, Shared>| match shows {
            true => {
                let page = page::whole(&shared.double.show());
                let html = vec![("content-type", "text/html; charset=utf-8".to_owned())];
                (Behaviour::Well, Some(Response { status: 200, headers: html, body: page }))
            }
            false => shared.answer(&request),
        };
        match answer(shared.lock().unwrap_or_else(PoisonError::into_inner)) {
            (_, Some(response)) => {
                if write(&mut writer, &response).is_err() {
                    return;
                }
            }
            (Behaviour::Hangs, None) => {
                // Until the client has had enough.
                let _ = reader.read(&mut [0; 1]);
                return;
            }
            (_, None) => return,
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.by_ref().take(64 * 1024).read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.by_ref().take(64 * 1024).read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    reader.by_ref().take(length.unwrap_or(0).min(MAX_BODY)).read_to_end(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn write(writer: &mut impl Write, response: &Response) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", response.status, response.body.len());
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    if response.status == 204 {
        head = head.replace("content-length: 0\r\n", "");
    }
    writer.write_all(head.as_bytes())?;
    writer.write_all(response.body.as_bytes())?;
    writer.flush()
}
