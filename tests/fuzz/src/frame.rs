//! The log's reader: whatever the segments contain, it finds exactly the frames that the format
//! defines, or refuses and names the file and the place.

use jeton::model::token::{Digester, Secret};
use jeton::wal::{Continuity, LogKey, ReadError, survey};

use super::{cipher, forge, segment, spec};

/// Reads the log that the bytes stand for.
pub fn check(bytes: &[u8]) {
    let segments = forge::segments(bytes);
    let (disk, storage) = forge::disk(&segments);
    let wanted = spec::log(&segments);
    let read = survey(&storage).and_then(|survey| {
        let key = LogKey::new(&Digester::new(&Secret::from_bytes(cipher::SECRET), "default"));
        let survey = survey.expect("there is a log").with_key(&key)?;
        let (mut frames, mut last_time) = (Vec::new(), 0);
        let mut continuity = Continuity::default();
        for segment in &survey.segments {
            let read = segment.read()?;
            continuity.follow(&read)?;
            last_time = read.last_time_ms().unwrap_or(last_time);
            frames.extend(read.iter().map(|f| (f.lsn.0, f.log_time_ms, f.body.to_vec())));
        }
        assert_eq!(survey.tail.last_time_ms, last_time, "the tail's time");
        Ok((frames, survey.tail.end_lsn.0))
    });
    match (read, wanted) {
        (Ok((frames, end_lsn)), Ok(wanted)) => {
            let is_same = frames.len() == wanted.frames.len()
                && frames.iter().zip(&wanted.frames).all(|(a, b)| a == b);
            assert!(is_same, "other frames than are there: {frames:?} and not {wanted:?}");
            assert_eq!(end_lsn, wanted.end_lsn, "the end of the log");
        }
        (Err(ReadError::Damage(damage)), Err(spec::Damaged)) => {
            assert!(disk.names().contains(&damage.file), "{damage} in a file that is not there");
            assert!(damage.offset <= segment::SEGMENT_LEN as u64, "{damage}");
        }
        (Ok(_), Err(_)) => panic!("P5: a damaged log was read"),
        (Err(error), _) => panic!("{error}"),
    }
}
