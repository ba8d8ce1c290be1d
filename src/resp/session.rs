//! What a connection has said about itself, and how it wants to be answered.

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::service::authentication::Presented;

/// Which answers a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::resp) enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// The command that is performed has asked that the next one gets none.
    SkipNext,
    /// All but the one to the command that is performed.
    Skip,
}

impl Replies {
    /// For the command that comes next.
    pub(in crate::resp) fn next(self) -> Self {
        match self {
            Self::SkipNext => Self::Skip,
            Self::Skip => Self::On,
            other => other,
        }
    }

    /// Whether the answer of this command is wanted.
    pub(in crate::resp) fn are_heard(self) -> bool {
        self == Self::On
    }
}

/// What a connection has said about itself.
#[derive(Default)]
pub(in crate::resp) struct Session {
    /// Number of the connection, unique in the process.
    pub(in crate::resp) id: u64,
    /// Whether it speaks RESP3.
    pub(in crate::resp) is_3: bool,
    /// The key that was accepted last. Whether it is still valid is looked at for each command.
    pub(in crate::resp) key: Option<Zeroizing<Vec<u8>>>,
    /// Its name, and those of its library and the library's version; empty where it has said none.
    pub(in crate::resp) name: Bytes,
    pub(in crate::resp) lib_name: Bytes,
    pub(in crate::resp) lib_ver: Bytes,
    pub(in crate::resp) replies: Replies,
    /// It has asked to be closed: the next answer is the last one.
    pub(in crate::resp) is_closing: bool,
}

impl Session {
    pub(in crate::resp) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// `RESET`: everything but the number, and what its library has said, is as on a new connection.
    pub(in crate::resp) fn reset(&mut self) {
        let (lib_name, lib_ver) = (self.lib_name.clone(), self.lib_ver.clone());
        *self = Self { lib_name, lib_ver, ..Self::new(self.id) };
    }

    /// The credentials of its commands.
    pub(in crate::resp) fn presented(&self) -> Presented<'_> {
        self.key.as_ref().map_or(Presented::Nothing, |key| Presented::Key(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_is_skipped_and_no_other() {
        let skipped = Replies::SkipNext.next();
        assert!(!skipped.are_heard() && skipped.next().are_heard());
        assert!(skipped.next().next().are_heard());
        assert!(!Replies::Off.next().are_heard(), "off stays off");
    }

    #[test]
    fn p9_a_reset_forgets_the_key() {
        let mut session = Session::new(7);
        session.key = Some(Zeroizing::new(b"key".to_vec()));
        session.is_3 = true;
        session.replies = Replies::Off;
        session.name = Bytes::from_static(b"pool");
        session.lib_name = Bytes::from_static(b"lib");
        session.reset();
        assert!(session.key.is_none() && !session.is_3 && session.replies.are_heard());
        assert_eq!(
            (session.id, &session.name[..], &session.lib_name[..]),
            (7, &b""[..], &b"lib"[..])
        );
    }
}
