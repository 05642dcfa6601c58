//! Who may use the relay, as far as the application has a word in it.
//!
//! The application decides; limits are none of its business here. It is asked in the middle of the swarm's work, so it
//! answers at once, from what it knows.

use std::borrow::Cow;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;

use crate::{Denial, Refusal};

/// The application's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As far as the application is concerned.
    Allow,
    /// No.
    Deny {
        /// What the client is told; usually [`Refusal::PermissionDenied`].
        refusal: Refusal,
        /// For the log and the ledger; the client does not get it.
        reason: Cow<'static, str>,
    },
}

impl Access {
    pub(crate) fn into_result(self) -> Result<(), Denial> {
        match self {
            Self::Allow => Ok(()),
            Self::Deny { refusal, reason } => Err(Denial::Access { refusal, reason }),
        }
    }
}

/// A peer asks for a reservation, or for its renewal.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReservationRequest<'a> {
    /// Who asks.
    pub peer: PeerId,
    /// From where.
    pub address: &'a Multiaddr,
}

/// A peer asks for a circuit.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CircuitRequest<'a> {
    /// Who asks.
    pub source: PeerId,
    /// From where.
    pub address: &'a Multiaddr,
    /// Who shall be reached.
    pub destination: PeerId,
}

/// The application's word. Whatever it does not decide is allowed.
pub trait AccessControl: Send + 'static {
    /// Whether a peer may be reached through the relay. Renewals are asked about too.
    fn reservation(&mut self, request: ReservationRequest<'_>) -> Access {
        let _ = request;
        Access::Allow
    }

    /// Whether a peer may reach another one through the relay.
    fn circuit(&mut self, request: CircuitRequest<'_>) -> Access {
        let _ = request;
        Access::Allow
    }
}

/// Everybody may use the relay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

impl AccessControl for Everybody {}
