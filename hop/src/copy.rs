//! Carries the bytes of one circuit, both ways.
//!
//! Decides how much is carried in one turn: a bounded part, so that a busy circuit does not starve the others of its
//! connection. How much is allowed is for [`Flow`] to say, when a circuit is over for its owner. Never looks into what
//! it carries.
//!
//! An end of one side is passed on to the other and the opposite direction goes on. An error ends both.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_timer::Delay;
use web_time::Instant;

use crate::{
    buffer::{BUFFER_BYTES, Buffer},
    config::CircuitLimits,
    flow::{Allowance, Flow},
    ticket::Tally,
};

/// What one direction carries in one turn before others get theirs.
const TURN_BYTES: usize = 4 * BUFFER_BYTES;
/// What reading costs of a turn, however little is read.
const READ_COST: usize = 1_024;

/// Why a circuit could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// One direction had carried all that it may, and more came.
    #[error("more than a circuit may carry")]
    DataLimit,
    /// A stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Two streams, joined. Dropping it resets both unless they were closed.
pub(crate) struct Copier<S, D> {
    source: S,
    destination: D,
    to_destination: Half,
    to_source: Half,
    timer: Option<(Instant, Delay)>,
}

impl<S, D> Copier<S, D>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(source: S, destination: D, limits: &CircuitLimits, now: Instant) -> Self {
        Self {
            source,
            destination,
            to_destination: Half::new(limits, now),
            to_source: Half::new(limits, now),
            timer: None,
        }
    }

    /// Carries what there is; completes when both directions are closed. The tally counts what was handed on.
    pub(crate) fn poll(&mut self, tally: &Tally, cx: &mut Context<'_>) -> Poll<Result<(), CopyError>> {
        let now = Instant::now();
        let (source, destination) = (&mut self.source, &mut self.destination);
        let there = self
            .to_destination
            .poll(source, destination, &tally.to_destination, now, cx)?;
        let back = self.to_source.poll(destination, source, &tally.to_source, now, cx)?;
        let resume = match (there, back) {
            (Turn::Closed, Turn::Closed) => return Poll::Ready(Ok(())),
            (Turn::Over, _) | (_, Turn::Over) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            (Turn::Paused(one), Turn::Paused(other)) => one.min(other),
            (Turn::Paused(at), _) | (_, Turn::Paused(at)) => at,
            (Turn::Closed | Turn::Blocked, Turn::Closed | Turn::Blocked) => return Poll::Pending,
        };
        let timer = match &mut self.timer {
            Some(timer) if timer.0 == resume => timer,
            timer => timer.insert((resume, Delay::new(resume.saturating_duration_since(now)))),
        };
        if timer.1.poll_unpin(cx).is_ready() {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// How a direction's turn ended.
enum Turn {
    /// It has carried its part, and there may be more.
    Over,
    /// It waits for one of the streams.
    Blocked,
    /// Its rate allows no more until then.
    Paused(Instant),
    /// The end was passed on.
    Closed,
}

/// One direction.
struct Half {
    flow: Flow,
    state: State,
    flushing: Flushing,
}

enum State {
    /// Nothing is held.
    Empty,
    /// This part of a buffer was read and not written.
    Holding {
        buffer: Buffer,
        start: usize,
        end: usize,
    },
    /// The reader has ended.
    Closing,
    Closed,
}

/// Whether what was written may still wait in the writer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flushing {
    Needed,
    Done,
}

impl Half {
    fn new(limits: &CircuitLimits, now: Instant) -> Self {
        Self {
            flow: Flow::new(limits, now),
            state: State::Empty,
            flushing: Flushing::Done,
        }
    }

    fn poll(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        tally: &AtomicU64,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<Turn, CopyError> {
        let mut left = TURN_BYTES;
        loop {
            match &mut self.state {
                State::Empty => {
                    if left == 0 {
                        return Ok(Turn::Over);
                    }
                    let (most, allowance) = match self.flow.allowance(BUFFER_BYTES, now) {
                        Allowance::WaitUntil(at) => {
                            self.flush(writer, cx)?;
                            return Ok(Turn::Paused(at));
                        }
                        allowance @ Allowance::Take(most) => (most, allowance),
                        // One byte more shows whether it is the end. Whoever reads gets what was allowed before that.
                        allowance @ Allowance::Spent => {
                            if self.flush(writer, cx)? == Flushing::Needed {
                                return Ok(Turn::Blocked);
                            }
                            (1, allowance)
                        }
                    };
                    let mut buffer = Buffer::take();
                    let Poll::Ready(read) = Pin::new(&mut *reader).poll_read(cx, &mut buffer.bytes_mut()[..most])
                    else {
                        self.flush(writer, cx)?;
                        return Ok(Turn::Blocked);
                    };
                    self.state = match (read?, allowance) {
                        (0, _) => State::Closing,
                        (_, Allowance::Spent | Allowance::WaitUntil(_)) => return Err(CopyError::DataLimit),
                        (end, Allowance::Take(_)) => {
                            self.flow.handle_taken(end);
                            left = left.saturating_sub(end.max(READ_COST));
                            State::Holding { buffer, start: 0, end }
                        }
                    };
                }
                State::Holding { buffer, start, end } => {
                    let Poll::Ready(written) = Pin::new(&mut *writer).poll_write(cx, &buffer.bytes()[*start..*end])
                    else {
                        return Ok(Turn::Blocked);
                    };
                    let written = written?;
                    if written == 0 {
                        return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                    }
                    tally.fetch_add(written as u64, Ordering::Release);
                    self.flushing = Flushing::Needed;
                    *start += written;
                    if start >= end {
                        self.state = State::Empty;
                    }
                }
                State::Closing => match Pin::new(&mut *writer).poll_close(cx) {
                    Poll::Ready(closed) => {
                        closed?;
                        self.state = State::Closed;
                    }
                    Poll::Pending => return Ok(Turn::Blocked),
                },
                State::Closed => return Ok(Turn::Closed),
            }
        }
    }

    /// Sends off what was written. If that takes a while, the next turn goes on with it.
    fn flush(&mut self, writer: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> io::Result<Flushing> {
        if self.flushing == Flushing::Needed && Pin::new(writer).poll_flush(cx)?.is_ready() {
            self.flushing = Flushing::Done;
        }
        Ok(self.flushing)
    }
}

#[cfg(test)]
mod tests;
