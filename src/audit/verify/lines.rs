//! Lines of a file, of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::IgnoredAny;

use crate::audit::chain::split;

/// Longer lines are cut: no server writes them.
const LEN_MAX: usize = 64 << 10;

/// A line without its line break.
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it had a line break.
    pub(super) is_whole: bool,
}

impl Line<'_> {
    /// Whether it is all of a line, or more than one, though it may have no line break.
    pub(super) fn is_complete(&self) -> bool {
        self.bytes.len() >= LEN_MAX
            || split(self.bytes).is_some()
            || serde_json::from_slice::<IgnoredAny>(self.bytes).is_ok()
    }
}

pub(super) struct Lines {
    reader: BufReader<File>,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::with_capacity(1 << 20, File::open(file)?),
            buffer: Vec::new(),
        })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        self.reader.by_ref().take(LEN_MAX as u64).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let is_whole = self.buffer.pop_if(|last| *last == b'\n').is_some();
        if !is_whole && self.buffer.len() == LEN_MAX {
            return Ok(Some(Line { is_whole: self.skip()?, bytes: &self.buffer }));
        }
        Ok(Some(Line { bytes: &self.buffer, is_whole }))
    }

    /// Skips the rest of a line. Returns whether it ends with a line break.
    fn skip(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.reader.fill_buf()?;
            let (len, end) = (bytes.len(), memchr::memchr(b'\n', bytes));
            self.reader.consume(end.map_or(len, |end| end + 1));
            if end.is_some() || len == 0 {
                return Ok(end.is_some());
            }
        }
    }
}
