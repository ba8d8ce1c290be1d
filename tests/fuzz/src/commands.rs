//! Records made of bytes: commands about a few digests, so that they meet.

use super::input::Input;

/// Appends a record about one of a few digests. Mostly a good one.
pub fn command(input: &mut Input<'_>, time: u64, out: &mut Vec<u8>) {
    let (kind, digest) = (input.u8() % 8, [input.u8() % 6; 16]);
    let deadline = time.saturating_add(input.scaled(24));
    let mut head = |kind: u8, flags: u8, uses: u16, payload_len: u32| {
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&uses.to_le_bytes());
        out.extend_from_slice(&payload_len.to_le_bytes());
        out.extend_from_slice(&digest);
    };
    match kind {
        0..=2 => {
            let (flags, uses, payload) =
                (input.u8() % 4, u16::from(input.u8() % 4), input.u8() % 40);
            head(1, flags, uses + 1, payload.into());
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend(std::iter::repeat_n(b'0' + payload % 10, payload.into()));
        }
        3 => {
            let [flags, left, more, payload] = input.array();
            let (flags, left, more, payload) = (flags % 4, left % 4, more % 4, payload % 40);
            head(2, flags, left.into(), payload.into());
            let keys = input.u8() % 4;
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend_from_slice(&time.saturating_sub(input.scaled(16)).to_le_bytes());
            out.extend_from_slice(&[left + more, 0, keys, 0, 0, 0, 0, 0]);
            (0..keys).for_each(|key| out.extend_from_slice(&[key; 16]));
            out.extend(std::iter::repeat_n(b'0' + payload % 10, payload.into()));
        }
        4 => head(3, 0, 0, 0),
        5 => {
            head(3, 1, 0, 0);
            out.extend_from_slice(&[input.u8() % 4; 16]);
        }
        6 => {
            head(4, 0, 0, 0);
            out.extend_from_slice(&deadline.to_le_bytes());
            out.extend_from_slice(&input.scaled(24).to_le_bytes());
        }
        _ => match input.u8() % 4 {
            0 | 2 => head(5, 0, 0, 0),
            1 => out.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 0]),
            _ => head(3, 2, deadline as u16, (deadline >> 16) as u32),
        },
    }
}
