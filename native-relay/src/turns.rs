//! Who may read or write next, when there is more to carry than the processor can.
//!
//! libp2p reads from a connection, and writes to it, as long as there is something, a mebibyte and more in one go. While a
//! few connections have always something, a message on another waits for all of them, each time that it passes the relay.
//! So a connection reads and writes a bounded part at a time ([`TURN_BYTES`]); one that has not come to an end by then
//! waits in line, and the first in the line goes on when nothing else is to be done. Who has little to say is never in
//! that line.
//!
//! What is read and written sets the pace of everything between: deciphering, carrying from one to the other, enciphering.
//! Knows TCP and WebSocket; QUIC and WebRTC-direct bring their own tasks.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use peerway_hop::{BUFFER_BYTES, Buffer};
use tokio::sync::mpsc;

/// What a connection reads, or writes, before it waits for others. Carrying it takes about a tenth of a millisecond; less
/// would not be heard of any sooner, and cost more than it carries. It is what fits into one buffer, so that it is read in
/// one go.
const TURN_BYTES: usize = BUFFER_BYTES;
/// How many may be in line. Beyond it nobody waits: it is as if there were no turns.
const MAX_IN_LINE: usize = 16_384;
/// What reading or writing costs of a turn, however little it is.
const LEAST_COST: usize = 1_024;

/// The line. Lives as long as something can stand in it.
#[derive(Clone)]
pub(crate) struct Turns {
    /// Each direction of a connection is in it once at most.
    line: mpsc::Sender<Arc<Place>>,
}

impl Turns {
    /// Needs a runtime around it.
    pub(crate) fn new() -> Self {
        let (line, waiting) = mpsc::channel(MAX_IN_LINE);
        tokio::spawn(admit(waiting));
        Self { line }
    }

    /// The same stream, which from now on takes turns with all others.
    pub(crate) fn taken_by<S>(&self, stream: S) -> InTurn<S> {
        InTurn {
            stream,
            ahead: None,
            reading: Turn::new(self.clone()),
            writing: Turn::new(self.clone()),
        }
    }
}

/// Lets one after the other go on. Between two of them the runtime does whatever else there is to do, and looks for what has
/// arrived: that is what yielding means there.
async fn admit(mut waiting: mpsc::Receiver<Arc<Place>>) {
    while let Some(place) = waiting.recv().await {
        place.admitted.store(true, Ordering::Release);
        place.waker.wake();
        tokio::task::yield_now().await;
    }
}

/// What one direction of a connection and the line know of each other.
#[derive(Default)]
struct Place {
    admitted: AtomicBool,
    waker: AtomicWaker,
}

/// The turns of one direction of a connection.
struct Turn {
    place: Arc<Place>,
    state: State,
    turns: Turns,
}

#[derive(Clone, Copy)]
enum State {
    /// It may carry that much.
    Its {
        left: usize,
    },
    InLine,
}

impl Turn {
    const NEW: State = State::Its { left: TURN_BYTES };

    fn new(turns: Turns) -> Self {
        Self {
            place: Arc::default(),
            state: Self::NEW,
            turns,
        }
    }

    /// How much may be carried now; if nothing, whoever asks is woken when something may.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            match self.state {
                State::Its { left: 0 } => {
                    self.state = match self.turns.line.try_send(Arc::clone(&self.place)) {
                        Ok(()) => State::InLine,
                        // The line is full, or the runtime is ending.
                        Err(_) => Self::NEW,
                    };
                }
                State::Its { left } => return Poll::Ready(left),
                State::InLine => {
                    self.place.waker.register(cx.waker());
                    if !self.place.admitted.swap(false, Ordering::AcqRel) {
                        return Poll::Pending;
                    }
                    self.state = Self::NEW;
                }
            }
        }
    }

    /// That is what came of it.
    fn after<E>(&mut self, left: usize, carried: &Poll<Result<usize, E>>) {
        let left = match carried {
            Poll::Ready(Ok(carried)) => left.saturating_sub((*carried).max(LEAST_COST)),
            // For now it is at its end: what comes next comes in a turn of its own.
            Poll::Ready(Err(_)) | Poll::Pending => TURN_BYTES,
        };
        self.state = State::Its { left };
    }
}

/// A stream that takes turns with others, and reads a turn at once: those above it ask for a few kilobytes at a time.
pub(crate) struct InTurn<S> {
    stream: S,
    /// What was read of it and not yet asked for, if anything.
    ahead: Option<Ahead>,
    reading: Turn,
    writing: Turn,
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurn<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(ahead) = &mut this.ahead {
            let read = ahead.read(buffer);
            if ahead.is_empty() {
                this.ahead = None;
            }
            return Poll::Ready(Ok(read));
        }
        let left = ready!(this.reading.poll(cx));
        if buffer.len() >= left {
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer[..left]);
            this.reading.after(left, &read);
            return read;
        }
        let mut bytes = Buffer::take();
        let read = Pin::new(&mut this.stream).poll_read(cx, &mut bytes.bytes_mut()[..left]);
        this.reading.after(left, &read);
        let mut ahead = Ahead {
            bytes,
            start: 0,
            end: ready!(read)?,
        };
        let read = ahead.read(buffer);
        this.ahead = (!ahead.is_empty()).then_some(ahead);
        Poll::Ready(Ok(read))
    }
}

/// What was read before somebody asked for it.
struct Ahead {
    bytes: Buffer,
    start: usize,
    end: usize,
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let there = &self.bytes.bytes()[self.start..self.end];
        let read = there.len().min(buffer.len());
        buffer[..read].copy_from_slice(&there[..read]);
        self.start += read;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InTurn<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let left = ready!(this.writing.poll(cx));
        let most = bytes.len().min(left);
        let written = Pin::new(&mut this.stream).poll_write(cx, &bytes[..most]);
        this.writing.after(left, &written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
