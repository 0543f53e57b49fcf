//! A safe wrapper over the C interface of the ClickHouse engine library (`libchdb.so`, ClickHouse 26.7).
//!
//! The rules of the library that shape this file (its header `chdb.h`, and what was measured on it):
//! - the first connection starts the engine, closing the last one stops it: an [`Engine`] keeps an anchor connection;
//! - a connection serialises its statements and is not to be used by two threads at a time, but may move between them:
//!   [`Connection`] is `Send`, and every call takes it by `&mut`;
//! - every result, stream and connection has one function that frees it: they are called by `Drop`;
//! - the library starts threads that outlive any call, so it is never unloaded.
#![allow(unsafe_code, reason = "the one place that speaks to the engine's C interface")]

mod output;

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Mutex;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::exception::Exception;

pub(crate) use output::{InsertStream, Output, Progress, SelectStream};

/// `RTLD_NODELETE` of glibc (`bits/dlfcn.h`): `dlclose` leaves the library in place. `libloading` does not name it.
const RTLD_NODELETE: c_int = 0x1000;

/// Settings of every connection, where the embedded engine's own defaults differ from a server's.
const SERVER_DEFAULTS: [&CStr; 2] = [c"--implicit_select=0", c"--allow_introspection_functions=0"];

#[repr(C)]
struct RawConnection {
    _opaque: [u8; 0],
}
#[repr(C)]
struct RawResult {
    _opaque: [u8; 0],
}
#[repr(C)]
struct RawInsert {
    _opaque: [u8; 0],
}

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct RawAnalysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// Why the engine could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot load the ClickHouse library {path}: {source}")]
    Load { path: String, source: libloading::Error },
    #[error("{0:?} holds a zero byte and cannot be given to the engine as a path")]
    Path(std::path::PathBuf),
    #[error("the engine did not open its folder; its reason is in {log}")]
    Open { log: String },
}

/// Statement, default format, and parallel arrays of the names and values of parameters, each text with its length.
type Run<R> = unsafe extern "C" fn(
    *mut RawConnection,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut R;

/// The functions of the library. They live as long as the process: the library is never unloaded.
struct Api {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut *mut RawConnection,
    close: unsafe extern "C" fn(*mut *mut RawConnection),
    query: Run<RawResult>,
    stream: Run<RawResult>,
    fetch: unsafe extern "C" fn(*mut RawConnection, *mut RawResult) -> *mut RawResult,
    cancel_stream: unsafe extern "C" fn(*mut RawConnection, *mut RawResult),
    insert: Run<RawInsert>,
    append: unsafe extern "C" fn(*mut RawInsert, *const c_void, usize) -> c_int,
    done: unsafe extern "C" fn(*mut RawInsert) -> *mut RawResult,
    insert_error: unsafe extern "C" fn(*mut RawInsert) -> *const c_char,
    destroy_insert: unsafe extern "C" fn(*mut RawInsert),
    classify:
        unsafe extern "C" fn(*mut RawConnection, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int,
    result_buffer: unsafe extern "C" fn(*mut RawResult) -> *const u8,
    result_length: unsafe extern "C" fn(*mut RawResult) -> usize,
    result_error: unsafe extern "C" fn(*mut RawResult) -> *const c_char,
    result_rows: unsafe extern "C" fn(*mut RawResult) -> u64,
    result_bytes: unsafe extern "C" fn(*mut RawResult) -> u64,
    storage_rows: unsafe extern "C" fn(*mut RawResult) -> u64,
    storage_bytes: unsafe extern "C" fn(*mut RawResult) -> u64,
    rows_written: unsafe extern "C" fn(*mut RawResult) -> u64,
    bytes_written: unsafe extern "C" fn(*mut RawResult) -> u64,
    destroy_result: unsafe extern "C" fn(*mut RawResult),
}

impl Api {
    fn load(library: &Path) -> Result<&'static Self, libloading::Error> {
        // SAFETY: opening the library runs its initialisers, which only register things inside it. It is opened
        // RTLD_LOCAL, so its bundled C++ runtime, allocator and OpenSSL do not replace ours, and RTLD_NODELETE with the
        // handle leaked below, so no code of its threads is ever unmapped.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) }?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the signature of the field is the one that chdb.h of 26.7 declares for this name.
                *unsafe { library.get($name) }?
            };
        }
        let set_signal_handlers: unsafe extern "C" fn(c_int) = function!(c"chdb_set_signal_handlers_enabled");
        // SAFETY: to be called before the first connection, which this is; it only stores a flag.
        unsafe { set_signal_handlers(0) };
        let api = Self {
            connect: function!(c"chdb_connect"),
            close: function!(c"chdb_close_conn"),
            query: function!(c"chdb_query_with_params_n"),
            stream: function!(c"chdb_stream_query_with_params_n"),
            fetch: function!(c"chdb_stream_fetch_result"),
            cancel_stream: function!(c"chdb_stream_cancel_query"),
            insert: function!(c"chdb_stream_insert_with_params_n"),
            append: function!(c"chdb_stream_append"),
            done: function!(c"chdb_stream_done"),
            insert_error: function!(c"chdb_stream_insert_error"),
            destroy_insert: function!(c"chdb_destroy_insert_stream"),
            classify: function!(c"chdb_classify_query_n"),
            result_buffer: function!(c"chdb_result_buffer"),
            result_length: function!(c"chdb_result_length"),
            result_error: function!(c"chdb_result_error"),
            result_rows: function!(c"chdb_result_rows_read"),
            result_bytes: function!(c"chdb_result_bytes_read"),
            storage_rows: function!(c"chdb_result_storage_rows_read"),
            storage_bytes: function!(c"chdb_result_storage_bytes_read"),
            rows_written: function!(c"chdb_result_rows_written"),
            bytes_written: function!(c"chdb_result_bytes_written"),
            destroy_result: function!(c"chdb_destroy_query_result"),
        };
        std::mem::forget(library);
        Ok(Box::leak(Box::new(api)))
    }
}

