//! What a relay tells its application: enough to keep a ledger, so that every beginning has exactly one end.

use std::{fmt, io, time::Duration};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use crate::{Denial, Refusal};

/// What happened. For what *is*, ask the [`Behaviour`](crate::Behaviour): nobody has to count events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection carries a reservation from now on. It ends with [`Event::ReservationEnded`].
    ReservationAccepted {
        /// Who is reachable.
        peer: PeerId,
        /// Over which connection.
        connection: ConnectionId,
    },
    /// A connection that carries a reservation asked again, and carries it for longer.
    ReservationRenewed {
        /// Who is reachable.
        peer: PeerId,
        /// Over which connection.
        connection: ConnectionId,
    },
    /// A connection does not get a reservation. If this was a renewal, [`Event::ReservationEnded`] has been told.
    ReservationDenied {
        /// Who asked.
        peer: PeerId,
        /// Over which connection.
        connection: ConnectionId,
        /// Why, and what the client is told.
        denial: Denial,
    },
    /// A connection carries its reservation no longer.
    ReservationEnded {
        /// Who was reachable.
        peer: PeerId,
        /// Over which connection.
        connection: ConnectionId,
        /// Why.
        end: ReservationEnd,
    },
    /// Both ends agreed, and a circuit stands. It ends with [`Event::CircuitClosed`].
    CircuitAccepted {
        /// Which one.
        circuit: CircuitId,
        /// Who opened it.
        source: PeerId,
        /// Whom it leads to.
        destination: PeerId,
    },
    /// There is no circuit.
    CircuitDenied {
        /// Who asked.
        source: PeerId,
        /// Who should have been reached.
        destination: PeerId,
        /// Why, and what the source is told.
        denial: Denial,
    },
    /// A circuit is no more.
    CircuitClosed {
        /// Which one.
        circuit: CircuitId,
        /// Who opened it.
        source: PeerId,
        /// Whom it led to.
        destination: PeerId,
        /// How it ended.
        outcome: Outcome,
        /// What it carried.
        traffic: Traffic,
        /// How long it stood.
        duration: Duration,
    },
    /// What came on a HOP stream was no request.
    RequestRejected {
        /// Whose stream it was.
        peer: PeerId,
        /// Over which connection.
        connection: ConnectionId,
        /// What the client is told.
        refusal: Refusal,
    },
}

/// A circuit of one [`Behaviour`](crate::Behaviour), never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId(pub(crate) u64);

impl fmt::Display for CircuitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a connection no longer carries a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReservationEnd {
    /// It was not renewed.
    Expired,
    /// The connection closed.
    ConnectionClosed,
    /// The application no longer allows it.
    AccessWithdrawn,
}

/// How a circuit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Both ends closed it.
    Finished,
    /// It stood for as long as is allowed.
    DurationLimit,
    /// One direction had carried what is allowed, and more came.
    DataLimit,
    /// The application no longer allows it.
    AccessWithdrawn,
    /// One of its streams failed.
    Failed(io::ErrorKind),
    /// The connection of one end closed.
    ConnectionClosed,
}

/// Bytes that a circuit carried: taken from one end and accepted by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the source to the destination.
    pub to_destination: u64,
    /// From the destination to the source.
    pub to_source: u64,
}

impl Traffic {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            to_destination: self.to_destination.saturating_add(other.to_destination),
            to_source: self.to_source.saturating_add(other.to_source),
        }
    }
}
