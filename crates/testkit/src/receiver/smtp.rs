//! A mail server without TLS. What others wrote, with TLS and logins, is in `tests/clients/mail_server.py`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::page::escaped;
use super::{Behaviour, Double, Request, Response, Shared};

#[derive(Default)]
pub(super) struct Smtp {
    mails: Vec<Request>,
}

impl Double for Smtp {
    fn section(&self, address: std::net::SocketAddr) -> (&'static str, String) {
        let keys = format!(
            "url = \"smtp://{address}\"\ntls = \"none\"\nfrom = \"hookline@example.com\"\nto = [\"me@example.com\"]"
        );
        ("smtp", keys)
    }

    fn faults(&self, request: &Request) -> Vec<String> {
        let mut faults = Vec::new();
        for header in ["message-id", "date", "from", "to", "subject"] {
            if request.header(header).is_none_or(str::is_empty) {
                faults.push(format!("no {header}"));
            }
        }
        if let Some(line) = request.body.lines().find(|line| line.len() > 998) {
            faults.push(format!("a line of {} bytes", line.len()));
        }
        faults
    }

    fn take(&mut self, request: &Request) -> Response {
        // The same mail again is the same mail: readers know it by its id.
        let id = request.header("message-id");
        if !self.mails.iter().any(|mail| mail.header("message-id") == id) {
            self.mails.push(request.clone());
        }
        Response::text(250, "2.0.0 Taken")
    }

    fn fails(&self, how: Behaviour) -> Response {
        match how {
            Behaviour::Busy => Response::text(450, "4.7.1 Come back later"),
            Behaviour::Refuses => Response::text(535, "5.7.8 Authentication failed"),
            _ => Response::text(550, "5.1.1 No such user"),
        }
    }

    fn show(&self) -> String {
        let mut out = "<section class=list><h1>Mails</h1>".to_owned();
        for mail in self.mails.iter().rev() {
            let header = |name: &str| escaped(mail.header(name).unwrap_or_default());
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<article><div><strong>{}</strong><br><small>{} to {} &middot; {}</small><pre>{}</pre></div></article>",
                header("subject"),
                header("from"),
                header("to"),
                header("message-id"),
                escaped(&mail.body)
            );
        }
        out + "</section>"
    }
}

/// Takes the mails of one connection.
pub(super) fn serve(connection: TcpStream, shared: &Mutex<Shared>) {
    let timeout = connection.set_read_timeout(Some(Duration::from_secs(120)));
    let (Ok(()), Ok(mut writer)) = (timeout, connection.try_clone()) else { return };
    let mut reader = BufReader::new(connection);
    let mut said = String::new();
    // What a person sees who opens it in a browser.
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).and_then(|()| writer.flush()).is_ok();
    if !say("220 hookline-testkit ESMTP") {
        return;
    }
    let mut recipients = Vec::new();
    loop {
        said.clear();
        match reader.by_ref().take(4_096).read_line(&mut said) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let word = said.split([' ', ':']).next().unwrap_or_default().trim().to_ascii_uppercase();
        let goes_on = match word.as_str() {
            "EHLO" | "HELO" => say("250-hookline-testkit\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"),
            "AUTH" => say("235 2.7.0 Welcome"),
            "RCPT" => {
                recipients.push(said.split(['<', '>']).nth(1).unwrap_or_default().to_owned());
                say("250 OK")
            }
            "MAIL" | "RSET" | "NOOP" => say("250 OK"),
            "DATA" => {
                if !say("354 Go on") {
                    return;
                }
                let Some(mail) = read(&mut reader, &recipients) else { return };
                recipients.clear();
                let answer = shared.lock().unwrap_or_else(PoisonError::into_inner).answer(&mail);
                match answer {
                    (_, Some(response)) => {
                        let status = if response.status == 500 { 451 } else { response.status };
                        say(&format!("{status} {}", response.body))
                    }
                    (Behaviour::Hangs, None) => {
                        let _ = reader.read(&mut [0; 1]);
                        return;
                    }
                    (_, None) => return,
                }
            }
            "QUIT" => {
                say("221 Bye");
                return;
            }
            "GET" => {
                let page = super::page::whole(&shared.lock().unwrap_or_else(PoisonError::into_inner).double.show());
                say(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                ));
                return;
            }
            _ => say("502 5.5.1 What?"),
        };
        if !goes_on {
            return;
        }
    }
}

/// The mail up to the line of one dot, its head in small letters.
fn read(reader: &mut impl BufRead, recipients: &[String]) -> Option<Request> {
    let (mut lines, mut line) = (Vec::<String>::new(), String::new());
    loop {
        line.clear();
        if reader.by_ref().take(64 * 1024).read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text == "." {
            break;
        }
        lines.push(text.strip_prefix('.').unwrap_or(text).to_owned());
    }
    let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in &lines[..end] {
        match (line.starts_with([' ', '\t']), headers.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line),
            (_, _, Some((name, value))) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            _ => {}
        }
    }
    let body = lines.get(end + 1..).unwrap_or_default().join("\n");
    Some(Request { method: "MAIL".to_owned(), path: recipients.join(","), headers, body })
}
