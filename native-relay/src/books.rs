//! Where everything that happens is written down: each event of the swarm once, in the ledger, in the log, and in libp2p's
//! own metrics.
//!
//! Decides what libp2p's metrics are not shown: some of their labels are what a remote says, and would grow without bound.

use libp2p::{
    Multiaddr, PeerId,
    gossipsub::{MessageAcceptance, TopicHash},
    identify, ping,
    swarm::SwarmEvent,
};
use libp2p_metrics::{Metrics, Recorder, Registry};
use peerway_core::{access::TokenAnswer, now::Now};

use crate::{
    access::Reason,
    behaviour::BehaviourEvent,
    journal,
    ledger::{Ledger, StunTally},
};

/// The protocols by which libp2p's metrics tell peers apart.
const TOLD_APART: [libp2p::StreamProtocol; 3] = [
    identify::PROTOCOL_NAME,
    identify::PUSH_PROTOCOL_NAME,
    ping::PROTOCOL_NAME,
];

/// What is written into.
pub(crate) struct Books {
    ledger: Ledger,
    libp2p: Metrics,
}

impl Books {
    /// With libp2p's metrics in `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        Self {
            ledger: Ledger::default(),
            libp2p: Metrics::new(registry),
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where those write who answer STUN.
    pub(crate) fn stun(&self) -> StunTally {
        self.ledger.stun()
    }

    /// Something happened in the swarm.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum, of which the other events begin and end nothing"
    )]
    pub(crate) fn write(&mut self, event: &SwarmEvent<BehaviourEvent>, now: Now) {
        match event {
            SwarmEvent::Behaviour(event) => self.write_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.ledger.handle_connected(*peer_id, *connection_id, endpoint, now),
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, ..
            } => self.ledger.handle_disconnected(*peer_id, *connection_id),
            SwarmEvent::IncomingConnectionError { local_addr, error, .. } => {
                self.ledger.handle_not_connected(local_addr, error);
            }
            // Its label would be an address that a peer says it sees us at.
            SwarmEvent::NewExternalAddrCandidate { .. } => return,
            _ => {}
        }
        self.libp2p.record(event);
    }

    fn write_behaviour(&mut self, event: &BehaviourEvent) {
        match event {
            BehaviourEvent::Admission(never) | BehaviourEvent::Limits(never) => match *never {},
            BehaviourEvent::Relay(event) => {
                journal::write(event);
                self.ledger.handle_relay(event);
            }
            BehaviourEvent::Gossip(event) => self.libp2p.record(event),
            BehaviourEvent::Identify(event) => self.write_identify(event),
            BehaviourEvent::Ping(event) => self.libp2p.record(event),
            BehaviourEvent::Tokens(_) | BehaviourEvent::Snapshots(_) => {}
        }
    }

    fn write_identify(&self, event: &identify::Event) {
        match event {
            identify::Event::Received {
                connection_id,
                peer_id,
                info,
            } => {
                // They would keep one that is gone for ever.
                if self.ledger.is_connected(peer_id) {
                    self.libp2p.record(&identify::Event::Received {
                        connection_id: *connection_id,
                        peer_id: *peer_id,
                        info: without_what_it_says(info),
                    });
                }
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } | identify::Event::Error { .. } => {
                self.libp2p.record(event);
            }
        }
    }

    /// A gossip message was judged.
    pub(crate) fn write_gossip(&mut self, topic: &TopicHash, verdict: &MessageAcceptance) {
        self.ledger.handle_gossip(topic, verdict);
    }

    /// A token was judged.
    pub(crate) fn write_token(&mut self, peer: PeerId, answer: TokenAnswer) {
        tracing::info!(%peer, ?answer, "token presented");
        self.ledger.handle_token(answer);
    }

    /// A connection is closed because its peer may not be here.
    pub(crate) fn write_access_withdrawn(&mut self, reason: Reason) {
        self.ledger.handle_access_withdrawn(reason);
    }
}

/// What libp2p's metrics may keep of a peer: its addresses would become labels, and what they keep is kept while it is
/// connected.
fn without_what_it_says(info: &identify::Info) -> identify::Info {
    let known = info.protocols.iter().filter(|protocol| TOLD_APART.contains(protocol));
    identify::Info {
        public_key: info.public_key.clone(),
        protocol_version: String::new(),
        agent_version: String::new(),
        listen_addrs: Vec::new(),
        protocols: known.cloned().collect(),
        observed_addr: Multiaddr::empty(),
        signed_peer_record: None,
    }
}
