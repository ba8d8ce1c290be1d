//! The trace context of a request: `traceparent` as W3C Trace Context, level 1, has it.

/// The span that a request is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Not all zeros.
    pub trace_id: [u8; 16],
    /// Not all zeros.
    pub span_id: [u8; 8],
    /// Whether the caller has sampled it.
    pub is_sampled: bool,
}

const NAME: &[u8] = b"traceparent";
/// Version, trace id, span id and flags, with dashes between them.
const LEN: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

impl Parent {
    /// Reads the value of a `traceparent`; `None` for one that the standard calls invalid: zeros,
    /// version ff, capitals, another length in version 00.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LEN)?;
        let version = hex::<1>(&known[..2])?[0];
        // Later versions may go on behind another dash.
        let is_whole = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if version == u8::MAX || !is_whole || !dashes {
            return None;
        }
        let (trace_id, span_id) = (hex(&known[3..35])?, hex(&known[36..52])?);
        let [flags] = hex(&known[53..55])?;
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }

    /// Reads the one `traceparent` among the lines of a head. Two of them have two readings, so
    /// neither counts.
    pub(super) fn find(headers: &[u8]) -> Option<Self> {
        let mut found = None;
        let mut rest = headers;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let is_it = line.get(NAME.len()) == Some(&b':')
                && line[..NAME.len()].eq_ignore_ascii_case(NAME);
            if is_it && found.replace(line[NAME.len() + 1..].trim_ascii()).is_some() {
                return None;
            }
        }
        Self::parse(found?)
    }
}

/// Reads lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    const_hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}
