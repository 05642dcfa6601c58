//! Which addresses of a peer may be dialled, and in which order. A pure function of what is known of the peer and of us.
//!
//! Ranking rules, the first that applies wins:
//! 1. A direct connection that exists is used; nothing is planned (`ladder` sees to that).
//! 2. An address that the user gave for this peer comes before all others. It is exempt from rules 6 to 8.
//! 3. Browser to browser (`/webrtc`) comes before the plain circuit, when this node can do it ([`Rungs`]).
//! 4. Within a kind, relays that we hold come before foreign ones, in the order in which we hold them. Such a rung is
//!    judged by the relay's id alone, and dialled over *our* connection's address, whatever the peer announced.
//! 5. A direct address is never taken from an announcement: one message could make every page dial a victim.
//! 6. A foreign relay must be public, or within the reach of our page or of a relay of ours (loopback ⊃ private ⊃ public).
//! 7. A name is dialled only over `wss`, which proves that the name's owner answers, and `wss` only at a name. A loopback name
//!    needs no proof.
//! 8. Foreign addresses of one kind are tried in the order `wss`, `ws`, WebRTC-direct in a page; QUIC and TCP first elsewhere.
//! 9. What we cannot speak is not planned: `ws` never from a page that came over https, QUIC and TCP never from a page.
//! 10. A peer that the user opened is also tried through every relay we hold, announced or not.
//!
//! Never dials, and does not count: how many foreign relays, attempts and hosts there may be is for
//! [`foreign`](super::foreign) and the [`Dialer`](super::Dialer).

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{
    Route,
    route::{AddressForm, Classified, Hop, Host, Scope, Transport, TransportAddress, classify},
};
use crate::{node::Reach, reservation::HeldRelay};

#[cfg(test)]
mod tests;

/// The most rungs of one plan; those that rank lower are left out.
pub const MAX_RUNGS: usize = 8;

/// Which rungs a ladder may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rungs {
    /// Connections that exist, addresses that the user gave, and plain circuits.
    #[default]
    CircuitOnly,
    /// Also browser to browser, and upgrades of a circuit to it.
    WebRtcAndCircuit,
}

/// How the page that we run in was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageScheme {
    /// `http://`: WebSocket in the clear is possible.
    Http,
    /// `https://`: browsers forbid WebSocket in the clear.
    Https,
}

/// Where we look at addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vantage {
    /// A native node.
    Native {
        /// How near the addresses of strangers may be.
        scope: Scope,
    },
    /// A page.
    Page {
        /// How it was loaded.
        scheme: PageScheme,
        /// The scope of the host it was loaded from.
        scope: Scope,
    },
}

impl Vantage {
    fn scope(self) -> Scope {
        match self {
            Self::Native { scope } | Self::Page { scope, .. } => scope,
        }
    }

    /// The place of a transport in the order of trying; `None` if it cannot be spoken from here.
    fn rank(self, transport: Transport) -> Option<u8> {
        match (self, transport) {
            (
                Self::Page {
                    scheme: PageScheme::Https,
                    ..
                },
                Transport::Ws,
            )
            | (Self::Page { .. }, Transport::QuicV1 | Transport::Tcp) => None,
            (_, Transport::QuicV1) => Some(0),
            (_, Transport::Tcp) => Some(1),
            (_, Transport::Wss) => Some(2),
            (_, Transport::Ws) => Some(3),
            (_, Transport::WebRtcDirect) => Some(4),
        }
    }
}

/// Who wants a peer dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The dial plan chose it among those heard of.
    Chosen,
    /// The user opened it.
    Opened(Reach),
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerFacts<'a> {
    /// Who.
    pub peer: PeerId,
    /// What it announces.
    pub announced: &'a [Multiaddr],
    /// What the user gave.
    pub given: Option<&'a Multiaddr>,
    /// Who wants it.
    pub interest: Interest,
}

/// What is known of us.
#[derive(Clone, Copy, Debug)]
pub struct OurFacts<'a> {
    /// Our own id.
    pub local: PeerId,
    /// The relays we are connected to, the preferred first.
    pub held: &'a [HeldRelay],
    /// Where we look from.
    pub vantage: Vantage,
    /// What we can do.
    pub rungs: Rungs,
}

/// What carries a rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Through {
    /// The peer itself.
    Nothing,
    /// A relay we are connected to.
    Held(PeerId),
    /// A relay that would have to be connected to first.
    Foreign {
        /// Which.
        relay: PeerId,
        /// Where.
        transport: TransportAddress,
        /// Who says so.
        source: Source,
    },
}

impl Through {
    /// The relay, if one carries the rung.
    #[must_use]
    pub fn relay(&self) -> Option<PeerId> {
        match self {
            Self::Nothing => None,
            Self::Held(relay) | Self::Foreign { relay, .. } => Some(*relay),
        }
    }
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The peer's announcement.
    Announced,
    /// The user.
    User,
}

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// What the connection will be if it succeeds.
    pub route: Route,
    /// What is dialled; it ends in `/p2p/<peer>`.
    pub address: Multiaddr,
    /// What carries it.
    pub through: Through,
}

