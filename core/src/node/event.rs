//! What a node tells its reader, in the past tense.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::{
    chat::{ChatMessage, RoomName},
    dial::{AttemptId, DialFailure, Route},
    reservation::{RelayEvent, RelayFailure, RelayKey},
};

/// Something that happened. [`View::apply`](crate::view::View::apply) folds events into what a UI draws.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A relay was added; the node will try to hold a reservation on it.
    RelayAdded {
        /// Names the relay from now on.
        relay: RelayKey,
        /// Its peer id, if the one who added it knew it.
        peer: Option<PeerId>,
    },
    /// A connection to the relay is being tried at this address.
    RelayDialed {
        /// Which relay.
        relay: RelayKey,
        /// The address that is tried.
        address: Multiaddr,
    },
    /// The relay granted a reservation: we can be reached through it.
    RelayReserved {
        /// Which relay.
        relay: RelayKey,
        /// Its peer id, proven by the connection.
        peer: PeerId,
        /// The address of the connection that carries the reservation.
        address: Multiaddr,
    },
    /// The relay is not reachable or dropped us; it is tried again after `retry_in`.
    RelayLost {
        /// Which relay.
        relay: RelayKey,
        /// Why.
        reason: RelayFailure,
        /// When the next try begins, counted from now.
        retry_in: Duration,
    },
    /// A relay was removed: no reservation on it is kept or tried any more.
    RelayRemoved {
        /// Which relay.
        relay: RelayKey,
    },
    /// Round-trip time of the connection to a relay.
    RelayMeasured {
        /// Which relay.
        relay: RelayKey,
        /// Time from ping to pong.
        round_trip: Duration,
    },
    /// A peer was heard of for the first time, or again after it was gone.
    PeerDiscovered {
        /// Who.
        peer: PeerId,
        /// The name it announces, already bounded and cleaned.
        name: Option<String>,
    },
    /// A peer announces another name than before.
    PeerRenamed {
        /// Who.
        peer: PeerId,
        /// The new name.
        name: Option<String>,
    },
    /// A peer said goodbye, or was silent for longer than it stays fresh, and no connection to it is left.
    PeerGone {
        /// Who.
        peer: PeerId,
    },
    /// The best way to reach a peer changed; `None` when no connection to it is left.
    RouteChanged {
        /// Who.
        peer: PeerId,
        /// The best connection's route.
        route: Option<Route>,
    },
    /// Round-trip time of the best connection to a peer.
    PeerMeasured {
        /// Who.
        peer: PeerId,
        /// Time from ping to pong.
        round_trip: Duration,
    },
    /// A dial began.
    AttemptStarted {
        /// Who is dialled.
        peer: PeerId,
        /// Names the attempt.
        attempt: AttemptId,
    },
    /// A dial failed.
    AttemptFailed {
        /// Who was dialled.
        peer: PeerId,
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        reason: DialFailure,
    },
    /// A peer tried to connect to us directly, from browser to browser, and that failed.
    OfferFailed {
        /// Who tried.
        peer: PeerId,
        /// Why.
        reason: DialFailure,
    },
    /// The node takes part in a room now.
    RoomJoined {
        /// Which room.
        room: RoomName,
    },
    /// The node no longer takes part in a room.
    RoomLeft {
        /// Which room.
        room: RoomName,
    },
    /// A line was said in a room: by someone else, or by us.
    MessageReceived {
        /// Which room.
        room: RoomName,
        /// The line.
        message: ChatMessage,
    },
    /// A line of ours left this node towards at least one peer.
    MessageSent {
        /// Which room.
        room: RoomName,
        /// The line's id, as in its [`Event::MessageReceived`].
        id: String,
    },
    /// A line of ours reached nobody for as long as [`ChatConfig::patience`](crate::chat::ChatConfig::patience) says
    /// and is not tried any more.
    MessageUndelivered {
        /// Which room.
        room: RoomName,
        /// The line's id, as in its [`Event::MessageReceived`].
        id: String,
    },
    /// The reader was too slow and `missed` events are lost to it: take a snapshot with `Node::view`.
    Lagged {
        /// How many events were dropped.
        missed: u64,
    },
    /// The node has shut down; no event follows.
    Stopped,
}

impl From<RelayEvent> for Event {
    fn from(event: RelayEvent) -> Self {
        match event {
            RelayEvent::Added { relay, peer } => Self::RelayAdded { relay, peer },
            RelayEvent::Dialed { relay, address } => Self::RelayDialed { relay, address },
            RelayEvent::Reserved { relay, peer, address } => Self::RelayReserved { relay, peer, address },
            RelayEvent::Lost {
                relay,
                reason,
                retry_in,
            } => Self::RelayLost {
                relay,
                reason,
                retry_in,
            },
            RelayEvent::Removed { relay } => Self::RelayRemoved { relay },
        }
    }
}
