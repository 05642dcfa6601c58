//! Signalling: how two browsers agree on a direct connection, over a stream of a circuit that a relay carries for them.
//!
//! [`session`] is the exchange of offer, answer and candidates as a state machine; [`codec`] what its messages look like
//! on the stream; [`candidate`] how one network candidate is written. Nothing here opens a stream, touches a browser or
//! reads a clock: bytes, the browser's callbacks and the time come in, [`Action`]s go out.
//!
//! The peer id of a direct connection is the one that the circuit has authenticated: the descriptions carry the
//! fingerprints of the certificates, and the browser checks those. So signalling must never run over a stream that is
//! not authenticated.

use std::fmt;

use libp2p_swarm::StreamProtocol;

pub mod candidate;
pub mod codec;
mod error;
pub mod session;

pub use candidate::IceCandidate;
pub use error::{BrowserStep, Cancellation, MAX_REASON_CHARS, SessionError, Side};
pub use session::{Action, ConnectionState, DescriptionKind, Session, SessionConfig};

/// The protocol of a signalling stream. The specification calls it `/webrtc-signaling`; what js-libp2p speaks has a version.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/webrtc-signaling/0.0.1");

/// Candidates that one side may send in a session, marks of their end included. When there are more, the session ends.
pub const MAX_CANDIDATES: usize = 256;

/// Who began a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Dialled: opens the stream and makes the offer.
    Initiator,
    /// Was dialled: takes the offer and answers.
    Recipient,
}

/// How far an attempt to connect directly has come. Never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The circuit to the other peer is dialled. A session does not exist yet.
    Circuit,
    /// The signalling stream is opened on the circuit. A session does not exist yet.
    Signaling,
    /// The offer is made, or awaited.
    Offer,
    /// The answer is awaited, or made.
    Answer,
    /// Both descriptions are exchanged; the browsers try each other's candidates.
    Candidates,
    /// The direct connection stands.
    Connected,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Circuit => "reaching it through the relay",
            Self::Signaling => "asking it for a direct connection",
            Self::Offer => "the offer",
            Self::Answer => "the answer",
            Self::Candidates => "trying network addresses",
            Self::Connected => "connected",
        })
    }
}