/// The ladder to a peer, the best rung first: at most [`MAX_RUNGS`], none twice.
#[must_use]
pub fn plan(peer: PeerFacts<'_>, ours: OurFacts<'_>) -> Vec<Rung> {
    let is_relay = ours.held.iter().any(|relay| relay.peer == peer.peer);
    if peer.peer == ours.local || is_relay {
        return Vec::new();
    }
    let mut ranked: Vec<(Rank, Rung)> = Vec::new();
    if let Some(given) = peer.given {
        ranked.extend(rung(given, Source::User, peer.peer, ours));
    }
    for address in peer.announced {
        ranked.extend(rung(address, Source::Announced, peer.peer, ours));
    }
    if matches!(peer.interest, Interest::Opened(_)) {
        for (at, relay) in ours.held.iter().enumerate() {
            ranked.push(held_rung(Kind::Circuit, at, relay, peer.peer));
            if ours.rungs == Rungs::WebRtcAndCircuit {
                ranked.push(held_rung(Kind::WebRtc, at, relay, peer.peer));
            }
        }
    }
    ranked.retain(|(_, rung)| allowed_by(peer.interest, rung.route));
    // Stable: equals stay in the order in which they were announced.
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut rungs: Vec<Rung> = Vec::new();
    for (_, rung) in ranked {
        if rungs.len() < MAX_RUNGS && rungs.iter().all(|known| known.address != rung.address) {
            rungs.push(rung);
        }
    }
    rungs
}

/// Whether a connection of this kind is what the one who is interested asked for.
#[must_use]
pub fn allowed_by(interest: Interest, route: Route) -> bool {
    match (interest, route) {
        (Interest::Opened(Reach::DirectOnly), Route::Circuit { .. }) => false,
        (Interest::Opened(Reach::RelayOnly), Route::WebRtc | Route::Direct) => false,
        (Interest::Opened(_) | Interest::Chosen, Route::WebRtc | Route::Direct | Route::Circuit { .. }) => true,
    }
}

/// Sorts rungs: who gave the address, the kind, ours before foreign (by place), then the transport.
type Rank = (Given, Kind, usize, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    ByUser,
    ByPeer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Direct,
    WebRtc,
    Circuit,
}

fn rung(address: &Multiaddr, source: Source, peer: PeerId, ours: OurFacts<'_>) -> Option<(Rank, Rung)> {
    let Classified { target, form } = classify(address)?;
    if target.is_some_and(|target| target != peer) {
        return None;
    }
    let given = match source {
        Source::User => Given::ByUser,
        Source::Announced => Given::ByPeer,
    };
    let (kind, hop) = match form {
        AddressForm::Circuit(hop) => (Kind::Circuit, hop),
        AddressForm::WebRtc(hop) if ours.rungs == Rungs::WebRtcAndCircuit => (Kind::WebRtc, hop),
        AddressForm::WebRtc(_) => return None,
        AddressForm::Direct(direct) => {
            let rank = ours.vantage.rank(direct.transport)?;
            let address = direct.address.with(Protocol::P2p(peer));
            let rung = Rung {
                route: Route::Direct,
                address,
                through: Through::Nothing,
            };
            return (source == Source::User).then_some(((given, Kind::Direct, 0, rank), rung));
        }
    };
    if hop.relay == peer || hop.relay == ours.local {
        return None;
    }
    if let Some(at) = ours.held.iter().position(|relay| relay.peer == hop.relay) {
        let ((_, kind, at, rank), rung) = held_rung(kind, at, &ours.held[at], peer);
        return Some(((given, kind, at, rank), rung));
    }
    let Hop { relay, transport } = hop;
    let transport = transport?;
    let rank = ours.vantage.rank(transport.transport)?;
    if source == Source::Announced && !strangers_address_is_fit(&transport, ours) {
        return None;
    }
    let address = circuit_address(kind, transport.address.clone(), relay, peer);
    let rung = Rung {
        route: route(kind, relay),
        address,
        through: Through::Foreign {
            relay,
            transport,
            source,
        },
    };
    Some(((given, kind, ours.held.len(), rank), rung))
}

fn strangers_address_is_fit(transport: &TransportAddress, ours: OurFacts<'_>) -> bool {
    let of_relay = |relay: &HeldRelay| match classify(&relay.address)?.form {
        AddressForm::Direct(direct) => Some(direct.scope),
        AddressForm::Circuit(_) | AddressForm::WebRtc(_) => None,
    };
    let nearest = ours
        .held
        .iter()
        .filter_map(of_relay)
        .chain([ours.vantage.scope()])
        .min();
    if nearest.is_some_and(|nearest| transport.scope < nearest) {
        return false;
    }
    match (&transport.host, transport.transport) {
        (Host::Name(_), Transport::Wss) => true,
        (Host::Name(_), _) => transport.scope == Scope::Loopback,
        (Host::Ip(_), transport) => transport != Transport::Wss,
    }
}

fn held_rung(kind: Kind, at: usize, relay: &HeldRelay, peer: PeerId) -> (Rank, Rung) {
    let address = circuit_address(kind, relay.address.clone(), relay.peer, peer);
    let rung = Rung {
        route: route(kind, relay.peer),
        address,
        through: Through::Held(relay.peer),
    };
    ((Given::ByPeer, kind, at, 0), rung)
}

fn circuit_address(kind: Kind, transport: Multiaddr, relay: PeerId, peer: PeerId) -> Multiaddr {
    let circuit = transport.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
    match kind {
        Kind::WebRtc => circuit.with(Protocol::WebRTC).with(Protocol::P2p(peer)),
        Kind::Circuit | Kind::Direct => circuit.with(Protocol::P2p(peer)),
    }
}

fn route(kind: Kind, relay: PeerId) -> Route {
    match kind {
        Kind::Direct => Route::Direct,
        Kind::WebRtc => Route::WebRtc,
        Kind::Circuit => Route::Circuit { relay },
    }
}
