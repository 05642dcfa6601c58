//! Reaching a peer: which addresses, in which order, by whom, how often.
//!
//! [`Dialer`] composes one ladder per peer with the limits that all share. It decides every dial towards a peer and every
//! close of a connection to one; dials towards our own relays are for [`reservation`](crate::reservation). It does no I/O,
//! reads no clock and never looks at a connection's content.
//!
//! - Of two peers that hear of each other the one with the lower id (bytes of the multihash) dials at once, the other after
//!   [`DialConfig::higher_waits`]. A peer that the user opened is dialled at once.
//! - Up to [`SMALL_CROWD`] peers all are dialled; of more, the first [`CHOSEN_OF_MANY`] by SHA-256 of lower id ‖ higher id.
//!   Up to [`MAX_ACCEPTED`] others that dial us are accepted, the next is closed at once.
//! - At most [`MAX_IN_FLIGHT_PER_RELAY`] attempts through one relay at a time; the others wait for a place, those that the
//!   user opened first.
//! - A failed attempt goes on to the next rung; a failed ladder, or a connection lost, begins anew after a [`backoff`].
//! - Rungs and their order: [`plan`]. Relays that are not ours: [`foreign`]. Several connections to one peer: [`links`].

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

pub mod backoff;
mod dialer;
pub mod foreign;
mod ladder;
pub mod links;
pub mod plan;
pub mod route;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::dialer::Dialer;
use self::{
    backoff::BackoffConfig,
    plan::{Rungs, Vantage},
    route::Scope,
};
use crate::node::Event;

/// Peers that the dialer knows. When full, a newcomer is neither dialled nor accepted until one is forgotten; the user's own
/// choice is exempt.
pub const MAX_PEERS: usize = 1024;
/// Announced addresses looked at per peer; those beyond are not seen.
pub const MAX_ADDRESSES: usize = 32;
/// Up to as many other peers, all are dialled.
pub const SMALL_CROWD: usize = 12;
/// Of a larger crowd, as many are dialled.
pub const CHOSEN_OF_MANY: usize = 6;
/// Peers whose connections are accepted although we did not choose them. The next one's is closed at once.
pub const MAX_ACCEPTED: usize = 24;
/// Attempts in flight through one relay; a stock relay client drops requests beyond ten.
pub const MAX_IN_FLIGHT_PER_RELAY: usize = 4;

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
    /// There is no direct way between the two browsers; the text says why. The circuit carries the conversation.
    #[error("{0}")]
    NoDirectWay(String),
    /// Both sides tried to connect directly at the same time, and the other side's attempt goes on.
    #[error("its own attempt goes on instead")]
    Superseded,
    /// The transport failed; the text comes from the transport, for logs and diagnostics.
    #[error("the connection failed: {0}")]
    Transport(String),
}

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled it.
    Dialer,
    /// The other side dialled it.
    Listener,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnection {
    /// One side closed it on purpose.
    Clean,
    /// It broke, or did not answer any more.
    Lost,
}

/// Whom a node dials of itself, among those that it hears of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initiative {
    /// All of a small crowd, some of a large one: so a room holds together when its relay dies.
    #[default]
    ByPlan,
    /// Nobody: only whom the user opens is dialled. Cost: who hears of each other is not connected, and gossip goes by the relay
    /// alone.
    Nobody,
}

/// How a [`Dialer`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialConfig {
    /// Where this node looks at the addresses of strangers from. Default: a native node on the Internet, which dials public
    /// addresses only. Cost of a nearer scope: strangers can have hosts of this network dialled.
    pub vantage: Vantage,
    /// Which rungs ladders have. Default: [`Rungs::CircuitOnly`]; a node whose transports can do more sets it. Cost of more: an upgrade per circuit, tried again with
    /// backoff.
    pub webrtc: Rungs,
    /// Whom this node dials of itself. Default: [`Initiative::ByPlan`].
    pub initiative: Initiative,
    /// How long the peer with the higher id waits for the other to dial. Default: [`HIGHER_WAITS`]. Cost of less: both dial,
    /// and one connection is thrown away.
    pub higher_waits: Duration,
    /// Waiting after a failed ladder and after a connection was lost. Default: [`RETRY`].
    pub retry: BackoffConfig,
    /// The least wait after the other side closed the last connection on purpose. Default: [`AFTER_GOODBYE`]. Cost of less:
    /// peers that do not want us are pestered.
    pub after_goodbye: Duration,
    /// When an attempt of which nothing is heard counts as failed. Default: [`ATTEMPT_TIMEOUT`], more than the swarm's own
    /// connection timeout. Cost of more: its place at the relay stays taken.
    pub attempt_timeout: Duration,
    /// How long a relay that is not ours stays connected after its last circuit. Default: [`FOREIGN_LINGER`]. Cost of more:
    /// strangers' relays carry us for nothing.
    pub foreign_linger: Duration,
}

/// Default of [`DialConfig::higher_waits`].
pub const HIGHER_WAITS: Duration = Duration::from_secs(5);
/// Default of [`DialConfig::retry`].
pub const RETRY: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(1),
    max: Duration::from_secs(10 * 60),
};
/// Default of [`DialConfig::after_goodbye`].
pub const AFTER_GOODBYE: Duration = Duration::from_secs(10);
/// Default of [`DialConfig::attempt_timeout`].
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(40);
/// Default of [`DialConfig::foreign_linger`].
pub const FOREIGN_LINGER: Duration = Duration::from_secs(60);

/// The least time between two dials to one peer that begin at the bottom of its ladder: whoever changes its addresses often
/// is not dialled as often.
const MIN_REDIAL: Duration = Duration::from_secs(1);
/// Everybody hears at once that a relay is back: the dials that follow are spread over this time.
const SPREAD: Duration = Duration::from_millis(500);
/// How long after our network changed others may still believe in connections to us that are dead: what their pings take.
const UNNOTICED: Duration = Duration::from_secs(15);

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            vantage: Vantage::Native { scope: Scope::Public },
            webrtc: Rungs::default(),
            initiative: Initiative::default(),
            higher_waits: HIGHER_WAITS,
            retry: RETRY,
            after_goodbye: AFTER_GOODBYE,
            attempt_timeout: ATTEMPT_TIMEOUT,
            foreign_linger: FOREIGN_LINGER,
        }
    }
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum DialAction {
    /// Dial this one address, whatever connections or dials to the peer there are (`PeerCondition::Always`), and tell
    /// [`Dialer::handle_connected`] or [`Dialer::handle_attempt_failed`].
    Dial {
        /// Names the attempt.
        attempt: AttemptId,
        /// Who must answer.
        peer: PeerId,
        /// Where; ends in `/p2p/<peer>`.
        address: Multiaddr,
    },
    /// Close this connection.
    Close {
        /// To whom it leads.
        peer: PeerId,
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the reader.
    Report(Event),
}
