//! Lines of a file, of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Longer lines are cut: no server writes them.
const LEN_MAX: usize = 64 << 10;

/// A line without its line break.
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it had a line break.
    pub(super) is_whole: bool,
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
