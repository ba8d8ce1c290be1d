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
            positions.push((wal.durable(), wal.last_tag()));
        }
        wal.close(time_ms).unwrap();
        (disk, positions)
    });
    let [(disk, positions), (other, _)] = &histories;
    let (found, other) = (survey(&disk.storage()), survey(&other.storage()));
    let (found, other) = (found.unwrap().unwrap(), other.unwrap().unwrap());
    for (lsn, tag) in positions {
        assert_eq!(found.tag_at(*lsn).unwrap(), Some(*tag), "{lsn:?}");
        assert_ne!(other.tag_at(*lsn).unwrap(), Some(*tag), "{lsn:?}");
    }
    assert_eq!(found.tag_at(Lsn::ZERO).unwrap(), None, "before the log");
}
