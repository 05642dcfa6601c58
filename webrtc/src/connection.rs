//! A connection: streams over the data channels of one peer connection.
//!
//! Decides how many streams there may be, how long one that nobody holds may linger for the other side's last words,
//! and how long a connection that is closed waits for what is still on its way.

pub(crate) mod link;

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use futures_timer::Delay;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use send_wrapper::SendWrapper;

use self::link::Link;
use crate::{
    rtc::{ConnectionState, Counters, RtcError, STREAM_LABEL},
    stream::{self, Stream},
};

/// How long the other side has to finish a stream that was finished here (js-libp2p waits as long).
const LINGER: Duration = Duration::from_secs(10);
/// How long a connection that is being closed waits for what is on its way.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// How often it looks.
const CLOSE_TICK: Duration = Duration::from_millis(20);

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No pair of candidates works any more: the network changed, or the other side is gone.
    #[error("the direct connection was lost")]
    Lost,
    /// It was closed, here or by the browser.
    #[error("the connection is closed")]
    Closed,
    /// The browser refused to open a channel.
    #[error(transparent)]
    Rtc(#[from] RtcError),
}

/// A WebRTC connection with a peer whose identity was proved before.
pub struct Connection {
    /// Never leaves the browser's one thread.
    inner: SendWrapper<Inner>,
}

struct Inner {
    link: Link,
    lingering: Vec<(Rc<stream::Shared>, Delay)>,
    closing: Option<Closing>,
}

struct Closing {
    ticks: u32,
    tick: Delay,
}

impl Connection {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            inner: SendWrapper::new(Inner {
                link,
                lingering: Vec::new(),
                closing: None,
            }),
        }
    }
}

impl Connection {
    /// What the browser counts of it.
    pub(crate) fn counters(&self) -> SendWrapper<Counters> {
        SendWrapper::new(self.inner.link.rtc().counters())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.inner.check()?;
        self.inner.link.poll_inbound(cx).map(Ok)
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.inner.check()?;
        Poll::Ready(Ok(self.inner.link.open(STREAM_LABEL)?))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.inner.poll_close(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        self.inner.link.hub().register_sweeper(cx);
        self.inner.sweep(cx);
        self.inner.check()?;
        Poll::Pending
    }
}

impl Inner {
    fn check(&self) -> Result<(), ConnectionError> {
        match self.link.state() {
            ConnectionState::Pending | ConnectionState::Connected => Ok(()),
            ConnectionState::Failed => Err(ConnectionError::Lost),
            ConnectionState::Closed => Err(ConnectionError::Closed),
        }
    }

    /// Closes the channels that nobody needs any more.
    fn sweep(&mut self, cx: &mut Context<'_>) {
        for stream in self.link.take_dropped() {
            self.lingering.push((stream, Delay::new(LINGER)));
        }
        self.lingering.retain_mut(|(stream, patience)| {
            let done = stream.is_over() || patience.poll_unpin(cx).is_ready();
            if done {
                stream.abandon();
            }
            !done
        });
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sweep(cx);
        let closing = self.closing.get_or_insert_with(|| Closing {
            ticks: 0,
            tick: Delay::new(CLOSE_TICK),
        });
        loop {
            let lingering = self.lingering.iter().map(|(stream, _)| stream);
            let unsent = lingering.chain(&self.link.streams()).any(|stream| stream.has_unsent());
            let waited = CLOSE_TICK.saturating_mul(closing.ticks);
            if !unsent || waited >= CLOSE_WITHIN || self.link.state() != ConnectionState::Connected {
                self.link.close();
                return Poll::Ready(());
            }
            if closing.tick.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            closing.ticks += 1;
            closing.tick.reset(CLOSE_TICK);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for (stream, _) in &self.lingering {
            stream.abandon();
        }
    }
}
