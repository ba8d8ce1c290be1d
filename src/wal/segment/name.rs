//! The names of the log's files.

/// The kind of a file according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A segment, alive or prepared.
    Segment(u64),
    /// A file for reuse, named after its former segment.
    Spare(u64),
    /// A new file that was never completed; left by a crash.
    Fresh,
    /// It begins like a segment's name, but is not valid.
    Malformed,
    /// Not a file of the log.
    Other,
}

pub(crate) fn segment_name(seq: u64) -> String {
    format!("segment-{seq:016x}.log")
}

pub(crate) fn spare_name(seq: u64) -> String {
    format!("spare-{seq:016x}.log")
}

pub(crate) fn fresh_name(seq: u64) -> String {
    format!("fresh-{seq:016x}.tmp")
}

pub(crate) fn parse_name(name: &str) -> Named {
    // Only the exact form of `segment_name` is accepted, so that no two names mean one seq.
    let seq_in = |prefix: &str| {
        let digits = name.strip_prefix(prefix)?.strip_suffix(".log")?;
        u64::from_str_radix(digits, 16).ok()
    };
    if let Some(seq) = seq_in("segment-").filter(|seq| segment_name(*seq) == name) {
        Named::Segment(seq)
    } else if let Some(seq) = seq_in("spare-").filter(|seq| spare_name(*seq) == name) {
        Named::Spare(seq)
    } else if name.starts_with("fresh-") && name.ends_with(".tmp") {
        Named::Fresh
    } else if name.starts_with("segment-") {
        Named::Malformed
    } else {
        Named::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        assert_eq!(parse_name(&segment_name(0xabc)), Named::Segment(0xabc));
        assert_eq!(parse_name(&spare_name(3)), Named::Spare(3));
        assert_eq!(parse_name(&fresh_name(3)), Named::Fresh);
        assert_eq!(parse_name("segment-1.log"), Named::Malformed);
        assert_eq!(parse_name("segment-0000000000000ABC.log"), Named::Malformed);
        assert_eq!(parse_name("secret.key"), Named::Other);
    }
}
