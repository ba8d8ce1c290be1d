//! When the committer of a node has something to propose, and when it rests.

use super::*;
use crate::engine::clustered::{Accepts, Proposal};
use crate::model::cluster::{BootNonce, NodeId};

/// A stream that takes nothing; it may refuse.
struct Nobody {
    refuses: bool,
}

impl Proposer for Nobody {
    fn propose(&mut self, _: &Proposal<'_>) {}

    fn is_refused(&mut self) -> bool {
        self.refuses
    }
}

fn own(refuses: bool) -> Own {
    let membership = Membership {
        node: NodeId(1),
        nonce: BootNonce([1; 16]),
        answer_within: Duration::from_secs(10),
        format: 1,
        keys: [0; 16],
    };
    Own::new(membership, Box::new(Nobody { refuses }))
}

#[test]
fn p8_the_committer_rests_until_a_report_is_due() {
    for accepts in [Accepts::Everything, Accepts::WaitsWhileFull, Accepts::NothingWhileFull] {
        let (mut own, every) = (own(false), accepts.report_every());
        let begin = Duration::from_secs(100);
        own.add_report(b"report", begin);
        own.gathering = OwnBatch::default();
        for step in 0..50 {
            let now = begin + Duration::from_millis(100) * step;
            let rests = own.due_in(now, every) > Duration::ZERO;
            assert_eq!(rests, !own.wants_report(now, every), "{accepts:?}, {now:?}");
        }
    }
}

/// Without a leader, without an answer, and with a full disk, where nothing is repeated.
#[test]
fn p8_the_committer_rests_while_a_message_is_in_flight() {
    for (refuses, repeats) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut own, known) = (own(refuses), Replicated::default());
        let begin = Duration::from_secs(100);
        own.add_report(b"report", begin);
        for step in 0..400 {
            let now = begin + Duration::from_millis(5) * step;
            own.propose(&known, repeats, now, UnixMillis(1));
            let rest = own.due_in(now, Duration::from_secs(1));
            assert!(rest > Duration::ZERO, "refuses: {refuses}, repeats: {repeats}, {now:?}");
        }
    }
}
