//! Buffers that a circuit has only while it has something to carry.
//!
//! Each thread keeps a few that nobody uses; beyond that they are freed. So an idle circuit holds none, and a busy one
//! does not pay for a fresh one at every turn. Decides nothing.

use std::cell::RefCell;

/// What is read at once. Larger than any frame of yamux, so that one turn carries several.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
/// Unused buffers that a thread keeps; further ones are freed.
const SPARE_BUFFERS: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER_BYTES`], with whatever was in it before.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        // An error means that the thread ends, and its spare buffers with it.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_BUFFERS {
                spare.push(bytes);
            }
        });
    }
}
