//! What a node can be told, in the imperative.

use libp2p::{Multiaddr, PeerId};

use crate::{
    access::AccessToken,
    chat::RoomName,
    reservation::{RelayKey, RelaySpec},
};

/// How a peer may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// A direct connection if there can be one, else the circuit.
    #[default]
    PreferDirect,
    /// A direct connection or none.
    DirectOnly,
    /// Only through a relay.
    RelayOnly,
}

/// Why the node should look at the world again at once rather than when its timers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// The host says that it is on line again.
    Online,
    /// The page became visible, or was brought back from the back/forward cache.
    Visible,
}

/// An instruction to a node. Commands whose result is wanted go through the methods of [`Node`](super::Node).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Keep a reservation on this relay too. A relay already known (by its peer id) gains the addresses.
    AddRelay(RelaySpec),
    /// The same, and show it this token before anything is asked of it: it lets only those in who have one. No other relay
    /// sees it.
    AddRelayWithToken {
        /// Which.
        relay: RelaySpec,
        /// What the relay's keeper gave.
        token: AccessToken,
    },
    /// Keep no reservation on this relay any more: its slot is given back and its connection closed, with the circuits on it.
    RemoveRelay(RelayKey),
    /// A relay of ours names these as relays of its network: when peers announce them, trying them does not count against what
    /// is tried on the word of strangers. At most [`MAX_NAMED_RELAYS`](crate::dial::foreign::MAX_NAMED_RELAYS) are heard.
    VouchForRelays(Vec<PeerId>),
    /// Dial this peer whatever the dial plan says of it, and keep it in the peer book.
    Connect {
        /// Who.
        peer: PeerId,
        /// How.
        reach: Reach,
    },
    /// Dial this peer at this address, which the user gave.
    ConnectTo {
        /// An address that ends in `/p2p/<peer>`.
        address: Multiaddr,
    },
    /// Close every connection to this peer, and leave it alone until it is heard of again or somebody connects to it.
    Disconnect {
        /// Whom.
        peer: PeerId,
    },
    /// Take part in a room.
    Join(RoomName),
    /// Leave a room.
    Leave(RoomName),
    /// Announce this display name from now on.
    SetName(Option<String>),
    /// Ask these STUN servers (`stun:HOST:PORT`, RFC 7064) for our public address when connecting browser to browser. Replaces
    /// those before; attempts under way keep theirs. A node that makes no such connections ignores it.
    SetStunServers(Vec<String>),
    /// The world may have changed: try now what waits for a timer.
    Nudge(Nudge),
    /// Say goodbye, close every connection, end the event loop.
    Shutdown,
}
