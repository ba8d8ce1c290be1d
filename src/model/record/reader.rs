//! A position in the body of a frame, from which fields are read.

use crate::model::entry::USES_MAX;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;

use super::replication::View;

/// Length of a record's head without a digest.
pub(super) const SHORT_HEAD_LEN: usize = 8;

/// The bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} of the frame's body is invalid: {what}")]
pub struct RecordError {
    /// Offset in the frame's body.
    pub at: usize,
    /// The fault.
    pub what: &'static str,
}

/// A position in a frame's body.
pub(super) struct Reader<'a> {
    body: &'a [u8],
    pub(super) at: usize,
    start: usize,
}

impl<'a> Reader<'a> {
    /// The record that begins at `at`.
    pub(super) fn new(body: &'a [u8], at: usize) -> Self {
        Self { body, at, start: at }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let end = self.at.saturating_add(len);
        let bytes = self.body.get(self.at..end).ok_or(self.error("cut short"))?;
        self.at = end;
        Ok(bytes)
    }

    /// The whole record, whose length is fixed.
    pub(super) fn view<const N: usize>(&mut self) -> Result<View<'a, N>, RecordError> {
        self.at = self.start;
        let bytes = self.take(N)?;
        bytes.try_into().map(View).map_err(|_| self.error("cut short"))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn digest(&mut self) -> Result<Digest, RecordError> {
        Ok(Digest::from_bytes(self.array()?))
    }

    pub(super) fn instant(&mut self) -> Result<UnixMillis, RecordError> {
        let bytes = self.array()?;
        self.instant_of(bytes)
    }

    pub(super) fn instant_of(&self, bytes: [u8; 8]) -> Result<UnixMillis, RecordError> {
        let instant = UnixMillis(u64::from_le_bytes(bytes));
        if instant > UnixMillis::MAX { Err(self.error("time out of range")) } else { Ok(instant) }
    }

    pub(super) fn count(&mut self, min: u32) -> Result<u32, RecordError> {
        let count = u32::from(u16::from_le_bytes(self.array()?));
        let valid = (min..=USES_MAX).contains(&count);
        if valid { Ok(count) } else { Err(self.error("count out of range")) }
    }

    pub(super) fn known(&self, flags: u8, known: u8) -> Result<(), RecordError> {
        if flags & !known == 0 { Ok(()) } else { Err(self.error("unknown flag")) }
    }

    pub(super) fn zero(&mut self, len: usize) -> Result<(), RecordError> {
        let all_zero = self.take(len)?.iter().all(|byte| *byte == 0);
        if all_zero { Ok(()) } else { Err(self.error("unused bytes are not zero")) }
    }

    pub(super) fn zero_head(&mut self, flags: u8) -> Result<(), RecordError> {
        self.known(flags, 0)?;
        self.zero(SHORT_HEAD_LEN - 2)
    }

    pub(super) fn error(&self, what: &'static str) -> RecordError {
        RecordError { at: self.start, what }
    }
}
