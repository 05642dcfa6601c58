//! Buffers that are held only while there is something to carry.
//!
//! Each thread keeps a few that nobody uses; beyond that they are freed. So an idle circuit holds none, and a busy one
//! does not pay for a fresh one at every turn. Decides nothing.

use std::cell::RefCell;

/// What is read at once. Larger than any frame of yamux, so that one turn carries several.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Unused buffers that a thread keeps; further ones are freed.
const SPARE_BUFFERS: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER_BYTES`] bytes, with whatever was in it before. For whoever carries bytes beside a circuit: the streams
/// below it, for one.
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// One that nobody uses.
    #[must_use]
    pub fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()))
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// All of it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
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
