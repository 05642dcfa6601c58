//! What things are called where they are counted: each a closed list of names, so that nothing that a remote says becomes
//! one. The names are those of metrics' labels and of the log.
//!
//! Decides which of our names foreign events have; counts nothing.

use std::io;

use libp2p::{
    Multiaddr,
    gossipsub::{MessageAcceptance, TopicHash},
    multiaddr::Protocol,
    swarm::ConnectionDenied,
};
use peerway_core::behaviours::LimitExceeded;
use peerway_hop::{Bound, Denial, OpenError, Outcome, ReservationEnd};

use crate::{access, admission::Refused, discovery, rooms};

/// One of a closed list.
pub(crate) trait Label: Copy + Ord + 'static {
    /// All there are.
    const ALL: &'static [Self];

    /// What it is called.
    fn name(self) -> &'static str;
}

/// An enum whose variants have names.
macro_rules! labels {
    ($(#[$doc:meta])* enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

labels! {
    /// How a connection comes here.
    enum Transport {
        Tcp = "tcp",
        Quic = "quic",
        WebSocket = "websocket",
        WebRtcDirect = "webrtc-direct",
        /// Through another relay.
        Circuit = "circuit",
        Other = "other",
    }
}

labels! {
    /// What was denied.
    enum Kind {
        Connection = "connection",
        Reservation = "reservation",
        Circuit = "circuit",
    }
}

labels! {
    /// Why something was denied. What a limit denied has the limit's name in `[limits]`.
    enum Reason {
        Connections = "connections",
        ConnectionsPerPeer = "connections_per_peer",
        ConnectionsPerAddress = "connections_per_address",
        PendingConnections = "pending_connections",
        Memory = "memory",
        Reservations = "reservations",
        ReservationsPerPeer = "reservations_per_peer",
        ReservationsPerAddress = "reservations_per_address",
        Circuits = "circuits",
        /// Of the one who asks, or of the one who is asked for.
        CircuitsPerPeer = "circuits_per_peer",
        PeerDenied = "peer_denied",
        NetworkDenied = "network_denied",
        NotAllowed = "not_allowed",
        TokenMissing = "token_missing",
        /// This relay has nothing to announce.
        NoAddress = "no_address",
        /// Asked for through another relay.
        Relayed = "relayed",
        /// Whoever asked is gone.
        SourceGone = "source_gone",
        NoReservation = "no_reservation",
        DestinationRefused = "destination_refused",
        DestinationTimedOut = "destination_timed_out",
        DestinationGone = "destination_gone",
        /// It does not speak the protocol, or not well, or its stream broke.
        DestinationFailed = "destination_failed",
        Other = "other",
    }
}

labels! {
    /// How a reservation ended.
    enum SlotEnd {
        Expired = "expired",
        ConnectionClosed = "connection_closed",
        AccessWithdrawn = "access_withdrawn",
        Other = "other",
    }
}

labels! {
    /// How a circuit ended.
    enum CircuitEnd {
        Finished = "finished",
        DurationLimit = "duration_limit",
        DataLimit = "data_limit",
        AccessWithdrawn = "access_withdrawn",
        Failed = "failed",
        ConnectionClosed = "connection_closed",
        Other = "other",
    }
}

labels! {
    /// What a gossip message is about.
    enum Topic {
        Discovery = "discovery",
        Room = "room",
        Other = "other",
    }
}

labels! {
    /// What became of a gossip message whose signature is good.
    enum Verdict {
        /// It is passed on.
        Accepted = "accepted",
        /// It is old, or its source talks too much.
        Ignored = "ignored",
        /// It breaks the rules.
        Rejected = "rejected",
    }
}

labels! {
    /// What became of a presented token.
    enum Presented {
        Allowed = "allowed",
        Denied = "denied",
    }
}

labels! {
    /// What became of a datagram at a STUN socket.
    enum Stun {
        Answered = "answered",
        /// Its source, or everybody together, asks too much.
        Limited = "limited",
        /// It is no request that can be answered.
        Malformed = "malformed",
    }
}

impl Transport {
    /// By the local address of a connection that came in, or the remote one of one that went out.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: no other part says what the transport is"
    )]
    pub(crate) fn of(address: &Multiaddr) -> Self {
        address.iter().fold(Self::Other, |found, part| match part {
            Protocol::P2pCircuit => Self::Circuit,
            Protocol::Ws(_) | Protocol::Wss(_) => Self::WebSocket,
            Protocol::WebRTCDirect => Self::WebRtcDirect,
            Protocol::Quic | Protocol::QuicV1 => Self::Quic,
            Protocol::Tcp(_) => Self::Tcp,
            _ => found,
        })
    }
}

impl Kind {
    /// Why it can be denied.
    pub(crate) fn reasons(self) -> &'static [Reason] {
        use Reason::*;
        match self {
            Self::Connection => &[
                Connections,
                ConnectionsPerPeer,
                ConnectionsPerAddress,
                PendingConnections,
                Memory,
                PeerDenied,
                NetworkDenied,
                NotAllowed,
                Other,
            ],
            Self::Reservation => &[
                Reservations,
                ReservationsPerPeer,
                ReservationsPerAddress,
                PeerDenied,
                NetworkDenied,
                NotAllowed,
                TokenMissing,
                NoAddress,
                Relayed,
                SourceGone,
                Other,
            ],
            Self::Circuit => &[
                Circuits,
                CircuitsPerPeer,
                PeerDenied,
                NetworkDenied,
                NotAllowed,
                TokenMissing,
                Relayed,
                SourceGone,
                NoReservation,
                DestinationRefused,
                DestinationTimedOut,
                DestinationGone,
                DestinationFailed,
                Other,
            ],
        }
    }
}

