//! A page's gossip beside a relay with stock settings, over the memory transport: what the relay may say and be heard
//! after it. One frame that is not read is enough to be deaf to it from then on.

use std::time::Duration;

use futures::{FutureExt, StreamExt, select};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{Event, IdentTopic, PublishError},
    multiaddr::Protocol,
    swarm::{self, NetworkBehaviour, SwarmEvent},
};

use super::*;
use crate::{
    behaviours::{GossipGate, OlderConnections},
    protocol::ROOM_TOPIC_PREFIX,
    transport,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// The largest frame that a rust-libp2p peer with stock settings passes on.
const STOCK_RUST: usize = 64 * 1024;
/// Room for what is around the data in a frame.
const AROUND: usize = 512;
/// The largest room message that a relay of ours passes on.
const OUR_LARGEST: usize = 12 * 1024;

type Page = Swarm<GossipGate<GossipFilter>>;
type StockRelay = Swarm<Behaviour>;

/// A page and a relay that know of each other that they have this topic.
struct Pair {
    page: Page,
    relay: StockRelay,
    topic: IdentTopic,
}

impl Pair {
    /// The relay passes on frames of up to `largest`, and has `topics` in all.
    async fn new(largest: usize, topics: usize) -> Self {
        let (page_key, relay_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let mut page = swarm(
            &page_key,
            GossipGate::new(gossip(&page_key).unwrap(), OlderConnections::Keep),
        );
        let config = ConfigBuilder::default().max_transmit_size(largest).build().unwrap();
        let mut relay = swarm(
            &relay_key,
            Behaviour::new(MessageAuthenticity::Signed(relay_key.clone()), config).unwrap(),
        );
        let topics: Vec<_> = (0..topics)
            .map(|n| IdentTopic::new(format!("{ROOM_TOPIC_PREFIX}{n:032x}")))
            .collect();
        page.behaviour_mut().gossip_mut().subscribe(&topics[0]).unwrap();
        for topic in &topics {
            relay.behaviour_mut().subscribe(topic).unwrap();
        }
        relay.listen_on(Multiaddr::empty().with(Protocol::Memory(0))).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = relay.select_next_some().await {
                break address;
            }
        };
        page.dial(address).unwrap();
        let topic = topics[0].clone();
        let mut pair = Self { page, relay, topic };
        let mut told = 0;
        pair.drive("the page knows the relay's topics", |event| {
            told += usize::from(matches!(event, SwarmEvent::Behaviour(Event::Subscribed { .. })));
            (told == topics.len()).then_some(())
        })
        .await;
        pair
    }

    /// Runs both until `wanted` makes something of an event of the page.
    async fn drive<T>(&mut self, what: &str, mut wanted: impl FnMut(SwarmEvent<Event>) -> Option<T>) -> T {
        let mut deadline = Delay::new(DEADLINE).fuse();
        loop {
            select! {
                event = self.page.select_next_some() => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                _ = self.relay.select_next_some() => {}
                () = deadline => panic!("not within {DEADLINE:?}: {what}"),
            }
        }
    }

    /// The relay says something to the page, once it knows that the page listens.
    async fn say(&mut self, data: Vec<u8>) {
        let said = async {
            loop {
                match self.relay.behaviour_mut().publish(self.topic.clone(), data.clone()) {
                    Ok(_) => break,
                    Err(PublishError::NoPeersSubscribedToTopic) => {}
                    Err(error) => panic!("cannot be said: {error}"),
                }
                select! {
                    _ = self.page.select_next_some() => {}
                    _ = self.relay.select_next_some() => {}
                }
            }
        };
        select! {
            () = said.boxed_local().fuse() => {}
            () = Delay::new(DEADLINE).fuse() => panic!("nobody to say it to"),
        }
    }

    async fn hear(&mut self, text: &[u8]) {
        self.drive("the page hears the small message", |event| {
            matches!(event, SwarmEvent::Behaviour(Event::Message { message, .. }) if message.data == text).then_some(())
        })
        .await;
    }
}

fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transports = transport::memory(key).unwrap();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(DEADLINE * 2);
    Swarm::new(transports.transport, behaviour, PeerId::from(key.public()), config)
}

#[tokio::test]
async fn when_a_relay_forwards_the_largest_stock_messages_the_page_hears_what_comes_after() {
    for largest in [STOCK_RUST, MAX_FRAME] {
        let mut pair = Pair::new(largest, 1).await;
        for n in 0..3 {
            pair.say(vec![n; largest - AROUND]).await;
        }
        pair.say(b"small".to_vec()).await;
        pair.hear(b"small").await;
    }
}

#[tokio::test]
async fn when_messages_of_a_lawful_size_come_back_to_back_the_page_hears_all() {
    const MESSAGES: u8 = 100;
    let mut pair = Pair::new(STOCK_RUST, 1).await;
    for n in 0..MESSAGES {
        pair.say(vec![n; OUR_LARGEST]).await;
    }
    let mut heard = 0;
    pair.drive("the page hears all", |event| {
        heard += u8::from(matches!(event, SwarmEvent::Behaviour(Event::Message { .. })));
        (heard == MESSAGES).then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_a_greeting_names_as_many_rooms_as_a_peer_may_have_all_are_known() {
    let mut pair = Pair::new(STOCK_RUST, TOPICS).await;
    pair.say(b"small".to_vec()).await;
    pair.hear(b"small").await;
}
