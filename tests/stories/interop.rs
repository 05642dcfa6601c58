//! js-libp2p and our node in a page connect directly over `/webrtc`, whoever of them dials, and do there whatever peers do.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::{chat::RoomName, protocol::DISCOVERY_TOPIC};
use peerway_tests::{
    browser::Browser,
    js::{Direction, JsPeer, JsRelay, JsRoute, page_site},
    page_peer::{PagePeer, Reach, page_peer_site},
    relay::Relay,
};

/// More than every buffer on the way holds.
const LARGE: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn when_js_in_node_dials_our_page_they_connect_directly_and_do_everything_there() -> anyhow::Result<()> {
    let (relay, site, browser) = (Relay::start().await?, page_peer_site()?, Browser::launch().await?);
    let address = websocket(&relay).await?;
    let (js, page) = futures::try_join!(
        JsPeer::start_silent(&address),
        PagePeer::open(&browser, &site, &address)
    )?;
    js_dials(&js, &page, &address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_in_a_page_dials_our_page_they_connect_directly_and_do_everything_there() -> anyhow::Result<()> {
    let (relay, sites) = (Relay::start().await?, (page_site()?, page_peer_site()?));
    let (address, browsers) = (websocket(&relay).await?, Browser::launch_two().await?);
    let (js, page) = futures::try_join!(
        JsPeer::open_silent(&browsers.0, &sites.0, &address),
        PagePeer::open(&browsers.1, &sites.1, &address)
    )?;
    js_dials(&js, &page, &address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_js_in_node_dials_our_page_through_a_js_relay_they_connect_directly_and_do_everything_there()
-> anyhow::Result<()> {
    let relay = JsRelay::start(&[DISCOVERY_TOPIC.to_owned()]).await?;
    let (site, browser) = (page_peer_site()?, Browser::launch().await?);
    let (js, page) = futures::try_join!(
        JsPeer::start_silent(&relay.address),
        PagePeer::open(&browser, &site, &relay.address)
    )?;
    js_dials(&js, &page, &relay.address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_our_page_dials_js_in_node_through_a_js_relay_they_connect_directly_and_do_everything_there()
-> anyhow::Result<()> {
    // It passes on no room: what is said there goes straight.
    let relay = JsRelay::start(&[DISCOVERY_TOPIC.to_owned()]).await?;
    let (site, browser) = (page_peer_site()?, Browser::launch().await?);
    let (js, page) = futures::try_join!(
        JsPeer::start(&relay.address),
        PagePeer::open(&browser, &site, &relay.address)
    )?;
    our_page_dials(&page, &js).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_our_page_dials_js_in_a_page_they_connect_directly_and_do_everything_there() -> anyhow::Result<()> {
    let (relay, sites) = (Relay::start().await?, (page_site()?, page_peer_site()?));
    let (address, browsers) = (websocket(&relay).await?, Browser::launch_two().await?);
    let (js, page) = futures::try_join!(
        JsPeer::open(&browsers.0, &sites.0, &address),
        PagePeer::open(&browsers.1, &sites.1, &address)
    )?;
    our_page_dials(&page, &js).await
}

pub(crate) async fn websocket(relay: &Relay) -> anyhow::Result<Multiaddr> {
    relay
        .address("WebSocket", |address| {
            address.iter().any(|part| matches!(part, Protocol::Ws(_)))
        })
        .await
}

/// Where a page with a slot on this relay is dialled directly.
pub(crate) fn to_page(relay: &Multiaddr, page: PeerId) -> Multiaddr {
    let circuit = relay.clone().with(Protocol::P2pCircuit);
    circuit.with(Protocol::WebRTC).with(Protocol::P2p(page))
}

async fn js_dials(js: &JsPeer, page: &PagePeer, relay: &Multiaddr) -> anyhow::Result<()> {
    let dialled = js.dial(&to_page(relay, page.id())).await?;
    assert_eq!((dialled.route, dialled.tries), (JsRoute::Webrtc, 1));
    page.reaches(js.id(), Some(JsRoute::Webrtc)).await?;
    do_everything(js, page, Direction::Outbound).await
}

async fn our_page_dials(page: &PagePeer, js: &JsPeer) -> anyhow::Result<()> {
    let connected = page.connect(js.id(), Reach::DirectOnly).await?;
    assert_eq!(connected.route, JsRoute::Webrtc);
    do_everything(js, page, Direction::Inbound).await
}

/// What peers do on a direct connection, from either side; `direction` is what js calls it.
async fn do_everything(js: &JsPeer, page: &PagePeer, direction: Direction) -> anyhow::Result<()> {
    let agent = js.identified(page.id(), JsRoute::Webrtc).await?;
    assert!(agent.starts_with("peerway/"), "{agent}");
    let (status, page_id) = (js.status().await?, page.id().to_string());
    let mut direct = status.connections.iter();
    direct
        .find(|connection| {
            connection.peer == page_id && connection.route == JsRoute::Webrtc && connection.direction == direction
        })
        .unwrap_or_else(|| panic!("no {direction:?} connection: {status:#?}"));

    js.ping(page.id(), JsRoute::Webrtc).await?;
    page.measures(js.id()).await?;
    js.echo(page.id(), JsRoute::Webrtc, LARGE).await?;
    page.echo(js.id(), LARGE).await?;
    js.throughput(page.id(), JsRoute::Webrtc, LARGE).await?;
    page.throughput(js.id(), LARGE).await?;

    // That it knows of our page's subscription is gossip's doing, on the direct connection.
    js.join(&RoomName::default(), page.id()).await?;
    js.say("hello from js").await?;
    page.hears(js.id(), "hello from js").await?;
    page.say("hello from rust").await?;
    js.hears(page.id(), "hello from rust").await?;
    page.reaches(js.id(), Some(JsRoute::Webrtc)).await?;
    assert_eq!(page.page().browser().console_errors().await?, Vec::<String>::new());
    Ok(())
}
