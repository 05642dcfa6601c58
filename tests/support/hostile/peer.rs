//! A peer that publishes whatever it is given.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, bail};
use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic},
    identify,
    identity::Keypair,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};

use super::{gossip, introduction};

/// How long a whole attack may take.
const ATTACK_WITHIN: Duration = Duration::from_secs(30);

/// Between two messages: an attack that is dropped for its rate alone would prove nothing about its content.
const PACE: Duration = Duration::from_millis(5);

/// For what is still queued when the last message was published.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(NetworkBehaviour)]
pub(super) struct AttackerBehaviour {
    pub(super) gossip: gossipsub::Behaviour,
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

pub(super) fn attacker(key: Keypair) -> anyhow::Result<Swarm<AttackerBehaviour>> {
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
                identify: introduction(key),
                ping: ping::Behaviour::default(),
            })
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build())
}
