//! What the relay is and what it has done, as its events tell it: a fold, without I/O and without a clock.
//!
//! Everything that the relay does for a peer, or refuses to do, passes through here: connections, reservations, circuits,
//! gossip, tokens, STUN. What is shown of it (`/metrics`, `/stats`, `/peers`) is made of this and of nothing else. Counts by
//! names of closed lists ([`labels`]), never by what a remote says, and knows no address.
//!
//! What is, is what has begun and not ended: `tests/relay/ledger.rs` compares that with what peers know. What circuits have
//! carried is not added up here, because those that stand would be missing: the relay server is asked for it.

pub(crate) mod labels;
pub(crate) mod report;
mod tally;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub::{MessageAcceptance, TopicHash},
    swarm::{ConnectionId, ListenError},
};
use peerway_core::{access::TokenAnswer, now::Now};
use peerway_hop::Event;

use self::labels::{CircuitEnd, Kind, Label, Presented, Reason, SlotEnd, Stun, Topic, Transport, Verdict};
pub(crate) use self::tally::{Durations, Tally};
use crate::access;

/// The fold. What it keeps of peers is bounded by the limits on connections and circuits.
#[derive(Default)]
pub(crate) struct Ledger {
    peers: BTreeMap<PeerId, Peer>,
    live: BTreeMap<Transport, usize>,
    circuits: usize,
    counts: Counts,
    stun: StunTally,
}

/// A peer that is connected, or was a moment ago.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// Each with its transport, and when it was established, on [`Now::mono`].
    pub(crate) connections: BTreeMap<ConnectionId, (Transport, Duration)>,
    /// Connections that carry its reservation.
    pub(crate) reservations: usize,
    /// Circuits that it has opened and that stand.
    pub(crate) circuits_opened: usize,
    /// Circuits that lead to it and stand.
    pub(crate) circuits_accepted: usize,
}

/// How often what happened. None of it ever shrinks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were established.
    pub(crate) connections_opened: Tally<Transport>,
    /// Connections that were established and have ended.
    pub(crate) connections_closed: Tally<Transport>,
    /// Connections that were denied.
    pub(crate) connections_refused: Tally<Transport>,
    /// Connections that came in and came to nothing, for the peer's reasons.
    pub(crate) connections_failed: Tally<Transport>,
    pub(crate) reservations_accepted: u64,
    pub(crate) reservations_renewed: u64,
    pub(crate) reservations_ended: Tally<SlotEnd>,
    pub(crate) circuits_accepted: u64,
    pub(crate) circuits_closed: Tally<CircuitEnd>,
    /// How long circuits stood that have ended.
    pub(crate) circuit_durations: Durations,
    pub(crate) denials: Tally<(Kind, Reason)>,
    /// What came on a stream of the relay protocol and was no request.
    pub(crate) requests_rejected: u64,
    pub(crate) gossip: Tally<(Topic, Verdict)>,
    pub(crate) tokens: Tally<Presented>,
    /// Connections that were closed because their peers may no longer be here, or have not said in time why they may.
    pub(crate) access_withdrawn: Tally<Reason>,
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Peers that are connected.
    pub(crate) peers: usize,
    /// Connections of each kind.
    pub(crate) connections: BTreeMap<Transport, usize>,
    /// Peers that hold a reservation.
    pub(crate) reservations: usize,
    /// Circuits that stand.
    pub(crate) circuits: usize,
}