/// The running engine over one data folder. It stops when this and every [`Connection`] are gone.
pub(crate) struct Engine {
    api: &'static Api,
    arguments: Vec<CString>,
    /// Held, never used: the engine would stop with the last connection between two requests. (In a lock, so that the
    /// engine can be shared.)
    _anchor: Mutex<Connection>,
}

impl Engine {
    /// Loads `library` and starts the engine over the folder `data` (created if needed) under the configuration file
    /// `config`; both must be absolute. `log` is only named in an error. One call per process.
    pub(crate) fn start(library: &Path, data: &Path, config: &Path, log: &Path) -> Result<Self, StartError> {
        let argument = |name: &str, path: &Path| {
            CString::new([name.as_bytes(), path.as_os_str().as_bytes()].concat())
                .map_err(|_| StartError::Path(path.to_owned()))
        };
        let mut arguments = vec![
            c"clickhouse".to_owned(),
            argument("--path=", data)?,
            // Without this the engine would read any ./config.xml of the working folder.
            argument("--config-file=", config)?,
        ];
        arguments.extend(SERVER_DEFAULTS.map(CStr::to_owned));
        let api =
            Api::load(library).map_err(|source| StartError::Load { path: library.display().to_string(), source })?;
        let anchor = open(api, &arguments).ok_or_else(|| StartError::Open { log: log.display().to_string() })?;
        Ok(Self { api, arguments, _anchor: Mutex::new(anchor) })
    }

    /// Opens a connection with settings of its own (0.3 to 2 ms).
    pub(crate) fn connect(&self) -> Result<Connection, Exception> {
        open(self.api, &self.arguments).ok_or_else(|| {
            Exception::new(Exception::NETWORK_ERROR, "the engine opened no connection; its log says why")
        })
    }
}

fn open(api: &'static Api, arguments: &[CString]) -> Option<Connection> {
    let mut pointers: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).ok()?;
    // SAFETY: `pointers` holds `count` zero-terminated strings that outlive the call; the engine copies and does not
    // write to them.
    let slot = NonNull::new(unsafe { (api.connect)(count, pointers.as_mut_ptr()) })?;
    Some(Connection { api, slot })
}

/// One connection to the engine: a session with its own settings, current database and temporary tables.
pub(crate) struct Connection {
    api: &'static Api,
    /// What `chdb_connect` answered: the place that holds the connection, which `chdb_close_conn` empties.
    slot: NonNull<*mut RawConnection>,
}

// SAFETY: a connection is bound to no thread (the library attaches the calling thread to it for each call); it is not
// Sync, so no two calls run at a time.
unsafe impl Send for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `slot` came from chdb_connect and is closed once, here. Streams borrow the connection, so none is
        // open.
        unsafe { (self.api.close)(self.slot.as_ptr()) };
    }
}

/// Values for `{name:Type}` in a statement, bound by the engine and never written into its text.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

/// The parallel arrays that the C interface takes; they borrow from the parameters.
struct ParameterArrays<'p> {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
    _borrowed: PhantomData<&'p Parameters>,
}

