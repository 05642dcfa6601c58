//! What a session asks of its stream and its browser, in the words of the browser's `RTCPeerConnection`. Decides nothing.

use bytes::Bytes;

#[cfg(doc)]
use super::Session;
use crate::signaling::{IceCandidate, SessionError};

/// What is to be done, in this order. Begin each before the next; only the outcome of those that name one is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create a channel labelled `init`, so that there is something to connect for; then `createOffer()`. Outcome:
    /// [`Session::handle_description_created`] or [`Session::handle_browser_error`].
    CreateOffer,
    /// `createAnswer()`. Outcome as above.
    CreateAnswer,
    /// `setLocalDescription()`. Outcome: [`Session::handle_local_description_set`] or an error.
    SetLocalDescription {
        /// Of which type.
        kind: DescriptionKind,
        /// The text.
        sdp: String,
    },
    /// `setRemoteDescription()`. Outcome: [`Session::handle_remote_description_set`] or an error.
    SetRemoteDescription {
        /// Of which type.
        kind: DescriptionKind,
        /// The text.
        sdp: String,
    },
    /// `addIceCandidate()`. Only a failure is told, by [`Session::handle_browser_error`], and only to be logged.
    AddCandidate(IceCandidate),
    /// Write these bytes, a whole message, to the stream.
    Send(Bytes),
    /// The connection stands: give it to whoever waits. From now on it is not the session's to close.
    HandOver,
    /// Close the channel labelled `init`, once it is open. Outcome: [`Session::handle_init_closed`].
    CloseInit,
    /// Close the stream, without a reset.
    CloseSignaling,
    /// The last action. On an error reset the stream and close the connection.
    Finish(Result<(), SessionError>),
}

/// `RTCSdpType`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DescriptionKind {
    /// The initiator's.
    Offer,
    /// The recipient's.
    Answer,
}

/// `RTCPeerConnectionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// Nothing happened yet.
    New,
    /// Candidates are tried.
    Connecting,
    /// The connection stands.
    Connected,
    /// It may come back by itself.
    Disconnected,
    /// Nothing works, or nothing works any more.
    Failed,
    /// `close()` was called.
    Closed,
}
