//! Serves the ClickHouse engine alone, as the hidden subcommand of the binary does:
//!
//! ```text
//! cargo run -p hookline-chdb-http --example serve -- LIBRARY DATA LISTEN
//! curl -u hookline:secret 'http://127.0.0.1:8123/?query=SELECT+version()'
//! ```

use std::path::PathBuf;

use anyhow::Context;
use hookline_chdb_http::{Access, Account, ServeOptions, serve};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = |what: &'static str| arguments.next().context(what);
    let library = PathBuf::from(next("the path of libchdb.so is missing")?);
    let data = PathBuf::from(next("the data folder is missing")?);
    let listen = next("the address to listen on is missing")?;
    let listen = listen.to_str().and_then(|text| text.parse().ok()).context("the address is not host:port")?;
    serve(ServeOptions {
        library,
        data,
        listen,
        accounts: vec![
            Account { name: "hookline".to_owned(), password: "secret".to_owned(), access: Access::Full },
            Account { name: "analyst".to_owned(), password: "look".to_owned(), access: Access::ReadOnly },
        ],
        memory_limit: ServeOptions::DEFAULT_MEMORY_LIMIT,
        parent: None,
    })
}