impl Reason {
    /// Why a connection was denied.
    pub(crate) fn of_connection(cause: &ConnectionDenied) -> Self {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return match refused {
                Refused::Address { .. } => Self::ConnectionsPerAddress,
                Refused::Memory(_) => Self::Memory,
                Refused::Access(reason) => Self::of_access(*reason),
            };
        }
        match cause.downcast_ref::<LimitExceeded>() {
            Some(LimitExceeded::Pending { .. }) => Self::PendingConnections,
            Some(LimitExceeded::PerPeer { .. }) => Self::ConnectionsPerPeer,
            Some(LimitExceeded::Established { .. }) => Self::Connections,
            None => Self::Other,
        }
    }

    /// Why a reservation or a circuit was denied.
    pub(crate) fn of_request(denial: &Denial) -> Self {
        match denial {
            Denial::Relayed => Self::Relayed,
            Denial::Access { reason, .. } => {
                let known = access::Reason::ALL.iter().find(|known| known.name() == reason);
                known.map_or(Self::Other, |reason| Self::of_access(*reason))
            }
            Denial::NoAddress => Self::NoAddress,
            Denial::Full(bound) => Self::of_bound(*bound),
            Denial::NoReservation => Self::NoReservation,
            Denial::Destination(error) => Self::of_destination(*error),
            Denial::SourceGone => Self::SourceGone,
            // The crate may have more some day; so below.
            _ => Self::Other,
        }
    }

    /// Why access was denied.
    pub(crate) fn of_access(reason: access::Reason) -> Self {
        match reason {
            access::Reason::PeerDenied => Self::PeerDenied,
            access::Reason::NetworkDenied => Self::NetworkDenied,
            access::Reason::NotAllowed => Self::NotAllowed,
            access::Reason::TokenMissing => Self::TokenMissing,
        }
    }

    /// Those that are about who may be here.
    pub(crate) fn access() -> impl Iterator<Item = Self> {
        access::Reason::ALL.into_iter().map(Self::of_access)
    }

    fn of_bound(bound: Bound) -> Self {
        match bound {
            Bound::Reservations => Self::Reservations,
            Bound::ReservationsPerPeer => Self::ReservationsPerPeer,
            Bound::ReservationsPerNetwork => Self::ReservationsPerAddress,
            Bound::Circuits => Self::Circuits,
            Bound::CircuitsPerSource | Bound::CircuitsPerDestination => Self::CircuitsPerPeer,
            _ => Self::Other,
        }
    }

    fn of_destination(error: OpenError) -> Self {
        match error {
            OpenError::Refused(_) => Self::DestinationRefused,
            OpenError::TimedOut | OpenError::Stream(io::ErrorKind::TimedOut) => Self::DestinationTimedOut,
            OpenError::Gone => Self::DestinationGone,
            OpenError::Unsupported | OpenError::Malformed | OpenError::Stream(_) => Self::DestinationFailed,
            _ => Self::Other,
        }
    }
}

impl SlotEnd {
    pub(crate) fn of(end: ReservationEnd) -> Self {
        match end {
            ReservationEnd::Expired => Self::Expired,
            ReservationEnd::ConnectionClosed => Self::ConnectionClosed,
            ReservationEnd::AccessWithdrawn => Self::AccessWithdrawn,
            _ => Self::Other,
        }
    }
}

impl CircuitEnd {
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::DurationLimit => Self::DurationLimit,
            Outcome::DataLimit => Self::DataLimit,
            Outcome::AccessWithdrawn => Self::AccessWithdrawn,
            Outcome::Failed(_) => Self::Failed,
            Outcome::ConnectionClosed => Self::ConnectionClosed,
            _ => Self::Other,
        }
    }
}

impl Topic {
    pub(crate) fn of(topic: &TopicHash) -> Self {
        if *topic == discovery::topic() {
            Self::Discovery
        } else if rooms::is_room(topic) {
            Self::Room
        } else {
            Self::Other
        }
    }
}

impl From<&MessageAcceptance> for Verdict {
    fn from(acceptance: &MessageAcceptance) -> Self {
        match acceptance {
            MessageAcceptance::Accept => Self::Accepted,
            MessageAcceptance::Ignore => Self::Ignored,
            MessageAcceptance::Reject => Self::Rejected,
        }
    }
}
