//! A relay that carries what it should, checks nothing, and lies when asked.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    gossipsub::{AllowAllSubscriptionFilter, IdentTopic, MaxCountSubscriptionFilter},
    identify, noise, ping, relay,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerway_core::{
    behaviours::{GossipGate, OlderConnections},
    protocol::{DISCOVERY_TOPIC, SNAPSHOT_PROTOCOL},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{gossip, introduction};

#[derive(NetworkBehaviour)]
struct RelayBehaviour {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    snapshots: request_response::json::Behaviour<Value, Value>,
    /// Gated as an honest relay's: otherwise a page that is loaded again finds it mute, and that is another story.
    gossip: GossipGate<MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>,
}

/// A relay that carries circuits as it should, forwards every message whatever it says, and answers snapshot requests
/// with what it was told to answer. Dropping it ends it.
#[derive(Debug)]
pub struct HostileRelay {
    /// Where pages reach it.
    pub websocket: Multiaddr,
    /// Where native peers reach it.
    pub tcp: Multiaddr,
    answers: Arc<Mutex<VecDeque<Value>>>,
    task: JoinHandle<()>,
}

impl HostileRelay {
    /// Starts one on loopback that forwards these topics and discovery.
    pub async fn start(topics: &[&str]) -> anyhow::Result<Self> {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )?
            .with_websocket(noise::Config::new, yamux::Config::default)
            .await?
            .with_behaviour(|key| {
                Ok(RelayBehaviour {
                    relay: relay::Behaviour::new(key.public().to_peer_id(), generous()),
                    gossip: GossipGate::new(gossip(key)?, OlderConnections::Close),
                    identify: introduction(key),
                    ping: ping::Behaviour::default(),
                    snapshots: snapshots(),
                })
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        for topic in topics.iter().copied().chain([DISCOVERY_TOPIC]) {
            swarm
                .behaviour_mut()
                .gossip
                .gossip_mut()
                .subscribe(&IdentTopic::new(topic))?;
        }
        let peer = *swarm.local_peer_id();
        let tcp = listen(&mut swarm, "", peer).await?;
        let websocket = listen(&mut swarm, "/ws", peer).await?;
        let answers = Arc::default();
        let task = tokio::spawn(serve(swarm, Arc::clone(&answers)));
        Ok(Self {
            websocket,
            tcp,
            answers,
            task,
        })
    }

    /// What to answer to the next snapshot requests: one after the other; when they are used up, nothing.
    pub fn answer(&self, answers: impl IntoIterator<Item = Value>) {
        *lock(&self.answers) = answers.into_iter().collect();
    }

    /// How many of those answers nobody has asked for yet.
    pub fn unasked(&self) -> usize {
        lock(&self.answers).len()
    }
}

fn lock(answers: &Mutex<VecDeque<Value>>) -> MutexGuard<'_, VecDeque<Value>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for HostileRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on a port chosen by the system and offers it to those who reserve.
async fn listen(swarm: &mut Swarm<RelayBehaviour>, over: &str, peer: PeerId) -> anyhow::Result<Multiaddr> {
    let any: Multiaddr = format!("/ip4/{}/tcp/0{over}", Ipv4Addr::LOCALHOST).parse()?;
    let listener = swarm.listen_on(any)?;
    loop {
        if let SwarmEvent::NewListenAddr { listener_id, address } = swarm.select_next_some().await
            && listener_id == listener
        {
            swarm.add_external_address(address.clone());
            return Ok(address.with_p2p(peer).unwrap_or_else(|address| address));
        }
    }
}

async fn serve(mut swarm: Swarm<RelayBehaviour>, answers: Arc<Mutex<VecDeque<Value>>>) {
    loop {
        let SwarmEvent::Behaviour(RelayBehaviourEvent::Snapshots(request_response::Event::Message {
            message: request_response::Message::Request { channel, .. },
            ..
        })) = swarm.select_next_some().await
        else {
            continue;
        };
        let answer = lock(&answers).pop_front();
        if let Some(answer) = answer {
            // Whoever asked may be gone.
            let _ = swarm.behaviour_mut().snapshots.send_response(channel, answer);
        }
    }
}

fn snapshots() -> request_response::json::Behaviour<Value, Value> {
    let codec = request_response::json::codec::Codec::default().set_response_size_maximum(u64::MAX);
    let protocols: [(StreamProtocol, ProtocolSupport); 1] = [(SNAPSHOT_PROTOCOL, ProtocolSupport::Inbound)];
    request_response::json::Behaviour::with_codec(codec, protocols, request_response::Config::default())
}

/// No limit that a few pages could meet.
fn generous() -> relay::Config {
    relay::Config {
        max_circuits: 1_000,
        max_circuit_bytes: 0,
        max_circuit_duration: Duration::from_secs(3_600),
        reservation_rate_limiters: Vec::new(),
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}
