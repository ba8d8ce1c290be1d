//! The tags of the frames that were the last ones at given positions.

use super::cipher::Tag;
use super::error::ReadError;
use super::reader::{Survey, SurveyedSegment, read_whole};
use super::segment::Lsn;
use super::walk::Walk;

impl Survey {
    /// For each of these positions, which ascend, the tag of the last frame that ends there or before
    /// it, which stands for the whole log up to there; `None` if that part of the log was released.
    /// Each segment is read at most twice.
    ///
    /// # Errors
    /// Damage, with file and offset, or an error of the operating system.
    pub fn tags_at(&self, lsns: &[Lsn]) -> Result<Vec<Option<Tag>>, ReadError> {
        let begin = self.segments.first().map_or(Lsn(u64::MAX), |first| first.header.base_lsn);
        let released = lsns.partition_point(|lsn| *lsn < begin);
        let (mut tags, mut rest) = (vec![None; released], &lsns[released..]);
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.header.base_lsn);
            let own = rest.partition_point(|lsn| next.is_none_or(|next| *lsn < next));
            let (own, after) = rest.split_at(own);
            if !own.is_empty() {
                self.tags_in(segment, at, own, &mut tags)?;
            }
            rest = after;
        }
        Ok(tags)
    }

    /// The same, for the positions in one segment.
    fn tags_in(
        &self,
        segment: &SurveyedSegment,
        at: usize,
        lsns: &[Lsn],
        tags: &mut Vec<Option<Tag>>,
    ) -> Result<(), ReadError> {
        let bytes = read_whole(segment.storage.as_ref(), &segment.header)?;
        let walked = Walk::over(&bytes, &segment.header)?;
        let mut before = match (walked.carried, at.checked_sub(1)) {
            (Some(carried), _) => Some(carried),
            (None, Some(before)) => last_tag(&self.segments[before])?,
            (None, None) => None,
        };
        let mut spans = walked.spans.iter().chain(&walked.seal).peekable();
        for lsn in lsns {
            while let Some(span) =
                spans.next_if(|span| span.fields.lsn.0 + span.fields.total_len() <= lsn.0)
            {
                before = Some(span.fields.tag(&bytes[span.at..]));
            }
            tags.push(before);
        }
        Ok(())
    }
}

fn last_tag(segment: &SurveyedSegment) -> Result<Option<Tag>, ReadError> {
    let bytes = read_whole(segment.storage.as_ref(), &segment.header)?;
    Ok(Walk::over(&bytes, &segment.header)?.last.map(|(_, tag)| tag))
}
