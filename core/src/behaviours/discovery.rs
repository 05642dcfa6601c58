//! Announces us and hears the others, in anyone's swarm: [the machine](crate::discovery::Discovery) with a
//! clock and gossip around it.
//!
//! Decides nothing itself, and never dials: whom to connect to is for the owner of the swarm, who is told where each
//! peer says it can be reached.

use std::{
    collections::{BTreeSet, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::ListenerId, transport::PortUse},
    gossipsub::{self, IdentTopic, Message, PublishError, SubscriptionError, TopicHash, TopicSubscriptionFilter},
    multiaddr::Protocol,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, ExpiredListenAddr, ExternalAddrExpired, FromSwarm,
        NetworkBehaviour, NewListenAddr, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionEstablished, ExternalAddrConfirmed},
    },
};
use rand::{SeedableRng, rngs::SmallRng};

use super::{
    GossipFilter, GossipGate,
    alarm::{Alarm, Passage},
};
use crate::{
    announcement::schedule::ScheduleConfig,
    discovery::{self, DiscoveryAction},
    now::Now,
    peer_book::{Changed, Heard, Origin, PeerBookConfig, PeerEntry},
    protocol,
    snapshot::Snapshot,
};

/// Relayed addresses of ours that are looked at; further ones are not announced. Relays name at most 4 KiB of them each.
const MAX_ADDRESSES: usize = 256;

/// The knobs of [`Discovery`]: where, when, and how many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiscoveryConfig {
    /// The topic on which peers announce themselves. Default: [`protocol::DISCOVERY_TOPIC`], the lobby, where everybody
    /// is.
    pub scope: String,
    /// When announcements are published.
    pub schedule: ScheduleConfig,
    /// How many peers are remembered, and how long.
    pub peer_book: PeerBookConfig,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            scope: protocol::DISCOVERY_TOPIC.to_owned(),
            schedule: ScheduleConfig::default(),
            peer_book: PeerBookConfig::default(),
        }
    }
}

/// What [`Discovery`] tells the owner of the swarm.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// A peer was heard of for the first time, or again after it was gone.
    Discovered {
        /// Who.
        peer: PeerId,
        /// What it wants to be called: bounded and cleaned. Display only.
        name: Option<String>,
        /// Where it says it can be reached, best first. Whether an address may be dialled is not judged:
        /// [`dial::plan`](crate::dial::plan) does that.
        addresses: Vec<Multiaddr>,
    },
    /// A peer announces another name or other addresses than before.
    Updated {
        /// Who.
        peer: PeerId,
        /// Its name now.
        name: Option<String>,
        /// Its addresses now, best first.
        addresses: Vec<Multiaddr>,
    },
    /// A peer said goodbye, or was silent for longer than it stays fresh, and no connection to it is left.
    Gone {
        /// Who.
        peer: PeerId,
    },
    /// Of gossipsub inside: whatever is no message in the scope. Messages on other topics are the owner's to validate
    /// (`report_message_validation_result` of [`Discovery::gossip_mut`]): until then they are not passed on.
    Gossip(gossipsub::Event),
}

/// Announces our relayed addresses in a scope, and knows who else is there.
///
/// It announces as soon as the swarm has a relayed address, listened on or confirmed as external, and whenever they
/// change. It verifies and answers every message in its scope itself; what it hears on other topics is its owner's. Put
/// it *last* in a behaviour, like the [`GossipGate`] that it owns.
pub struct Discovery<F: TopicSubscriptionFilter + Send + 'static = GossipFilter> {
    machine: discovery::Discovery,
    gate: GossipGate<F>,
    scope: TopicHash,
    alarm: Alarm,
    /// Relayed addresses of ours and who gave them, in the order in which they came. Bounded by [`MAX_ADDRESSES`].
    addresses: Vec<(AddressSource, Multiaddr)>,
    /// Peers reported as discovered and not gone since: never more than the peer book holds.
    here: BTreeSet<PeerId>,
    /// What the swarm has not fetched yet: a few for each event that it told.
    events: VecDeque<DiscoveryEvent>,
}

