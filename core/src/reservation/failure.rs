//! Why there is no slot, or not even a relay, in terms that a user can act on. Decides nothing.

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
    /// The browser did not even try: it refuses what the kind of address asks of it. Another kind of address may do, or
    /// another browser; the text comes from the transport.
    #[error("the relay cannot be reached from this browser: {0}")]
    RefusedByBrowser(String),
    /// Another peer answered at the address.
    #[error("another peer than the expected relay answers at this address")]
    WrongPeer,
    /// The connection was there and ended.
    #[error("the connection to the relay ended")]
    Disconnected,
    /// It does not take the token that it was shown.
    #[error("the relay does not accept this token")]
    WrongToken,
    /// It lets only some in, and not this peer: it asks for a token, for instance.
    #[error("the relay does not let this peer use it")]
    NotAllowed,
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

/// Why a relay was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddRelayError {
    /// It has no address to dial. Ask for one.
    #[error("the relay has no address")]
    NoAddress,
    /// There are [`MAX_RELAYS`](super::MAX_RELAYS) already. Do with those.
    #[error("there are as many relays already as a node keeps")]
    TooMany,
}
