//! One request on the engine's thread: from parameters and body to the answer.

use std::io::Read;
use std::sync::Arc;

use super::account::{Access, Account};
use super::body::{self, Packing, PieceReader};
use super::engine::{Connection, Engine, Parameters, StatementClass};
use super::exception::Exception;
use super::format::{self, Streaming};
use super::native;
use super::reply::{Reply, WriteError};
use super::session::{SessionRequest, Sessions};
use super::settings::{self, RequestParameters};
use super::statement::{self, Insert};

/// How much of a body is looked at to find the statement of an INSERT (`max_query_size` of a server).
const STATEMENT_WITHIN: usize = 256 << 10;
/// How long a statement without streamed data may be.
const LARGEST_STATEMENT: usize = 16 << 20;
/// How much of the data is given to the engine at a time.
const PIECE: usize = 1 << 20;
/// How much of a body is read and thrown away after an error, so that a client that is still sending gets to read it.
const LARGEST_DISCARD: u64 = 64 << 20;

/// What the requests share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) sessions: Sessions,
    pub(crate) accounts: Vec<Account>,
    /// Table functions that a read-only account may not call, in lower case.
    pub(crate) reaching_outside: Vec<String>,
}

/// A request whose account is known.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) account: Account,
    pub(crate) parameters: RequestParameters,
    /// The `query` parameter or field, which the body continues.
    pub(crate) text: Vec<u8>,
    /// `GET` reads only.
    pub(crate) reads_only: bool,
    pub(crate) packing: Packing,
    /// The format if the statement names none.
    pub(crate) default_format: String,
}

/// Runs a request to its end and answers it. Blocks; not for an asynchronous thread.
pub(crate) fn run(job: Job, mut body: PieceReader, mut reply: Reply) {
    let answered = {
        let mut unpacked = body::unpack(&mut body, job.packing, job.parameters.is_on("decompress"));
        job.answer(unpacked.as_mut(), &mut reply)
    };
    match answered {
        Ok(()) => reply.finish(),
        Err(Failure::Exception(exception)) => {
            // Whether this succeeds does not matter: the exception is the answer.
            let _ = std::io::copy(&mut body.take(LARGEST_DISCARD), &mut std::io::sink());
            reply.fail(&exception);
        }
        Err(Failure::ClientGone) => {}
    }
}

enum Failure {
    Exception(Exception),
    ClientGone,
}

impl From<Exception> for Failure {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Gone => Self::ClientGone,
            WriteError::Refused(exception) => Self::Exception(exception),
        }
    }
}

impl Job {
    fn answer(&self, body: &mut dyn Read, reply: &mut Reply) -> Result<(), Failure> {
        if self.parameters.get("role").is_some_and(|role| !role.is_empty()) {
            return Err(Exception::new(Exception::UNKNOWN_ROLE, "the local engine has no roles").into());
        }
        let text = self.read_text(body)?;
        let Some(session) = SessionRequest::of(&self.account.name, &self.parameters)? else {
            let mut connection = self.open()?;
            self.prepare(&mut connection)?;
            return self.execute(&mut connection, &text, body, reply);
        };
        let sessions = &self.shared.sessions;
        let kept = sessions.take(&session)?;
        match kept.map_or_else(|| self.open(), Ok) {
            Ok(mut connection) => {
                let answered = self.in_session(&mut connection, &text, body, reply);
                sessions.put_back(&session, connection);
                answered
            }
            Err(exception) => {
                sessions.end(&session);
                Err(exception.into())
            }
        }
    }

    /// A new connection with the rights of the account, which nothing on it can widen.
    fn open(&self) -> Result<Connection, Exception> {
        let mut connection = self.shared.engine.connect()?;
        if self.account.access == Access::ReadOnly {
            connection.execute("SET readonly = 2")?;
        }
        Ok(connection)
    }

    /// Database and settings of this request.
    fn prepare(&self, connection: &mut Connection) -> Result<(), Exception> {
        if let Some(database) = self.parameters.get("database").filter(|database| !database.is_empty()) {
            connection.execute(&format!("USE {}", settings::identifier(database)))?;
        }
        settings::apply(connection, &self.parameters.settings())
    }

