//! Why a session ended without a direct connection, in words that can be shown to a user.
//!
//! Whatever the reason, the circuit lives on and carries the conversation; trying again later is for whoever dials.

use std::{fmt, io};

use super::{
    MAX_CANDIDATES, Phase,
    codec::{DecodeError, MessageKind},
};

/// How much of a browser's explanation is kept; the rest is cut off.
pub const MAX_REASON_CHARS: usize = 200;

/// Why a session ended without a direct connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The deadline passed; the phase says who was silent: up to [`Phase::Answer`] the other peer, in
    /// [`Phase::Candidates`] the network between. Try again later.
    #[error("there was no direct connection in time (it stopped at: {phase})")]
    TimedOut {
        /// Where it stopped.
        phase: Phase,
    },
    /// A message came that was not due. The other peer speaks the protocol differently: do not try again soon.
    #[error("the other peer sent an unexpected {message} (at: {phase})")]
    UnexpectedMessage {
        /// What came.
        message: MessageKind,
        /// When.
        phase: Phase,
    },
    /// What came was no message. The other peer speaks the protocol differently: do not try again soon.
    #[error("the other peer sent something unreadable: {0}")]
    Malformed(#[from] DecodeError),
    /// One side had more than [`MAX_CANDIDATES`] candidates. Do not try again soon.
    #[error("{side} sent more than {MAX_CANDIDATES} network addresses to try")]
    TooManyCandidates {
        /// Which side.
        side: Side,
    },
    /// The browser refused a step. If the reason names a description, the other peer sent one that this browser does not
    /// take: do not try again soon. If it is [`BrowserStep::CreateConnection`], this browser has no WebRTC, forbids it, or
    /// has too many connections.
    #[error("the browser could not {step}: {reason}")]
    Browser {
        /// What it refused.
        step: BrowserStep,
        /// In the browser's own words, of which at most [`MAX_REASON_CHARS`] are kept. They may quote what the other peer
        /// sent: show them as text only.
        reason: String,
    },
    /// Both sides tried every pair of network addresses, and none works: the networks or their firewalls do not let
    /// browsers through. Try again when a network has changed.
    #[error("the networks between the two browsers do not let them connect directly")]
    ConnectionFailed,
    /// Something in this page closed the connection before it stood. Try again when it is wanted.
    #[error("the direct connection was closed before it was there")]
    ConnectionClosed,
    /// The other peer ended the exchange before it was complete: it is leaving, or does not want to. Try again later.
    #[error("the other peer ended the exchange (at: {phase})")]
    StreamClosed {
        /// When.
        phase: Phase,
    },
    /// The exchange broke off: the circuit was lost, or the other peer gave up and reset the stream. Try again later, or as
    /// soon as there is a circuit again.
    #[error("the exchange through the relay broke off: {0}")]
    StreamFailed(io::ErrorKind),
    /// We ended it. See [`Cancellation`].
    #[error("{0}")]
    Cancelled(Cancellation),
}

impl SessionError {
    /// A browser's refusal. What cannot be printed, and what is too long, is left out of its words: a browser quotes the
    /// line of a description that it does not understand, and the line is the other peer's.
    #[must_use]
    pub fn browser(step: BrowserStep, reason: &str) -> Self {
        let printable = reason.chars().filter(|character| is_printable(*character));
        Self::Browser {
            step,
            reason: printable.take(MAX_REASON_CHARS).collect(),
        }
    }
}

/// Why we ended a session ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cancellation {
    /// It is not wanted any more. Nothing to do.
    Unwanted,
    /// Both sides dialled at once, and the other peer's session goes on instead. Nothing to do.
    Glare,
    /// The other peer began anew on another circuit. Nothing to do.
    Replaced,
}

/// One of the two sides of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Ours.
    Local,
    /// The other.
    Remote,
}

/// A call of the browser's `RTCPeerConnection` that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrowserStep {
    /// Its constructor, and all that belongs to setting it up.
    CreateConnection,
    /// `createOffer()`.
    CreateOffer,
    /// `createAnswer()`.
    CreateAnswer,
    /// `setLocalDescription()`.
    SetLocalDescription,
    /// `setRemoteDescription()`.
    SetRemoteDescription,
    /// `addIceCandidate()`. Never ends a session.
    AddCandidate,
}

/// Neither a control character nor one that changes the direction of what follows.
fn is_printable(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwanted => "the attempt was cancelled",
            Self::Glare => "the other peer's own attempt goes on instead",
            Self::Replaced => "the other peer's newer attempt goes on instead",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "this browser",
            Self::Remote => "the other peer",
        })
    }
}

impl fmt::Display for BrowserStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateConnection => "begin a direct connection",
            Self::CreateOffer => "create an offer",
            Self::CreateAnswer => "create an answer",
            Self::SetLocalDescription => "use its own description",
            Self::SetRemoteDescription => "use the other peer's description",
            Self::AddCandidate => "use a network address",
        })
    }
}