impl<F: TopicSubscriptionFilter + Send + 'static> Discovery<F> {
    /// Takes part in the scope as `local`, which must be the peer that signs the gossip behind `gate`. That gossip must
    /// await validation, as [`gossip`](fn@super::gossip) does, or it passes on whatever it hears. All randomness, which is
    /// when announcements are made, comes from `seed`.
    ///
    /// # Errors
    /// If gossip's own subscription filter refuses the scope's topic.
    pub fn new(
        local: PeerId,
        mut gate: GossipGate<F>,
        config: DiscoveryConfig,
        seed: u64,
    ) -> Result<Self, SubscriptionError> {
        let topic = IdentTopic::new(config.scope);
        gate.gossip_mut().subscribe(&topic)?;
        let rng = SmallRng::seed_from_u64(seed);
        Ok(Self {
            machine: discovery::Discovery::new(local, config.schedule, config.peer_book, rng),
            gate,
            scope: topic.hash(),
            alarm: Alarm::new(),
            addresses: Vec::new(),
            here: BTreeSet::new(),
            events: VecDeque::new(),
        })
    }

    /// Announce this name from now on.
    pub fn set_name(&mut self, name: Option<String>) {
        let now = self.alarm.now();
        self.machine.handle_renamed(name, now);
    }

    /// Say goodbye, and announce nothing any more. The swarm must be driven a little longer for it to be heard.
    pub fn leave(&mut self) {
        let now = self.alarm.now();
        self.machine.handle_left(now);
        self.carry_out(now);
    }

    /// The user cares for this peer: it makes room for nobody.
    pub fn pin(&mut self, peer: PeerId) {
        self.machine.pin(peer);
    }

    /// A relay told what it has recently heard ([`snapshots`](super::snapshots)). It counts for less than gossip.
    pub fn handle_snapshot(&mut self, snapshot: &Snapshot) {
        let now = self.alarm.now();
        for heard in snapshot.verify() {
            let hearsay = Heard {
                sequence: heard.sequence,
                age: heard.age,
                origin: Origin::Snapshot,
            };
            self.machine.handle_announcement(&heard.announcement, hearsay, now);
        }
    }

    /// Who is there, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &PeerEntry)> {
        self.machine.book().iter().filter(|(peer, _)| self.here.contains(peer))
    }

    /// The gossipsub behaviour: who is subscribed to what.
    #[must_use]
    pub fn gossip(&self) -> &gossipsub::Behaviour<gossipsub::IdentityTransform, F> {
        self.gate.gossip()
    }

    /// The gossipsub behaviour: to subscribe to other topics, to publish and to validate there.
    pub fn gossip_mut(&mut self) -> &mut gossipsub::Behaviour<gossipsub::IdentityTransform, F> {
        self.gate.gossip_mut()
    }

    fn advance(&mut self) {
        let now = self.alarm.now();
        if self.alarm.passage(now) == Passage::Slept {
            self.machine.handle_wake(now);
        }
        self.machine.handle_timeout(now);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                DiscoveryAction::Publish { what, data } => {
                    match self.gate.gossip_mut().publish(self.scope.clone(), data) {
                        // A duplicate was published before: it is on its way.
                        Ok(_) | Err(PublishError::Duplicate) => self.machine.handle_published(now),
                        Err(error) => {
                            tracing::debug!(%error, ?what, "not published");
                            self.machine.handle_publish_failed(now);
                        }
                    }
                }
                DiscoveryAction::Discovered { peer, name, addrs } => {
                    self.here.insert(peer);
                    self.events.push_back(DiscoveryEvent::Discovered {
                        peer,
                        name,
                        addresses: addrs,
                    });
                }
                DiscoveryAction::Heard {
                    peer,
                    name,
                    addrs,
                    renamed,
                    moved,
                } => {
                    if renamed == Changed::Different || moved == Changed::Different {
                        self.events.push_back(DiscoveryEvent::Updated {
                            peer,
                            name,
                            addresses: addrs,
                        });
                    }
                }
                // Nobody is dialled here.
                DiscoveryAction::Forgotten { .. } => {}
                DiscoveryAction::Gone { peer } => {
                    if self.here.remove(&peer) {
                        self.events.push_back(DiscoveryEvent::Gone { peer });
                    }
                }
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others say nothing of the scope"
    )]
    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } if message.topic == self.scope => {
                let acceptance = self.on_message(&message);
                self.gate
                    .gossip_mut()
                    .report_message_validation_result(&message_id, &propagation_source, acceptance);
                return;
            }
            gossipsub::Event::Subscribed { ref topic, .. } if *topic == self.scope => {
                let now = self.alarm.now();
                self.machine.handle_subscriber(now);
            }
            _ => {}
        }
        self.events.push_back(DiscoveryEvent::Gossip(event));
    }

    fn on_message(&mut self, message: &Message) -> gossipsub::MessageAcceptance {
        let now = self.alarm.now();
        match message.source {
            Some(source) => self
                .machine
                .handle_gossip(source, message.sequence_number, &message.data, now),
            // Who signs nothing speaks for nobody; strict validation does not let it come this far.
            None => gossipsub::MessageAcceptance::Reject,
        }
    }

    fn on_address(&mut self, source: AddressSource, address: &Multiaddr) {
        let known = self.addresses.iter().any(|known| *known == (source, address.clone()));
        if is_relayed(address) && !known && self.addresses.len() < MAX_ADDRESSES {
            self.addresses.push((source, address.clone()));
            self.addresses_changed();
        }
    }

    fn on_address_lost(&mut self, source: AddressSource, address: &Multiaddr) {
        self.addresses.retain(|known| *known != (source, address.clone()));
        self.addresses_changed();
    }

    fn addresses_changed(&mut self) {
        let now = self.alarm.now();
        let addresses = self.addresses.iter().map(|(_, address)| address.clone()).collect();
        self.machine.handle_addresses(addresses, now);
    }
}

/// How we come to have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressSource {
    Listener(ListenerId),
    Confirmed,
}

/// Direct addresses are not announced: nobody would dial one.
fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

impl<F: TopicSubscriptionFilter + Send + 'static> NetworkBehaviour for Discovery<F> {
    type ConnectionHandler = THandler<GossipGate<F>>;
    type ToSwarm = DiscoveryEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others change neither who is there nor where we are"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.gate.on_swarm_event(event);
        let now = self.alarm.now();
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                other_established: 0,
                ..
            }) => self.machine.handle_connected(peer_id, now),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                remaining_established: 0,
                ..
            }) => self.machine.handle_disconnected(peer_id, now),
            FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }) => {
                self.on_address(AddressSource::Listener(listener_id), addr)
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }) => {
                self.on_address_lost(AddressSource::Listener(listener_id), addr);
            }
            FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }) => {
                self.on_address(AddressSource::Confirmed, addr)
            }
            FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }) => {
                self.on_address_lost(AddressSource::Confirmed, addr)
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.gate.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            self.advance();
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            match self.gate.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.on_gossip(event),
                Poll::Ready(action) => return Poll::Ready(action.map_out(DiscoveryEvent::Gossip)),
                Poll::Pending if self.alarm.poll(cx, self.machine.poll_timeout()).is_pending() => {
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
    }
}
