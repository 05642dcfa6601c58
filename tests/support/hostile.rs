//! Native programmes that wish no good: peers that publish whatever they like, and a relay that checks nothing and lies.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode},
    identify,
    identity::Keypair,
    noise, ping, relay,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerway_core::protocol::{DISCOVERY_TOPIC, IDENTIFY_PROTOCOL_VERSION, SNAPSHOT_PROTOCOL};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Larger than anything an honest node lets pass.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// How long a whole attack may take.
const ATTACK_WITHIN: Duration = Duration::from_secs(30);

/// Between two messages: an attack that is dropped for its rate alone would prove nothing about its content.
const PACE: Duration = Duration::from_millis(5);

/// For what is still queued when the last message was published.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(NetworkBehaviour)]
struct AttackerBehaviour {
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Connects to `relay` as `key` and publishes `payloads` on `topic`, one after the other.
///
/// Returns how many were published. A relay that hangs up in between is called again: that is its right, and the rest
/// of the attack shall still arrive.
pub async fn publish(relay: Multiaddr, key: Keypair, topic: &str, payloads: Vec<Vec<u8>>) -> anyhow::Result<usize> {
    let attack = async {
        let topic = IdentTopic::new(topic);
        let mut swarm = attacker(key)?;
        swarm.behaviour_mut().gossip.subscribe(&topic)?;
        swarm.dial(relay.clone())?;
        let mut left = VecDeque::from(payloads);
        let mut published = 0;
        let mut pace = tokio::time::interval(PACE);
        let mut listeners = 0_usize;
        while !left.is_empty() {
            tokio::select! {
                _ = pace.tick(), if listeners > 0 => {
                    let Some(payload) = left.pop_front() else { break };
                    match swarm.behaviour_mut().gossip.publish(topic.clone(), payload.clone()) {
                        Ok(_) => published += 1,
                        // Two equal messages are one; nothing else is wrong with it.
                        Err(gossipsub::PublishError::Duplicate) => {}
                        Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                            listeners = 0;
                            left.push_front(payload);
                        }
                        Err(error) => bail!("the attack cannot be published: {error}"),
                    }
                }
                event = swarm.select_next_some() => on_attacker_event(&mut swarm, event, &relay, &mut listeners)?,
            }
        }
        let flushed = tokio::time::sleep(FLUSH);
        tokio::pin!(flushed);
        loop {
            tokio::select! {
                () = &mut flushed => return Ok(published),
                _ = swarm.select_next_some() => {}
            }
        }
    };
    tokio::time::timeout(ATTACK_WITHIN, attack)
        .await
        .context("the attack took too long")?
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an attacker cares for little")]
fn on_attacker_event(
    swarm: &mut Swarm<AttackerBehaviour>,
    event: SwarmEvent<AttackerBehaviourEvent>,
    relay: &Multiaddr,
    listeners: &mut usize,
) -> anyhow::Result<()> {
    match event {
        SwarmEvent::Behaviour(AttackerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => *listeners += 1,
        SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
            *listeners = 0;
            swarm.dial(relay.clone())?;
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => bail!("the attacker cannot connect: {error}"),
        _ => {}
    }
    Ok(())
}

fn attacker(key: Keypair) -> anyhow::Result<Swarm<AttackerBehaviour>> {
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )?
        .with_behaviour(|key| {
            Ok(AttackerBehaviour {
                gossip: gossip(key)?,
                identify: identify(key),
                ping: ping::Behaviour::default(),
            })
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build())
}

/// Gossip without any of the care that an honest node takes.
fn gossip(key: &Keypair) -> anyhow::Result<gossipsub::Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::None)
        .max_transmit_size(MAX_MESSAGE)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .mesh_n_low(50)
        .mesh_n(50)
        .mesh_n_high(50)
        .build()?;
    gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), config).map_err(anyhow::Error::msg)
}

fn identify(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new(
        IDENTIFY_PROTOCOL_VERSION.to_owned(),
        key.public(),
    ))
}

#[derive(NetworkBehaviour)]
struct RelayBehaviour {
    relay: relay::Behaviour,
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    snapshots: request_response::json::Behaviour<Value, Value>,
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
                    gossip: gossip(key)?,
                    identify: identify(key),
                    ping: ping::Behaviour::default(),
                    snapshots: snapshots(),
                })
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        for topic in topics.iter().copied().chain([DISCOVERY_TOPIC]) {
            swarm.behaviour_mut().gossip.subscribe(&IdentTopic::new(topic))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_an_attacker_publishes_the_hostile_relay_forwards_whatever_it_is() {
        let relay = HostileRelay::start(&[]).await.unwrap();
        let mut listener = attacker(Keypair::generate_ed25519()).unwrap();
        listener
            .behaviour_mut()
            .gossip
            .subscribe(&IdentTopic::new(DISCOVERY_TOPIC))
            .unwrap();
        listener.dial(relay.tcp.clone()).unwrap();
        let heard = async {
            loop {
                if let SwarmEvent::Behaviour(AttackerBehaviourEvent::Gossip(gossipsub::Event::Message {
                    message,
                    ..
                })) = listener.select_next_some().await
                {
                    return message.data;
                }
            }
        };
        let payloads = vec![b"\xff not an announcement".to_vec(); 1];
        let attack = async {
            // The relay forwards to those it has; the listener comes first.
            tokio::time::sleep(Duration::from_secs(1)).await;
            publish(
                relay.tcp.clone(),
                Keypair::generate_ed25519(),
                DISCOVERY_TOPIC,
                payloads.clone(),
            )
            .await
            .unwrap()
        };
        let both = futures::future::join(heard, attack);
        let (heard, published) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert_eq!((heard, published), (payloads[0].clone(), 1));
    }
}
