//! A segment read in pieces gives the same result as one read whole, damage included.

use super::*;
use crate::wal::SurveyedSegment;
use crate::wal::pieces::PIECE_LEN;

/// Frames with their Lsn, and how many pieces they came in.
type Read = (Vec<(u64, u64, Vec<u8>)>, usize);

fn in_pieces(segment: &SurveyedSegment) -> Result<Read, ReadError> {
    let (mut pieces, mut buffer) = (segment.pieces()?, Vec::new());
    let (mut seen, mut count) = (Vec::new(), 0);
    while let Some(frames) = pieces.next(buffer)? {
        seen.extend(frames.iter().map(|f| (f.lsn.0, f.log_time_ms, f.body.to_vec())));
        count += 1;
        buffer = frames.into_buffer();
    }
    Ok((seen, count))
}

/// Also called by every other test of the log that reads it.
pub(super) fn assert_as_whole(segment: &SurveyedSegment) {
    let whole = segment.read().map(|frames| {
        frames.iter().map(|f| (f.lsn.0, f.log_time_ms, f.body.to_vec())).collect::<Vec<_>>()
    });
    let read = in_pieces(segment).map(|(seen, _)| seen);
    assert_eq!(read.map_err(|e| e.to_string()), whole.map_err(|e| e.to_string()));
}

#[test]
fn p8_a_segment_is_read_in_pieces_that_do_not_depend_on_its_size() {
    let large = Config {
        segment_size: 64 << 20,
        log_min_size: 256 << 20,
        max_age: None,
        preparing: Preparing::Inline,
    };
    let disk = Memory::new();
    let mut wal = Wal::create(disk.storage(), large, &key()).unwrap();
    // Frames longer than a piece, about as long, and short ones between them.
    let piece = PIECE_LEN as usize;
    for (time_ms, len) in (0..).zip([10, piece * 3 / 2, 5, piece, piece - 32, 700, 1 << 20]) {
        append(&mut wal, time_ms, &vec![time_ms as u8 + 1; len]);
        wal.sync().unwrap();
    }
    wal.close(9).unwrap();
    let found = survey(&disk.storage()).unwrap().unwrap();
    assert_as_whole(&found.segments[0]);
    let (frames, pieces) = in_pieces(&found.segments[0]).unwrap();
    assert_eq!(frames.len(), 8);
    assert!((4..8).contains(&pieces), "{pieces}");
    let mut pieces = found.segments[0].pieces().unwrap();
    let mut buffer = Vec::new();
    while let Some(frames) = pieces.next(std::mem::take(&mut buffer)).unwrap() {
        buffer = frames.into_buffer();
        assert!(buffer.len() <= 3 * piece, "{}", buffer.len());
    }
    // The same damage, with the same offset, far after the first piece.
    disk.edit(&crate::wal::segment::segment_name(1), |bytes| bytes[4 * piece] ^= 1);
    assert_as_whole(&found.segments[0]);
    assert!(in_pieces(&found.segments[0]).is_err());
}
