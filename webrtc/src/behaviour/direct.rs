//! The direct connections that stand: what the browser counts of each, and which is surplus after a glare.
//!
//! Which one is surplus is [`glare`]'s to say; closing it is for [`Behaviour`](super::Behaviour).

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll},
};

use futures::FutureExt;
use futures_timer::Delay;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use send_wrapper::SendWrapper;
use web_time::Instant;

use crate::{glare, rtc::Counters, signaling::Role};

/// Bounded by the swarm's connections.
pub(super) struct Direct {
    local: PeerId,
    by_peer: BTreeMap<PeerId, glare::Connections>,
    counters: BTreeMap<ConnectionId, SendWrapper<Counters>>,
    surplus: VecDeque<(PeerId, ConnectionId)>,
    timer: Option<(Instant, Delay)>,
}

impl Direct {
    pub(super) fn new(local: PeerId) -> Self {
        Self {
            local,
            by_peer: BTreeMap::new(),
            counters: BTreeMap::new(),
            surplus: VecDeque::new(),
            timer: None,
        }
    }

    pub(super) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        role: Role,
        counters: Option<SendWrapper<Counters>>,
    ) {
        self.counters.extend(counters.map(|counters| (connection, counters)));
        let local = self.local;
        let connections = self.by_peer.entry(peer);
        let connections = connections.or_insert_with(|| glare::Connections::new(local, peer));
        connections.handle_established(connection, role, Instant::now());
        self.collect(peer);
    }

    pub(super) fn remove(&mut self, peer: PeerId, connection: ConnectionId) {
        self.counters.remove(&connection);
        if let Some(connections) = self.by_peer.get_mut(&peer) {
            connections.handle_closed(connection);
            if connections.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    pub(super) fn counters(&self, connection: ConnectionId) -> Option<&Counters> {
        self.counters.get(&connection).map(|counters| &**counters)
    }

    /// The next connection to close.
    pub(super) fn poll_surplus(&mut self, cx: &mut Context<'_>) -> Poll<(PeerId, ConnectionId)> {
        loop {
            if let Some(surplus) = self.surplus.pop_front() {
                return Poll::Ready(surplus);
            }
            let Some(due) = self.by_peer.values().filter_map(glare::Connections::poll_timeout).min() else {
                self.timer = None;
                return Poll::Pending;
            };
            let now = Instant::now();
            if due > now {
                let timer = match &mut self.timer {
                    Some(timer) if timer.0 == due => timer,
                    timer => timer.insert((due, Delay::new(due - now))),
                };
                if timer.1.poll_unpin(cx).is_pending() {
                    return Poll::Pending;
                }
                // The timer and the clock may differ by a little.
                self.timer = None;
            }
            self.handle_timeout(now.max(due));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let peers: Vec<PeerId> = self.by_peer.keys().copied().collect();
        for peer in peers {
            if let Some(connections) = self.by_peer.get_mut(&peer) {
                connections.handle_timeout(now);
            }
            self.collect(peer);
        }
    }

    fn collect(&mut self, peer: PeerId) {
        while let Some(connection) = self.by_peer.get_mut(&peer).and_then(glare::Connections::poll_close) {
            self.surplus.push_back((peer, connection));
        }
    }
}
