//! How a relay says no: the specification's statuses, and the reasons that stand behind them.

use std::{borrow::Cow, fmt, io};

/// What a client is told that does not get what it asked for: `enum Status` of the specification, without `OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// `RESERVATION_REFUSED`: "the reservation is rejected for some other reason, e.g. because there are too many".
    ReservationRefused,
    /// `RESOURCE_LIMIT_EXCEEDED`: "there are too many relayed connections from the initiator or to the target peer".
    ResourceLimitExceeded,
    /// `PERMISSION_DENIED`: "rejected because of peer filtering using ACLs".
    PermissionDenied,
    /// `CONNECTION_FAILED`: "the relay failed to terminate the connection to the target peer".
    ConnectionFailed,
    /// `NO_RESERVATION`: "there is no active reservation for the target peer".
    NoReservation,
    /// `MALFORMED_MESSAGE`: what came was no message.
    MalformedMessage,
    /// `UNEXPECTED_MESSAGE`: what came is for the other side to send.
    UnexpectedMessage,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ReservationRefused,
        Self::ResourceLimitExceeded,
        Self::PermissionDenied,
        Self::ConnectionFailed,
        Self::NoReservation,
        Self::MalformedMessage,
        Self::UnexpectedMessage,
    ];

    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::ReservationRefused => 200,
            Self::ResourceLimitExceeded => 201,
            Self::PermissionDenied => 202,
            Self::ConnectionFailed => 203,
            Self::NoReservation => 204,
            Self::MalformedMessage => 400,
            Self::UnexpectedMessage => 401,
        }
    }

    /// Which one a number on the wire is.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservationRefused => "RESERVATION_REFUSED",
            Self::ResourceLimitExceeded => "RESOURCE_LIMIT_EXCEEDED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ConnectionFailed => "CONNECTION_FAILED",
            Self::NoReservation => "NO_RESERVATION",
            Self::MalformedMessage => "MALFORMED_MESSAGE",
            Self::UnexpectedMessage => "UNEXPECTED_MESSAGE",
        })
    }
}

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The request came over a circuit: there are no circuits inside circuits.
    #[error("a request over a relayed connection")]
    Relayed,
    /// The application's [`AccessControl`](crate::AccessControl) said no.
    #[error("no access: {reason}")]
    Access {
        /// What the client is told.
        refusal: Refusal,
        /// What the application gave as its reason.
        reason: Cow<'static, str>,
    },
    /// The relay has no external address that could be told, so a reservation is worth nothing.
    #[error("the relay has no external address")]
    NoAddress,
    /// There is no room.
    #[error("no room: {0}")]
    Full(Bound),
    /// The peer that was asked for holds no reservation.
    #[error("the destination holds no reservation")]
    NoReservation,
    /// The destination did not take the circuit.
    #[error("the destination: {0}")]
    Destination(#[source] OpenError),
    /// The peer that asked was gone before the destination had answered.
    #[error("the source is gone")]
    SourceGone,
}

impl Denial {
    /// What the client is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Relayed => Refusal::PermissionDenied,
            Self::Access { refusal, .. } => *refusal,
            Self::NoAddress => Refusal::ReservationRefused,
            Self::Full(bound) => bound.refusal(),
            Self::NoReservation => Refusal::NoReservation,
            Self::Destination(OpenError::Refused(
                refusal @ (Refusal::ResourceLimitExceeded | Refusal::PermissionDenied),
            )) => *refusal,
            Self::Destination(_) | Self::SourceGone => Refusal::ConnectionFailed,
        }
    }
}

/// Which limit was met; each is a field of [`Config`](crate::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Bound {
    /// [`ReservationLimits::total`](crate::ReservationLimits::total).
    Reservations,
    /// [`ReservationLimits::per_peer`](crate::ReservationLimits::per_peer).
    ReservationsPerPeer,
    /// [`ReservationLimits::per_network`](crate::ReservationLimits::per_network).
    ReservationsPerNetwork,
    /// [`CircuitLimits::total`](crate::CircuitLimits::total).
    Circuits,
    /// [`CircuitLimits::per_source`](crate::CircuitLimits::per_source).
    CircuitsPerSource,
    /// [`CircuitLimits::per_destination`](crate::CircuitLimits::per_destination).
    CircuitsPerDestination,
}

impl Bound {
    fn refusal(self) -> Refusal {
        match self {
            Self::Reservations | Self::ReservationsPerPeer | Self::ReservationsPerNetwork => {
                Refusal::ReservationRefused
            }
            Self::Circuits | Self::CircuitsPerSource | Self::CircuitsPerDestination => Refusal::ResourceLimitExceeded,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reservations => "reservations",
            Self::ReservationsPerPeer => "reservations of this peer",
            Self::ReservationsPerNetwork => "reservations from this network",
            Self::Circuits => "circuits",
            Self::CircuitsPerSource => "circuits of the source",
            Self::CircuitsPerDestination => "circuits to the destination",
        })
    }
}

/// Why the destination of a circuit did not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not speak STOP.
    #[error("does not speak STOP")]
    Unsupported,
    /// It said no.
    #[error("refused with {0}")]
    Refused(Refusal),
    /// It did not answer in time.
    #[error("did not answer in time")]
    TimedOut,
    /// What it answered is no answer.
    #[error("answered with something else")]
    Malformed,
    /// The stream to it failed.
    #[error("the stream failed: {0}")]
    Stream(io::ErrorKind),
    /// Its connection closed.
    #[error("is gone")]
    Gone,
}
