//! Native programmes that wish no good: peers that publish whatever they like, and a relay that checks nothing and lies.

mod peer;
mod relay;

use std::time::Duration;

use libp2p::{
    gossipsub::{self, MessageAuthenticity, ValidationMode},
    identify,
    identity::Keypair,
};
use peerway_core::protocol::IDENTIFY_PROTOCOL_VERSION;

pub use peer::publish;
pub use relay::HostileRelay;

/// Larger than anything an honest node lets pass.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// Gossip without any of the care that an honest node takes. Signatures are passed on: honest nodes insist on them, and
/// without validation gossipsub would strip them.
fn gossip(key: &Keypair) -> anyhow::Result<gossipsub::Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Permissive)
        .max_transmit_size(MAX_MESSAGE)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .mesh_n_low(50)
        .mesh_n(50)
        .mesh_n_high(50)
        .build()?;
    gossipsub::Behaviour::new(MessageAuthenticity::Signed(key.clone()), config).map_err(anyhow::Error::msg)
}

fn introduction(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new(
        IDENTIFY_PROTOCOL_VERSION.to_owned(),
        key.public(),
    ))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use libp2p::{
        gossipsub::{Event, IdentTopic},
        swarm::SwarmEvent,
    };
    use peerway_core::protocol::DISCOVERY_TOPIC;

    use super::{
        peer::{AttackerBehaviourEvent, attacker},
        *,
    };

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
                if let SwarmEvent::Behaviour(AttackerBehaviourEvent::Gossip(Event::Message { message, .. })) =
                    listener.select_next_some().await
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