impl Parameters {
    fn arrays(&self) -> ParameterArrays<'_> {
        ParameterArrays {
            names: self.0.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: self.0.iter().map(|(name, _)| name.len()).collect(),
            values: self.0.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: self.0.iter().map(|(_, value)| value.len()).collect(),
            _borrowed: PhantomData,
        }
    }
}

/// What a text would do, as the engine's own parser sees it (`chdb_query_class`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementClass {
    /// Changes nothing.
    ReadOnly,
    /// Writes or defines data.
    Mutating,
    /// Session statements (SET, USE, temporary tables), SYSTEM, KILL, writes to files.
    Control,
    /// The text does not parse.
    Unknown,
}

/// What [`Connection::classify`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Analysis {
    /// Statements in the text; 0 when it is empty or does not parse.
    pub(crate) statements: u32,
    pub(crate) class: StatementClass,
}

impl Connection {
    fn raw(&self) -> *mut RawConnection {
        // SAFETY: `slot` points to the connection until it is closed by Drop.
        unsafe { *self.slot.as_ptr() }
    }

    /// Calls one of the functions that start a statement.
    fn run<R>(&mut self, function: Run<R>, sql: &[u8], format: &str, parameters: &Parameters) -> *mut R {
        let arrays = parameters.arrays();
        // SAFETY: the connection is open; text, format and arrays are given with their lengths and outlive the call,
        // which copies them.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                arrays.names.as_ptr(),
                arrays.name_lengths.as_ptr(),
                arrays.values.as_ptr(),
                arrays.value_lengths.as_ptr(),
                arrays.names.len(),
            )
        }
    }

    /// Runs `sql` to its end and holds the whole answer in memory, in `format` unless the text names another.
    pub(crate) fn query(&mut self, sql: &[u8], format: &str, parameters: &Parameters) -> Result<Output, Exception> {
        let result = self.run(self.api.query, sql, format, parameters);
        Output::take(self.api, result)
    }

    /// Runs a statement whose answer does not matter.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<(), Exception> {
        self.query(sql.as_bytes(), "Null", &Parameters::default()).map(drop)
    }

    /// Starts a SELECT whose answer is fetched in pieces. Each piece is formatted on its own: a format with a header
    /// repeats it in each, one with a footer must not be used.
    pub(crate) fn stream(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<SelectStream<'_>, Exception> {
        let result = self.run(self.api.stream, sql, format, parameters);
        let handle = Output::take(self.api, result)?;
        Ok(SelectStream { connection: self, handle, ended: false })
    }

    /// Starts an INSERT whose data follows in `format`. `sql` is the statement without `FORMAT` and without data.
    pub(crate) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<InsertStream<'_>, Exception> {
        let handle = self.run(self.api.insert, sql, format, parameters);
        let handle = NonNull::new(handle).ok_or_else(Exception::no_answer)?;
        let stream = InsertStream { connection: self, handle };
        match stream.error() {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Asks the engine's parser what `sql` would do; nothing runs.
    pub(crate) fn classify(&mut self, sql: &[u8]) -> Result<Analysis, Exception> {
        let mut analysis =
            RawAnalysis { struct_size: size_of::<RawAnalysis>() as u32, statement_count: 0, flags: 0, query_class: 0 };
        // SAFETY: the text is given with its length, the database to judge by is absent, and the structure names its
        // size.
        let state = unsafe {
            (self.api.classify)(self.raw(), sql.as_ptr().cast(), sql.len(), std::ptr::null(), 0, &raw mut analysis)
        };
        if state != 0 {
            return Err(Exception::no_answer());
        }
        let class = match analysis.query_class {
            0 => StatementClass::ReadOnly,
            1 | 2 => StatementClass::Mutating,
            3 => StatementClass::Control,
            _ => StatementClass::Unknown,
        };
        Ok(Analysis { statements: analysis.statement_count, class })
    }
}

/// A copy of a zero-terminated text.
///
/// # Safety
/// `pointer` is null or points to a zero-terminated text.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(String::from_utf8_lossy(text.to_bytes()).into_owned())
}

/// Makes UTC the zone of the process, which the engine reads from `TZ` when it starts.
///
/// To be called while the process has one thread.
pub(crate) fn use_utc() {
    // SAFETY: `serve` calls this first, before it starts its runtime and loads the engine, so nobody reads the
    // environment at the same time.
    unsafe { std::env::set_var(OsStr::new("TZ"), OsStr::new("UTC")) };
}

/// Ends the process at once, without the exit handlers: those of the library fail while a connection is open.
pub(crate) fn exit_now(code: i32) -> ! {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    // SAFETY: `_exit` of POSIX takes any number and does not come back.
    unsafe { _exit(code) }
}
