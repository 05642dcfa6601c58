//! Reaching a peer: which addresses, in which order, by whom, how often.

use libp2p::PeerId;

/// Names one dial attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Browser to browser over `/webrtc`.
    WebRtc,
    /// A direct connection of another kind (TCP, QUIC, WebSocket, WebRTC-direct).
    Direct,
    /// Through a relay.
    Circuit {
        /// Which relay carries it.
        relay: PeerId,
    },
}

/// Why an attempt failed, in terms a user can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// No address was left that the rules allow to be dialled.
    #[error("it announces no address that can be dialled from here")]
    NoUsableAddress,
    /// Nothing answered in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// The relay has no reservation for the peer.
    #[error("the relay does not know it (any more)")]
    NoReservation,
    /// The relay refused to carry the circuit.
    #[error("the relay refused to connect us")]
    RelayRefused,
    /// Somebody else answered at that address.
    #[error("another peer answered at its address")]
    WrongPeer,
    /// The connection limits of this node or the other one forbid it.
    #[error("too many connections")]
    Denied,
    /// The transport failed; the text comes from the transport, for logs and diagnostics.
    #[error("the connection failed: {0}")]
    Transport(String),
}
impl Route {
    /// temporary
    pub fn of(endpoint: &libp2p::core::ConnectedPoint) -> Self {
        use libp2p::multiaddr::Protocol;
        let a = match endpoint {
            libp2p::core::ConnectedPoint::Dialer { address, .. } => address,
            libp2p::core::ConnectedPoint::Listener { local_addr, .. } => local_addr,
        };
        let mut last = None;
        for p in a {
            match p {
                Protocol::P2pCircuit => {
                    return Route::Circuit {
                        relay: last.unwrap_or(PeerId::random()),
                    };
                }
                Protocol::P2p(p) => last = Some(p),
                _ => {}
            }
        }
        Route::Direct
    }
}
