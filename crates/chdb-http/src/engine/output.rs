//! What comes out of a statement and goes into an INSERT: the results and streams of the library, freed by `Drop`.

use std::ptr::NonNull;

use super::{Api, Connection, RawInsert, RawResult, text};
use crate::exception::Exception;

/// Rows and bytes that a statement read, answered and wrote.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Read from storage.
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    /// In the answer.
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    /// Written, with what materialized views wrote.
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, more: Self) {
        self.read_rows += more.read_rows;
        self.read_bytes += more.read_bytes;
        self.result_rows += more.result_rows;
        self.result_bytes += more.result_bytes;
        self.written_rows += more.written_rows;
        self.written_bytes += more.written_bytes;
    }
}

/// An answer, or a piece of one, in the engine's memory.
pub(crate) struct Output {
    api: &'static Api,
    result: NonNull<RawResult>,
}

impl Output {
    pub(super) fn take(api: &'static Api, result: *mut RawResult) -> Result<Self, Exception> {
        let result = NonNull::new(result).ok_or_else(Exception::no_answer)?;
        let output = Self { api, result };
        // SAFETY: the result is alive; the text, if any, is zero-terminated and lives as long as it.
        match unsafe { text((api.result_error)(result.as_ptr())) } {
            Some(error) => Err(Exception::from_engine(error)),
            None => Ok(output),
        }
    }

    /// The formatted bytes; empty when there are none.
    pub(crate) fn data(&self) -> &[u8] {
        // SAFETY: the buffer belongs to the result, has the length it names, and is not written to any more.
        unsafe {
            let buffer = (self.api.result_buffer)(self.result.as_ptr());
            let length = (self.api.result_length)(self.result.as_ptr());
            if buffer.is_null() || length == 0 { &[] } else { std::slice::from_raw_parts(buffer, length) }
        }
    }

    /// What it took to make this answer or piece.
    pub(crate) fn progress(&self) -> Progress {
        let result = self.result.as_ptr();
        // SAFETY: the result is alive; these only read numbers of it.
        unsafe {
            Progress {
                read_rows: (self.api.storage_rows)(result),
                read_bytes: (self.api.storage_bytes)(result),
                result_rows: (self.api.result_rows)(result),
                result_bytes: (self.api.result_bytes)(result),
                written_rows: (self.api.rows_written)(result),
                written_bytes: (self.api.bytes_written)(result),
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: the result came from the engine and is freed once, here.
        unsafe { (self.api.destroy_result)(self.result.as_ptr()) };
    }
}

/// A SELECT in progress. Dropping it before its end cancels the query.
pub(crate) struct SelectStream<'c> {
    pub(super) connection: &'c mut Connection,
    pub(super) handle: Output,
    pub(super) ended: bool,
}

impl SelectStream<'_> {
    /// The next piece, or `None` at the end. After an error or the end there is nothing more.
    pub(crate) fn fetch(&mut self) -> Result<Option<Output>, Exception> {
        if self.ended {
            return Ok(None);
        }
        // SAFETY: both handles are alive, and the stream belongs to this connection.
        let piece = unsafe { (self.connection.api.fetch)(self.connection.raw(), self.handle.result.as_ptr()) };
        let piece = Output::take(self.connection.api, piece);
        match piece {
            Ok(piece) if !piece.data().is_empty() => Ok(Some(piece)),
            Ok(_) => {
                self.ended = true;
                Ok(None)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }
}

impl Drop for SelectStream<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: both handles are alive, and the stream belongs to this connection.
            unsafe { (self.connection.api.cancel_stream)(self.connection.raw(), self.handle.result.as_ptr()) };
        }
    }
}

/// An INSERT in progress. Dropping it before [`InsertStream::finish`] cancels it.
pub(crate) struct InsertStream<'c> {
    pub(super) connection: &'c mut Connection,
    pub(super) handle: NonNull<RawInsert>,
}

impl InsertStream<'_> {
    pub(super) fn error(&self) -> Option<Exception> {
        // SAFETY: the handle is alive; the text, if any, is zero-terminated and lives as long as it.
        unsafe { text((self.connection.api.insert_error)(self.handle.as_ptr())) }.map(Exception::from_engine)
    }

    /// Gives the engine more bytes, in pieces of any size; waits while it is busy with earlier ones.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Exception> {
        if data.is_empty() {
            return Ok(());
        }
        // SAFETY: the handle is alive; the bytes are given with their length and copied.
        let state = unsafe { (self.connection.api.append)(self.handle.as_ptr(), data.as_ptr().cast(), data.len()) };
        if state == 0 { Ok(()) } else { Err(self.error().unwrap_or_else(Exception::no_answer)) }
    }

    /// Ends the data and waits until the engine has stored it.
    pub(crate) fn finish(self) -> Result<Progress, Exception> {
        // SAFETY: the handle is alive; it is freed by Drop afterwards, as the interface asks in every case.
        let result = unsafe { (self.connection.api.done)(self.handle.as_ptr()) };
        Output::take(self.connection.api, result).map(|output| output.progress())
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is freed once, here. The library cancels first what was not finished.
        unsafe { (self.connection.api.destroy_insert)(self.handle.as_ptr()) };
    }
}
