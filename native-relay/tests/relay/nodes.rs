//! Whole nodes that know nothing but the relay: they hear of each other, connect through it, talk and open streams.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol, identity::Keypair};
use native_relay::{Config, Endpoint, Relay};
use peerway_core::{
    chat::RoomName,
    dial::Route,
    node::{self, Event, Events, Node, Reach, RelaySpec},
};
use tokio::time::timeout;

use crate::support::{PATIENCE, TestRelay};

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1.0.0");

struct Peer {
    node: Node,
    events: Events,
}

impl Peer {
    fn start(relay: &Multiaddr) -> Self {
        let relay: RelaySpec = relay.to_string().parse().unwrap();
        let (node, events, event_loop) = node::builder(Keypair::generate_ed25519())
            .relay(relay)
            .room(RoomName::default())
            .build()
            .unwrap();
        tokio::spawn(event_loop.run());
        Self { node, events }
    }

    fn id(&self) -> PeerId {
        self.node.local_peer_id()
    }

    /// The first event that `wanted` makes something of.
    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.next().await.expect("the node runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
    }

    async fn until_connected(&mut self, peer: PeerId) -> Route {
        self.until("connected", |event| match event {
            Event::RouteChanged { peer: who, route } if *who == peer => *route,
            _ => None,
        })
        .await
    }

    async fn until_heard(&mut self, text: &str) {
        self.until("heard", |event| match event {
            Event::MessageReceived { message, .. } if message.text == text && !message.own => Some(()),
            _ => None,
        })
        .await;
    }

    async fn say(&self, text: &str) {
        self.node
            .say(RoomName::default(), text.to_owned())
            .await
            .unwrap()
            .unwrap();
    }
}

async fn meet_over(transport: &str) {
    let relay = TestRelay::start().await;
    let address = relay.address(transport);
    let (mut a, mut b) = (Peer::start(&address), Peer::start(&address));
    let (a_id, b_id) = (a.id(), b.id());
    let through = Route::Circuit {
        relay: relay.relay.peer_id(),
    };
    assert_eq!(a.until_connected(b_id).await, through);
    assert_eq!(b.until_connected(a_id).await, through);

    a.say("from a").await;
    b.until_heard("from a").await;
    b.say("from b").await;
    a.until_heard("from b").await;

    let mut incoming = b.node.accept(ECHO).await.unwrap().unwrap();
    let echo = tokio::spawn(async move {
        let (_, stream) = incoming.next().await.unwrap();
        let (reader, mut writer) = stream.split();
        futures::io::copy(reader, &mut writer).await.unwrap();
        writer.close().await.unwrap();
    });
    assert_eq!(a.node.connect(b_id, Reach::PreferDirect).await, Ok(through));
    let mut stream = a.node.open(b_id, ECHO).await.unwrap();
    let sent = vec![7; 1 << 20];
    let (mut reader, mut writer) = {
        let (reader, writer) = AsyncReadExt::split(&mut stream);
        (reader, writer)
    };
    let mut received = Vec::new();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.close().await.unwrap();
    };
    let read = async { reader.read_to_end(&mut received).await.unwrap() };
    timeout(PATIENCE, futures::future::join(write, read)).await.unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
    echo.await.unwrap();

    timeout(PATIENCE, b.node.clone().shutdown()).await.unwrap();
    a.until("the other is gone", |event| {
        matches!(event, Event::PeerGone { peer } if *peer == b_id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_nodes_that_know_one_relay_meet_and_talk_over_websocket() {
    meet_over("ws").await;
}

#[tokio::test]
async fn two_nodes_that_know_one_relay_meet_and_talk_over_tcp() {
    meet_over("tcp").await;
}

#[tokio::test]
async fn two_nodes_that_know_one_relay_meet_and_talk_over_quic() {
    meet_over("quic-v1").await;
}

#[tokio::test]
async fn when_the_relay_comes_back_after_a_stop_both_are_reserved_and_heard_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Relay::start(Config::ephemeral(dir.path().to_owned())).await.unwrap();
    let address = first
        .addresses()
        .iter()
        .find(|address| address.to_string().contains("/tcp/") && !address.to_string().contains("/ws"))
        .unwrap()
        .clone();
    let (mut a, mut b) = (Peer::start(&address), Peer::start(&address));
    let (a_id, b_id) = (a.id(), b.id());
    a.until_connected(b_id).await;
    b.until_connected(a_id).await;
    first.shutdown().await;
    a.until("the loss is told", |event| {
        matches!(event, Event::RelayLost { .. }).then_some(())
    })
    .await;

    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut again = Config::ephemeral(dir.path().to_owned());
    again.listen = vec![Endpoint::Tcp(socket(&address))];
    let second = Relay::start(again).await.unwrap();
    for peer in [&mut a, &mut b] {
        peer.until("reserved again", |event| {
            matches!(event, Event::RelayReserved { .. }).then_some(())
        })
        .await;
    }
    a.say("back").await;
    b.until_heard("back").await;
    second.shutdown().await;
}

fn socket(address: &Multiaddr) -> std::net::SocketAddr {
    let text = address.to_string();
    let mut parts = text.split('/');
    let host = parts.nth(2).unwrap().parse().unwrap();
    let port = parts.nth(1).unwrap().parse().unwrap();
    std::net::SocketAddr::new(host, port)
}