    /// In a session, settings and database of the URL hold for this request only; what the statement itself sets stays.
    fn in_session(
        &self,
        connection: &mut Connection,
        text: &Text,
        body: &mut dyn Read,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let given = self.parameters.settings();
        // Checks the names first: they become part of a statement.
        let mut restore = Vec::new();
        if !given.is_empty() {
            settings::set_statement(&given)?;
            restore.extend(settings::restore_statement(connection, &given)?);
        }
        let names_database = self.parameters.get("database").is_some_and(|database| !database.is_empty());
        if names_database && statement::first_keyword(&text.bytes) != "USE" {
            restore.push(settings::use_statement_of_now(connection)?);
        }
        let answered =
            self.prepare(connection).map_err(Failure::from).and_then(|()| self.execute(connection, text, body, reply));
        for sql in restore {
            connection.execute(&sql)?;
        }
        answered
    }

    /// Reads as much of the body as it takes to know the statement.
    fn read_text(&self, body: &mut dyn Read) -> Result<Text, Exception> {
        let mut bytes = self.text.clone();
        if !bytes.is_empty() {
            // As on a server: the parameter, a line end, the body.
            bytes.push(b'\n');
            if let Some(Insert::Data { format, .. }) = statement::insert(&bytes)
                && format != "Values"
            {
                return Ok(Text { bytes, whole: false });
            }
        }
        let mut whole = read_until(body, &mut bytes, STATEMENT_WITHIN)?;
        if !whole && !matches!(statement::insert(&bytes), Some(Insert::Data { .. })) {
            whole = read_until(body, &mut bytes, LARGEST_STATEMENT)?;
            if !whole {
                let what = format!("the statement is longer than {LARGEST_STATEMENT} bytes");
                return Err(Exception::new(Exception::QUERY_IS_TOO_LARGE, what));
            }
        }
        Ok(Text { bytes, whole })
    }

    fn execute(
        &self,
        connection: &mut Connection,
        text: &Text,
        body: &mut dyn Read,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let parameters = self.parameters.bound();
        let sql = text.bytes.as_slice();
        match statement::insert(sql) {
            Some(Insert::Semicolon) => {
                let what = "Syntax error: there is a semicolon between FORMAT and the data of the INSERT";
                Err(Exception::new(Exception::SYNTAX_ERROR, what).into())
            }
            // Rows in the text of the statement go the way of any statement, where they may be expressions.
            Some(Insert::Data { format, .. }) if format == "Values" && text.whole => {
                self.statement(connection, sql, &parameters, reply)
            }
            Some(Insert::Data { statement, format, data }) => {
                if self.reads_only {
                    return Err(get_reads_only().into());
                }
                let mut stream = connection.insert(&sql[..statement], &format, &parameters)?;
                stream.append(&sql[data..])?;
                let mut piece = vec![0; PIECE];
                loop {
                    // An error here drops the stream, which cancels the INSERT.
                    let count = read_some(body, &mut piece)?;
                    if count == 0 {
                        break;
                    }
                    stream.append(&piece[..count])?;
                }
                reply.add_progress(stream.finish()?);
                Ok(())
            }
            Some(Insert::Other) | None => self.statement(connection, sql, &parameters, reply),
        }
    }

