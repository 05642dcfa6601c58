//! What [`Behaviour`](crate::Behaviour) tells, and why an attempt failed.

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use super::AttemptId;
use crate::{
    multiaddr::SplitError,
    signaling::{Phase, Role, SessionError},
};

/// How an attempt goes. Each ends with [`Event::Connected`] or [`Event::Failed`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An attempt has come this far.
    Phase {
        /// Which.
        attempt: AttemptId,
        /// With whom.
        peer: PeerId,
        /// Who began it.
        role: Role,
        /// How far.
        phase: Phase,
    },
    /// The direct connection is established.
    Connected {
        /// Which.
        attempt: AttemptId,
        /// With whom.
        peer: PeerId,
        /// Who began it.
        role: Role,
        /// The swarm's id of it.
        connection: ConnectionId,
    },
    /// There is no direct connection; the circuit, if there is one, lives on.
    Failed {
        /// Which.
        attempt: AttemptId,
        /// With whom.
        peer: PeerId,
        /// Who began it.
        role: Role,
        /// How far it had come.
        phase: Phase,
        /// Why.
        error: Error,
    },
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address has `/webrtc` and cannot be dialled.
    #[error(transparent)]
    Address(#[from] SplitError),
    /// The circuit for signalling could not be made, or was lost. The reason is libp2p's.
    #[error("the relayed connection to the other peer failed: {0}")]
    Circuit(String),
    /// The other peer makes no direct connections. The circuit is all there is.
    #[error("the other peer does not make direct connections")]
    NotSpoken,
    /// The other peer did not answer in time when it was asked for a stream.
    #[error("the other peer did not answer")]
    NoAnswer,
    /// The exchange of descriptions failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An attempt with the same peer is under way.
    #[error("a direct connection to the other peer is being made already")]
    AlreadyTrying,
    /// As many attempts as there may be are under way. Try again later.
    #[error("too many direct connections are being made at the same time")]
    Busy,
    /// The swarm has given the attempt up, or is gone.
    #[error("the attempt was given up")]
    Stopped,
}

/// Why [`Behaviour::upgrade`](crate::Behaviour::upgrade) began nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// There is no circuit with the peer. Dial one, or dial an address with `/webrtc`, which does it by itself.
    #[error("there is no relayed connection to the peer")]
    NoCircuit,
    /// An attempt with the same peer is under way. Wait for its end.
    #[error("a direct connection to the peer is being made already")]
    AlreadyTrying,
    /// As many attempts as there may be are under way. Try again later.
    #[error("too many direct connections are being made at the same time")]
    Busy,
}
