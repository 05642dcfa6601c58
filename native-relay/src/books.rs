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
            BehaviourEvent::Tokens(_) | BehaviourEvent::Snapshots(_) | BehaviourEvent::Reservations(_) => {}
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

#[cfg(test)]
mod tests {
    use libp2p::{
        core::ConnectedPoint,
        identity::Keypair,
        swarm::{ConnectionId, StreamProtocol},
    };
    use prometheus_client::encoding::text;

    use super::*;

    /// What libp2p's metrics show after these events.
    fn shown(events: Vec<SwarmEvent<BehaviourEvent>>) -> String {
        let mut registry = Registry::default();
        let mut books = Books::new(&mut registry);
        for event in &events {
            books.write(event, Now::default());
        }
        let mut encoded = String::new();
        text::encode_registry(&mut encoded, &registry).unwrap();
        encoded
    }

    fn strange(number: usize) -> Multiaddr {
        format!("/ip4/203.0.113.7/tcp/1{}", "/ws/tls".repeat(number))
            .parse()
            .unwrap()
    }

    fn connected(peer_id: PeerId) -> SwarmEvent<BehaviourEvent> {
        SwarmEvent::ConnectionEstablished {
            peer_id,
            connection_id: ConnectionId::new_unchecked(1),
            endpoint: ConnectedPoint::Listener {
                local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
                send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
            },
            num_established: 1.try_into().unwrap(),
            concurrent_dial_errors: None,
            established_in: std::time::Duration::ZERO,
        }
    }

    fn identified(keys: &Keypair) -> SwarmEvent<BehaviourEvent> {
        let info = identify::Info {
            public_key: keys.public(),
            protocol_version: "strange/1".to_owned(),
            agent_version: "strange/2".to_owned(),
            listen_addrs: (0..10).map(strange).collect(),
            protocols: vec![identify::PROTOCOL_NAME, StreamProtocol::new("/strange/3")],
            observed_addr: strange(3),
            signed_peer_record: None,
        };
        let event = identify::Event::Received {
            connection_id: ConnectionId::new_unchecked(1),
            peer_id: keys.public().to_peer_id(),
            info,
        };
        SwarmEvent::Behaviour(BehaviourEvent::Identify(event))
    }

    #[test]
    fn when_a_peer_says_where_it_sees_us_or_what_it_is_no_label_is_made_of_it() {
        let keys = Keypair::generate_ed25519();
        let mut events = vec![connected(keys.public().to_peer_id()), identified(&keys)];
        let candidate = |number| SwarmEvent::NewExternalAddrCandidate {
            address: strange(number),
        };
        events.extend((0..20).map(candidate));
        let shown = shown(events);
        assert!(shown.contains("libp2p_identify_received_total 1"), "{shown}");
        assert!(
            shown.contains("remote_protocols{protocol=\"/ipfs/id/1.0.0\"} 1"),
            "{shown}"
        );
        for part in ["/ws", "strange", "=\"unrecognized\"", "external_addr_candidates_total"] {
            assert!(!shown.contains(part), "{part} is in {shown}");
        }
    }

    #[test]
    fn when_a_peer_is_gone_before_it_is_identified_nothing_is_kept_of_it() {
        let shown = shown(vec![identified(&Keypair::generate_ed25519())]);
        assert!(!shown.contains("remote_protocols{"), "{shown}");
    }
}