    /// Runs a statement without data of its own.
    fn statement(
        &self,
        connection: &mut Connection,
        sql: &[u8],
        parameters: &Parameters,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let analysis = connection.classify(sql)?;
        if analysis.statements > 1 {
            let what = "Syntax error (Multi-statements are not allowed)";
            return Err(Exception::new(Exception::SYNTAX_ERROR, what).into());
        }
        let keyword = statement::first_keyword(sql);
        let for_session = matches!(keyword.as_str(), "SET" | "USE");
        let changes = match analysis.class {
            StatementClass::ReadOnly => false,
            StatementClass::Mutating => true,
            StatementClass::Control => !for_session,
            // It does not parse; the engine says why.
            StatementClass::Unknown => false,
        };
        if self.reads_only && changes {
            return Err(get_reads_only().into());
        }
        self.check_mentions(sql, parameters, changes)?;

        let named = statement::output_format(sql);
        let format = named.as_deref().unwrap_or(&self.default_format);
        let streaming = match keyword.as_str() {
            "SELECT" | "WITH" if analysis.class == StatementClass::ReadOnly => format::streaming(format),
            _ => Streaming::Whole,
        };
        reply.set_format(format.to_owned());
        let revision = if format.eq_ignore_ascii_case("Native") { self.revision()? } else { 0 };
        if streaming == Streaming::Whole {
            let output = connection.query(sql, &self.default_format, parameters)?;
            if analysis.class == StatementClass::Unknown {
                // The engine's command line takes words like `exit` for commands of its own.
                let what = "Syntax error: this is no statement of ClickHouse's SQL";
                return Err(Exception::new(Exception::SYNTAX_ERROR, what).into());
            }
            reply.add_progress(output.progress());
            return match revision {
                0 => Ok(reply.write(output.data())?),
                _ => Ok(reply.write(&native::for_revision(output.data(), revision)?)?),
            };
        }
        let mut stream = connection.stream(sql, &self.default_format, parameters)?;
        let mut header: Option<Vec<u8>> = None;
        while let Some(piece) = stream.fetch()? {
            reply.add_progress(piece.progress());
            let data = piece.data();
            match (&header, streaming) {
                (None, Streaming::Header(kind)) => {
                    let length = kind.length(data).ok_or_else(|| unlike_format(format))?;
                    header = Some(data[..length].to_vec());
                    reply.write(data)?;
                }
                (Some(header), _) => {
                    reply.write(data.strip_prefix(header.as_slice()).ok_or_else(|| unlike_format(format))?)?;
                }
                // Pieces are whole blocks.
                (None, _) if revision > 0 => reply.write(&native::for_revision(data, revision)?)?,
                (None, _) => reply.write(data)?,
            }
        }
        Ok(())
    }

    /// `client_protocol_version`: which revision of Native the client reads.
    fn revision(&self) -> Result<u64, Exception> {
        match self.parameters.get("client_protocol_version") {
            None | Some("") => Ok(0),
            Some(text) => text.parse().map_err(|_| {
                let what = format!("client_protocol_version {text:?} is not a number");
                Exception::new(Exception::BAD_ARGUMENTS, what)
            }),
        }
    }

    /// Rules that the embedded engine has no setting for.
    fn check_mentions(&self, sql: &[u8], parameters: &Parameters, changes: bool) -> Result<(), Exception> {
        let mentions = statement::mentions(sql);
        if mentions.client_file {
            let what = "INTO OUTFILE and FROM INFILE are for the command line client, not for the HTTP interface";
            return Err(Exception::new(Exception::NOT_IMPLEMENTED, what));
        }
        if self.account.access == Access::Full {
            return Ok(());
        }
        let user = &self.account.name;
        let deny = |what: &str| {
            Err(Exception::new(Exception::ACCESS_DENIED, format!("{user}: Not enough privileges. {what}")))
        };
        if changes {
            let what = format!("{user}: Cannot execute query in readonly mode.");
            return Err(Exception::new(Exception::READONLY, what));
        }
        let outside = |call: &&String| self.shared.reaching_outside.contains(&call.to_ascii_lowercase());
        if let Some(call) = mentions.calls.iter().find(outside) {
            return deny(&format!("{call} reaches outside the database, which a read-only user may not."));
        }
        let path_in_parameter =
            mentions.identifier_parameter && parameters.0.iter().any(|(_, value)| value.contains('/'));
        if path_in_parameter || !mentions.paths.is_empty() {
            return deny("Names with a slash would read files, which a read-only user may not.");
        }
        Ok(())
    }
}

/// The statement, and perhaps the beginning of its data.
struct Text {
    bytes: Vec<u8>,
    /// Nothing more is in the body.
    whole: bool,
}

fn get_reads_only() -> Exception {
    let what = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should \
                use method POST for modifying queries.";
    Exception::new(Exception::READONLY, what)
}

fn unlike_format(format: &str) -> Exception {
    let what = format!("the engine's pieces of an answer in {format} do not begin with the same header");
    Exception::new(Exception::LOGICAL_ERROR, what)
}

fn read_some(body: &mut dyn Read, piece: &mut [u8]) -> Result<usize, Exception> {
    loop {
        match body.read(piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.map_err(body::exception),
        }
    }
}

/// Reads on until `bytes` has `limit` bytes or the body ends; answers whether it ended.
fn read_until(body: &mut dyn Read, bytes: &mut Vec<u8>, limit: usize) -> Result<bool, Exception> {
    let mut piece = vec![0; 64 << 10];
    while bytes.len() < limit {
        let count = read_some(body, &mut piece)?;
        if count == 0 {
            return Ok(true);
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    Ok(false)
}
