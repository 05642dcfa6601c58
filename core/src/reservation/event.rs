//! What becomes known of a relay, in the past tense. Decides nothing.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use super::{RelayFailure, RelayKey};

/// Something that happened between us and a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEvent {
    /// A relay was added: a reservation on it is tried.
    Added {
        /// Names the relay from now on.
        relay: RelayKey,
        /// Its peer id, if the one who added it knew it.
        peer: Option<PeerId>,
    },
    /// A connection to the relay is being tried at this address.
    Dialed {
        /// Which relay.
        relay: RelayKey,
        /// The address that is tried.
        address: Multiaddr,
    },
    /// The relay granted a reservation: we can be reached through it.
    Reserved {
        /// Which relay.
        relay: RelayKey,
        /// Its peer id, proven by the connection.
        peer: PeerId,
        /// The address of the connection that carries the reservation.
        address: Multiaddr,
    },
    /// The relay is not reachable, refused, or dropped us; it is tried again after `retry_in`.
    Lost {
        /// Which relay.
        relay: RelayKey,
        /// Why.
        reason: RelayFailure,
        /// When the next try begins, counted from now.
        retry_in: Duration,
    },
    /// The relay was removed: no reservation on it is kept or tried any more. Nothing follows by this name.
    Removed {
        /// Which relay.
        relay: RelayKey,
    },
}
