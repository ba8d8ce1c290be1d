//! The tag at a position that was durable once.

use super::*;
use crate::wal::Tag;

#[test]
fn p5_every_position_of_a_log_has_the_tag_of_its_frame_and_another_history_has_others() {
    let histories = [b'x', b'y'].map(|text| {
        let disk = Memory::new();
        let mut wal = create(&disk);
        let mut positions: Vec<(Lsn, Tag)> = Vec::new();
        let mut time_ms = 0;
        while wal.current_seq() < 4 {
            time_ms += 1;
            append(&mut wal, time_ms, &[text; 400]);
            wal.sync().unwrap();
            positions.push((wal.durable(), wal.durable_tag().unwrap()));
            // A frame that is not durable does not change the durable tag.
            append(&mut wal, time_ms, b"later");
            assert_eq!(positions.last().map(|(_, tag)| *tag), wal.durable_tag());
        }
        wal.close(time_ms).unwrap();
        (disk, positions)
    });
    let [(disk, positions), (other, _)] = &histories;
    let (found, other) = (survey(&disk.storage()), survey(&other.storage()));
    let (found, other) = (found.unwrap().unwrap(), other.unwrap().unwrap());
    let alone = survey(&disk.storage()).unwrap().unwrap();
    let asked: Vec<_> = [Lsn::ZERO].into_iter().chain(positions.iter().map(|at| at.0)).collect();
    let (found, other) = (found.tags_at(&asked).unwrap(), other.tags_at(&asked).unwrap());
    assert_eq!((found.len(), other.len(), found[0]), (asked.len(), asked.len(), None), "before");
    for (place, (lsn, tag)) in positions.iter().enumerate() {
        assert_eq!(found[place + 1], Some(*tag), "{lsn:?}");
        assert_ne!(other[place + 1], Some(*tag), "{lsn:?}");
        assert_eq!(alone.tags_at(&[*lsn]).unwrap(), [Some(*tag)], "{lsn:?}");
    }
}
