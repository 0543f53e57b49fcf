//! The least that answers a signed webhook, as a separate process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use signature::{Scheme, Secret};
use traffic::Sender;

use super::{FLOOR, WARM, proc, send};

/// CPU seconds of the floor while every body is sent to it once: this program again, called with [`FLOOR`].
pub(super) async fn measure(bodies: &[Vec<u8>], senders: usize) -> Result<f64> {
    let mut child = Ended(Command::new(std::env::current_exe()?).arg(FLOOR).stdout(Stdio::piped()).spawn()?);
    let child = &mut child.0;
    let mut address = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut address)?;
    let floor = Sender::new(address.trim(), "dub", Scheme::Dub, Secret::new("first", FLOOR))?;
    send(&floor, bodies[..bodies.len().min(WARM as usize)].to_vec(), senders).await?;
    let pids = [child.id()];
    let before = proc::cpu(&pids)?;
    send(&floor, bodies.to_vec(), senders).await?;
    Ok(proc::cpu(&pids)? - before)
}

/// Ends a process when it is let go, whatever went wrong before.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Serves: axum that checks an HMAC over each body and answers 202, and does nothing else. Prints its address.
///
/// # Errors
/// When it cannot listen.
#[allow(clippy::print_stdout, reason = "who started it reads its address")]
pub async fn serve() -> Result<()> {
    async fn take(headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(FLOOR.as_bytes()) else {
            return (StatusCode::INTERNAL_SERVER_ERROR, "{}");
        };
        mac.update(&body);
        let signed: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        match headers.get("dub-signature") {
            Some(claimed) if claimed.as_bytes() == signed.as_bytes() => (StatusCode::ACCEPTED, "{}"),
            _ => (StatusCode::UNAUTHORIZED, "{}"),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let router = axum::Router::new().route("/v1/webhooks/dub", axum::routing::post(take));
    Ok(axum::serve(listener, router).await?)
}
