//! What this crate needs of a WebRTC implementation, and which one it gets.
//!
//! In a page that is the browser's (`rtc/browser.rs`, the only file that knows its API); elsewhere there is none yet, and
//! every attempt to make a connection says so. Never decides anything: it reports what happens and does as it is told.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod unsupported;

#[cfg(target_family = "wasm")]
pub(crate) use browser::{Channel, Connection, Counters, RawChannel};
#[cfg(not(target_family = "wasm"))]
pub(crate) use unsupported::{Channel, Connection, Counters, RawChannel};

use bytes::Bytes;

/// The label of every channel that carries a stream.
pub(crate) const STREAM_LABEL: &str = "";

/// A server that helps ICE to find candidates; see [`crate::Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IceServer {
    /// For example `stun:example.org:3478`.
    pub urls: Vec<String>,
}

impl IceServer {
    /// A server with one address: `stun:HOST:PORT`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()] }
    }
}

/// Why the WebRTC implementation did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcError {
    /// There is no WebRTC here: not in this browser, not with its settings, or not outside of one.
    #[error("WebRTC is not available here")]
    Unsupported,
    /// The browser refused.
    #[error("the browser could not {operation}: {message}")]
    Refused {
        /// What it was asked to do.
        operation: &'static str,
        /// What it said.
        message: String,
    },
}

/// What `RTCPeerConnection.connectionState` says, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Not connected yet, or for the moment no longer: ICE goes on by itself.
    Pending,
    /// ICE and DTLS are through.
    Connected,
    /// No candidate pair works (any more).
    Failed,
    /// Closed, by us or by the browser.
    Closed,
}

/// What `RTCDataChannel.readyState` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelState {
    Connecting,
    Open,
    /// Closing or closed: nothing can be sent any more.
    Closed,
}

/// A description of a session, half of what two peers exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Description {
    Offer,
    Answer,
}

/// Who is told what happens on a connection. Called from the browser's own callbacks: must not drop the connection.
pub(crate) trait ConnectionEvents {
    fn on_state(&self, state: ConnectionState);
    /// A local candidate as JSON; `None` when there will be no more.
    fn on_candidate(&self, candidate: Option<String>);
    /// The remote opened a channel. It must be attached before this returns: a message that arrives before is lost.
    fn on_channel(&self, channel: RawChannel);
}

/// Who is told what happens on a channel. Called from the browser's own callbacks: must not drop the channel.
pub(crate) trait ChannelEvents {
    fn on_open(&self);
    fn on_message(&self, message: Bytes);
    /// What waits to be sent fell to [`Channel`]'s threshold.
    fn on_writable(&self);
    fn on_closed(&self);
}
