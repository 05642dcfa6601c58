//! `libp2p-websocket-websys`, with four of its habits corrected from outside.
//!
//! * Its flush waits for a 100 ms tick, three times in a handshake; the browser sends by itself, so ours is always done.
//! * It wakes nobody when the socket closes or a dial is refused; we look again every [`TICK`] while something waits.
//! * Its close waits for the other side; ours is done once the browser has been told.
//! * It never gives a dial up; we do, after [`DIAL_TIMEOUT`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_timer::Delay;
use libp2p::core::ConnectedPoint;
use libp2p::{
    Transport as _,
    core::transport::{map::Map, timeout::TransportTimeout},
};

use crate::transport::DIAL_TIMEOUT;

/// How late the end of a WebSocket is noticed at most (in a hidden tab browsers stretch it to a second, then a minute).
const TICK: Duration = Duration::from_millis(250);

type Inner = libp2p_websocket_websys::Transport;
type Wrap = fn(libp2p_websocket_websys::Connection, ConnectedPoint) -> Prompt;

pub(super) fn transport() -> TransportTimeout<Map<Inner, Wrap>> {
    let wrap: Wrap = |connection, _| Prompt::new(connection);
    TransportTimeout::with_outgoing_timeout(Inner::default().map(wrap), DIAL_TIMEOUT)
}

/// A connection that is looked at again while something waits for it.
pub(super) struct Prompt {
    inner: libp2p_websocket_websys::Connection,
    tick: Delay,
}

impl Prompt {
    fn new(inner: libp2p_websocket_websys::Connection) -> Self {
        Self {
            inner,
            tick: Delay::new(TICK),
        }
    }

    /// Tries `operation`, and again whenever the tick has passed; arranges to be woken by whichever comes first.
    fn poll_promptly<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(Pin<&mut libp2p_websocket_websys::Connection>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            if let Poll::Ready(done) = operation(Pin::new(&mut self.inner), cx) {
                return Poll::Ready(done);
            }
            match self.tick.poll_unpin(cx) {
                Poll::Ready(()) => self.tick.reset(TICK),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_promptly(cx, |inner, cx| inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_promptly(cx, |inner, cx| inner.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The browser sends what is queued and ends the handshake by itself; with a peer that is gone that takes it
        // long, and until then the connection would count as open.
        match Pin::new(&mut self.inner).poll_close(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}
