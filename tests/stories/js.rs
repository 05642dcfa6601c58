//! Programmes that are not ours: js-libp2p in Node and in Chromium, through our relay, with each other and with us.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::{chat::RoomName, dial::Route, node::Event, protocol::DISCOVERY_TOPIC};
use peerway_tests::{
    browser::Browser,
    js::{JsPeer, JsRelay, JsRoute, page_site},
    native::NativePeer,
    page::{READY_WITHIN, SOON},
    raw::RawPair,
    relay::Relay,
};

use crate::open_one;

/// More than every buffer on the way holds.
const LARGE: usize = 8 << 20;

/// Larger than a window, and well below what a circuit may carry.
const MODEST: usize = 1 << 20;

async fn websocket(relay: &Relay) -> anyhow::Result<Multiaddr> {
    relay
        .address("WebSocket", |address| {
            address.iter().any(|part| matches!(part, Protocol::Ws(_)))
        })
        .await
}

async fn tcp(relay: &Relay) -> anyhow::Result<Multiaddr> {
    relay
        .address("TCP", |address| {
            matches!(address.iter().nth(1), Some(Protocol::Tcp(_)))
                && matches!(address.iter().nth(2), Some(Protocol::P2p(_)))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_peers_use_our_relay_over_websocket_and_tcp_both_get_a_slot_and_a_circuit_joins_them()
-> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let relay_id = relay.peer_id().await?;
    let addresses = futures::try_join!(websocket(&relay), tcp(&relay))?;
    let (alice, bob) = futures::try_join!(JsPeer::start(&addresses.0), JsPeer::start(&addresses.1))?;
    for peer in [&alice, &bob] {
        peer.reserved(JsRoute::Circuit).await?;
        let agent = peer.identified(relay_id, JsRoute::Direct).await?;
        assert!(agent.starts_with("peerway-relay/"), "{agent}");
    }
    let dialled = alice.dial(&bob.reserved(JsRoute::Circuit).await?).await?;
    assert_eq!(dialled.route, JsRoute::Circuit);
    alice.ping(bob.id(), JsRoute::Circuit).await?;
    bob.echo(alice.id(), JsRoute::Circuit, MODEST).await?;
    let status = alice.status().await?;
    let bob_id = bob.id().to_string();
    let circuit = status.connections.iter().find(|connection| connection.peer == bob_id);
    assert!(circuit.is_some_and(|circuit| circuit.limited), "{status:#?}");
    Ok(())
}

/// What two peers do that are not ours: everything goes straight, and the circuit is not needed any more.
async fn connect_directly(alice: &JsPeer, bob: &JsPeer) -> anyhow::Result<()> {
    let dialled = alice.dial(&bob.reserved(JsRoute::Webrtc).await?).await?;
    assert_eq!(dialled.route, JsRoute::Webrtc);
    for (one, other) in [(alice, bob), (bob, alice)] {
        let agent = one.identified(other.id(), JsRoute::Webrtc).await?;
        assert!(agent.starts_with("js-libp2p/"), "{agent}");
        one.ping(other.id(), JsRoute::Webrtc).await?;
        one.echo(other.id(), JsRoute::Webrtc, LARGE).await?;
    }
    alice.hang_up(bob.id(), JsRoute::Circuit).await?;
    bob.echo(alice.id(), JsRoute::Webrtc, 0).await?;
    alice.throughput(bob.id(), JsRoute::Webrtc, LARGE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_peers_in_node_dial_over_webrtc_our_relay_signals() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let address = websocket(&relay).await?;
    let (alice, bob) = futures::try_join!(JsPeer::start(&address), JsPeer::start(&address))?;
    connect_directly(&alice, &bob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_peers_in_pages_dial_over_webrtc_our_relay_signals() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (address, site) = (websocket(&relay).await?, page_site()?);
    let browsers = Browser::launch_two().await?;
    let (alice, bob) = futures::try_join!(
        JsPeer::open(&browsers.0, &site, &address),
        JsPeer::open(&browsers.1, &site, &address)
    )?;
    connect_directly(&alice, &bob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_peers_dial_over_webrtc_a_js_relay_signals_too() -> anyhow::Result<()> {
    let relay = JsRelay::start(&[]).await?;
    let (alice, bob) = futures::try_join!(JsPeer::start(&relay.address), JsPeer::start(&relay.address))?;
    connect_directly(&alice, &bob).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_js_peer_and_a_native_node_share_our_relay_they_meet_and_talk() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let relay_id = relay.peer_id().await?;
    meet(relay_id, &websocket(&relay).await?, &tcp(&relay).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_js_peer_and_a_native_node_share_a_js_relay_they_meet_and_talk() -> anyhow::Result<()> {
    let relay = JsRelay::start(&[DISCOVERY_TOPIC.to_owned(), RoomName::default().topic()]).await?;
    let Some(Protocol::P2p(relay_id)) = relay.address.iter().last() else {
        anyhow::bail!("{} does not end in the relay's id", relay.address);
    };
    meet(relay_id, &relay.address, &relay.address).await
}

/// A js peer that hears whoever comes from now on. Of those who came before it would hear only at their next
/// announcement, as it does not ask for a snapshot.
async fn listening(relay: PeerId, address: &Multiaddr) -> anyhow::Result<JsPeer> {
    let js = JsPeer::start(address).await?;
    js.knows_subscriber(DISCOVERY_TOPIC, relay).await?;
    Ok(js)
}

/// A js peer and a node of ours hear of each other, connect by a circuit, and do there whatever peers do.
async fn meet(relay: PeerId, for_js: &Multiaddr, for_ours: &Multiaddr) -> anyhow::Result<()> {
    let js = listening(relay, for_js).await?;
    let mut ours = NativePeer::start(for_ours).await?;
    assert_eq!(ours.connected_to(js.id()).await?, Route::Circuit { relay });
    let announced = js.hears_of(ours.id()).await?;
    assert!(
        announced.iter().any(|address| address.contains("/p2p-circuit")),
        "{announced:?}"
    );

    let agent = js.identified(ours.id(), JsRoute::Circuit).await?;
    assert!(agent.starts_with("peerway/"), "{agent}");
    js.ping(ours.id(), JsRoute::Circuit).await?;
    ours.until(READY_WITHIN, "the js peer answers our ping", |event| {
        matches!(event, Event::PeerMeasured { peer, .. } if *peer == js.id()).then_some(())
    })
    .await?;
    js.echo(ours.id(), JsRoute::Circuit, MODEST).await?;
    ours.echo(js.id(), MODEST).await?;

    let room = RoomName::default();
    js.join(&room, relay).await?;
    js.say("hello from js").await?;
    ours.until(SOON, "the js peer's line", |event| {
        let Event::MessageReceived { message, .. } = event else {
            return None;
        };
        (message.from == js.id() && message.text == "hello from js").then_some(())
    })
    .await?;
    ours.node.say(room, "hello from rust".to_owned()).await??;
    js.hears(ours.id(), "hello from rust").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_js_peer_and_our_page_share_our_relay_they_connect_directly_and_chat() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (relay_id, address) = (relay.peer_id().await?, websocket(&relay).await?);
    let js = listening(relay_id, &address).await?;
    let page = open_one(&relay.url()).await?;
    let (page_id, js_id): (PeerId, _) = (page.reserved().await?.parse()?, js.id().to_string());
    page.until_shown(
        Duration::from_secs(20),
        "the js peer has a row and a direct connection",
        |shown| {
            shown
                .peers
                .get(&js_id)
                .is_some_and(|row| row.route.as_deref() == Some("webrtc"))
        },
    )
    .await?;
    js.hears_of(page_id).await?;
    js.identified(page_id, JsRoute::Webrtc).await?;
    js.ping(page_id, JsRoute::Webrtc).await?;

    js.join(&RoomName::default(), relay_id).await?;
    js.say("hello from js").await?;
    page.hears(&js_id, "hello from js").await?;
    page.say("hello from the page").await?;
    js.hears(page_id, "hello from the page").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_two_raw_pages_signal_over_a_websocket_they_connect_again_and_again() -> anyhow::Result<()> {
    let (site, browsers) = (page_site()?, Browser::launch_two().await?);
    let pair = RawPair::open((&browsers.0, &browsers.1), &site).await?;
    for _ in 0..3 {
        assert!(pair.dial().await? < SOON);
        assert!(pair.throughput(MODEST + 1).await? < SOON);
    }
    Ok(())
}
