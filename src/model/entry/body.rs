//! The memory of a body: uses and keys, if there are any, and the payload.

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::keys::{KEY_LEN, SLOT_LEN, index_slots, key_room, keys_len};
use super::parts::Parts;

/// Data that few entries need.
#[repr(C)]
pub(super) struct Uses {
    pub(super) left: AtomicU32,
    pub(super) total: u32,
    /// Number of readable keys; with [`APPENDING`] while another one is being written.
    pub(super) key_count: AtomicU32,
    /// Number of keys that there is room for.
    pub(super) room: u32,
}

pub(super) const USES_LEN: usize = size_of::<Uses>();
const BODY_ALIGN: usize = align_of::<Uses>();
const _: () = assert!(USES_LEN == 16 && KEY_LEN == 16);

/// Only one thread at a time appends a key.
pub(super) const APPENDING: u32 = 1 << 31;
// A slot of the index is aligned after `Uses` and any number of keys.
const _: () = assert!(USES_LEN.is_multiple_of(SLOT_LEN) && KEY_LEN.is_multiple_of(SLOT_LEN));

impl Uses {
    pub(super) fn key_count(&self) -> usize {
        (self.key_count.load(Ordering::Acquire) & !APPENDING) as usize
    }

    pub(super) fn room(&self) -> usize {
        self.room as usize
    }
}

fn layout(len: usize) -> Layout {
    // Cannot fail: a body is at most a megabyte of payload and 10,000 keys.
    Layout::from_size_align(len, BODY_ALIGN).unwrap_or(Layout::new::<Uses>())
}

/// The body of an entry of these parts; `None` if it is empty.
pub(super) fn allocate(parts: &Parts<'_>, with_uses: bool) -> Option<NonNull<u8>> {
    let room = key_room(parts.keys.len(), parts.uses_total, parts.uses_left);
    let head = if with_uses { USES_LEN + keys_len(room) } else { 0 };
    let len = head + parts.payload.len();
    if len == 0 {
        return None;
    }
    let layout = layout(len);
    // SAFETY: the length is not zero; the pointer is checked before it is written; the writes stay
    // within `len`: first `Uses`, then the slots after the room for keys, then the payload, as
    // `keys_len` and `head` add them up.
    unsafe {
        let Some(body) = NonNull::new(alloc::alloc(layout)) else {
            alloc::handle_alloc_error(layout)
        };
        let at = body.as_ptr();
        if with_uses {
            at.cast::<Uses>().write(Uses {
                left: AtomicU32::new(parts.uses_left),
                total: parts.uses_total,
                key_count: AtomicU32::new(0),
                room: room as u32,
            });
            at.add(USES_LEN + room * KEY_LEN).write_bytes(0, index_slots(room) * SLOT_LEN);
        }
        ptr::copy_nonoverlapping(parts.payload.as_ptr(), at.add(head), parts.payload.len());
        Some(body)
    }
}

/// Frees a body of `len` bytes.
///
/// # Safety
/// It was allocated in [`allocate`] with this length, and is not used any more.
pub(super) unsafe fn free(body: NonNull<u8>, len: usize) {
    // SAFETY: the same layout as in `allocate`; the rest is the caller's promise.
    unsafe { alloc::dealloc(body.as_ptr(), layout(len)) };
}
