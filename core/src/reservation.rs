//! Which relays we hold slots on; when to retry, move, or give up.

use libp2p::{Multiaddr, PeerId};

/// Names a relay for as long as the node lives, also before its peer id is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayKey(pub u32);

/// A relay to hold a reservation on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySpec {
    /// Its peer id; without it, the first connection tells.
    pub peer: Option<PeerId>,
    /// Transport addresses without a final `/p2p`, in the order in which they are tried.
    pub addrs: Vec<Multiaddr>,
}

/// Why we hold no slot on a relay, in terms a user can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayFailure {
    /// Nothing answered at any of its addresses in time.
    #[error("the relay did not answer in time")]
    TimedOut,
    /// It could not be connected to; the text comes from the transport.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(String),
    /// Another peer answered at the address.
    #[error("another peer than the expected relay answers at this address")]
    WrongPeer,
    /// The connection was there and ended.
    #[error("the connection to the relay ended")]
    Disconnected,
    /// It answered, and refused a reservation.
    #[error("the relay refused a reservation: {0}")]
    Refused(String),
    /// It does not offer reservations (no circuit relay v2 hop protocol).
    #[error("this peer is not a relay")]
    NotARelay,
    /// Gossip does not flow over the connection although it stands.
    #[error("the relay does not take part in discovery")]
    NoGossip,
}