impl Ledger {
    /// A connection is established.
    pub(crate) fn handle_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Now,
    ) {
        let transport = transport_of(endpoint);
        self.counts.connections_opened.add(transport);
        *self.live.entry(transport).or_default() += 1;
        let connections = &mut self.peers.entry(peer).or_default().connections;
        connections.insert(connection, (transport, now.mono));
    }

    /// A connection is closed.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        let of = self.peers.get_mut(&peer);
        let Some((transport, _)) = of.and_then(|of| of.connections.remove(&connection)) else {
            return;
        };
        self.counts.connections_closed.add(transport);
        count_off(self.live.entry(transport).or_default());
        self.forget(peer);
    }

    /// A connection came in and was not established.
    pub(crate) fn handle_not_connected(&mut self, local: &Multiaddr, error: &ListenError) {
        let transport = Transport::of(local);
        match error {
            ListenError::Denied { cause } => {
                self.counts.connections_refused.add(transport);
                self.counts
                    .denials
                    .add((Kind::Connection, Reason::of_connection(cause)));
            }
            ListenError::Aborted
            | ListenError::WrongPeerId { .. }
            | ListenError::LocalPeerId { .. }
            | ListenError::Transport(_) => self.counts.connections_failed.add(transport),
        }
    }

    /// The relay server tells something.
    pub(crate) fn handle_relay(&mut self, event: &Event) {
        let counts = &mut self.counts;
        match event {
            Event::ReservationAccepted { peer, .. } => {
                counts.reservations_accepted += 1;
                self.peers.entry(*peer).or_default().reservations += 1;
            }
            Event::ReservationRenewed { .. } => counts.reservations_renewed += 1,
            Event::ReservationDenied { denial, .. } => {
                counts.denials.add((Kind::Reservation, Reason::of_request(denial)));
            }
            Event::ReservationEnded { peer, end, .. } => {
                counts.reservations_ended.add(SlotEnd::of(*end));
                count_off(&mut self.peers.entry(*peer).or_default().reservations);
                self.forget(*peer);
            }
            Event::CircuitAccepted {
                source, destination, ..
            } => {
                counts.circuits_accepted += 1;
                self.circuits += 1;
                self.peers.entry(*source).or_default().circuits_opened += 1;
                self.peers.entry(*destination).or_default().circuits_accepted += 1;
            }
            Event::CircuitDenied { denial, .. } => counts.denials.add((Kind::Circuit, Reason::of_request(denial))),
            Event::CircuitClosed {
                source,
                destination,
                outcome,
                duration,
                ..
            } => {
                counts.circuits_closed.add(CircuitEnd::of(*outcome));
                counts.circuit_durations.add(*duration);
                count_off(&mut self.circuits);
                count_off(&mut self.peers.entry(*source).or_default().circuits_opened);
                count_off(&mut self.peers.entry(*destination).or_default().circuits_accepted);
                self.forget(*source);
                self.forget(*destination);
            }
            Event::RequestRejected { .. } => counts.requests_rejected += 1,
            // The crate may tell more some day; the journal shows it.
            _ => {}
        }
    }

    /// A gossip message was judged.
    pub(crate) fn handle_gossip(&mut self, topic: &TopicHash, verdict: &MessageAcceptance) {
        self.counts.gossip.add((Topic::of(topic), verdict.into()));
    }

    /// A token was judged.
    pub(crate) fn handle_token(&mut self, answer: TokenAnswer) {
        self.counts.tokens.add(match answer {
            TokenAnswer::Allowed => Presented::Allowed,
            TokenAnswer::Denied => Presented::Denied,
        });
    }

    /// A connection has to be closed because its peer may not be here.
    pub(crate) fn handle_access_withdrawn(&mut self, reason: access::Reason) {
        self.counts.access_withdrawn.add(Reason::of_access(reason));
    }

    /// Where those write who answer STUN.
    pub(crate) fn stun(&self) -> StunTally {
        self.stun.clone()
    }

    /// What is.
    pub(crate) fn standing(&self) -> Standing {
        let live = |transport: &Transport| (*transport, self.live.get(transport).copied().unwrap_or_default());
        Standing {
            peers: self.peers.values().filter(|peer| !peer.connections.is_empty()).count(),
            connections: Transport::ALL.iter().map(live).collect(),
            reservations: self.peers.values().filter(|peer| peer.reservations > 0).count(),
            circuits: self.circuits,
        }
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| !peer.connections.is_empty())
    }

    /// What has happened.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Peers that are there, in the order of their ids, beginning behind `after`.
    pub(crate) fn peers(&self, after: Option<PeerId>) -> impl Iterator<Item = (PeerId, &Peer)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.peers
            .range((start, Bound::Unbounded))
            .map(|(id, peer)| (*id, peer))
    }

    /// Nothing is kept of a peer of whom there is nothing.
    fn forget(&mut self, id: PeerId) {
        let is_gone = |peer: &Peer| {
            peer.connections.is_empty()
                && (peer.reservations, peer.circuits_opened, peer.circuits_accepted) == (0, 0, 0)
        };
        if self.peers.get(&id).is_some_and(is_gone) {
            self.peers.remove(&id);
        }
    }
}

/// What became of datagrams at STUN sockets. Shared with them: they run beside the event loop, and a message for each
/// datagram would cost more than the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct StunTally(Arc<[AtomicU64; Stun::ALL.len()]>);

impl StunTally {
    pub(crate) fn add(&self, what: Stun) {
        self.0[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each by its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |what: &Stun| (what.name(), self.0[*what as usize].load(Ordering::Relaxed));
        Stun::ALL.iter().map(count)
    }
}

/// What says it is at our end of a connection that came in, and at the other of one that went out.
fn transport_of(endpoint: &ConnectedPoint) -> Transport {
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => Transport::of(local_addr),
        ConnectedPoint::Dialer { address, .. } => Transport::of(address),
    }
}

/// More ends than there were beginnings would be a bug, and must not look like very many that are there.
fn count_off(count: &mut usize) {
    debug_assert!(*count > 0, "an end without a beginning");
    *count = count.saturating_sub(1);
}

#[cfg(test)]
mod tests;
