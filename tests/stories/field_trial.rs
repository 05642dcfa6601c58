//! A Chromium that refuses a session description that the page has changed, as Chromium plans to: WebRTC-direct (version
//! 1) is gone there, and everything else is as it was.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use peerway_tests::{
    browser::{Browser, Kind},
    page::{Page, READY_WITHIN, chat_both_ways},
    relay::Relay,
};

use crate::{with_relay, words::complains};

const REFUSE_CHANGED_DESCRIPTIONS: &str = "--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/";

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn when_chromium_refuses_changed_descriptions_pages_use_websocket_and_connect_directly() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let url = relay.url();
    let (alice, bob) = futures::try_join!(open(&url), open(&url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(
        alice.reaches(&bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(&alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "unchanged").await?;
    for page in [&alice, &bob] {
        assert_eq!(page.browser().console_errors().await?, Vec::<String>::new());
        assert_eq!(
            page.run(CHANGE_A_DESCRIPTION).await?,
            "refused",
            "the field trial is over"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_chromium_refuses_changed_descriptions_and_there_is_no_websocket_the_page_says_so() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let address = relay
        .address("WebRTC-direct", |address| {
            address.iter().any(|part| part == Protocol::WebRTCDirect)
        })
        .await?;
    let page = open(&with_relay(&relay.url(), &address.to_string())?).await?;
    complains(&page, &["browser", "WebRTC-direct", "WebSocket"]).await
}

/// What the handshake of WebRTC-direct does.
const CHANGE_A_DESCRIPTION: &str = r"
const connection = new RTCPeerConnection();
connection.createDataChannel('');
return connection
    .createOffer()
    .then(({ type, sdp }) => connection.setLocalDescription({
        type,
        sdp: sdp.replace(/^(a=ice-(?:ufrag|pwd)):.*$/gm, '$1:libp2p+webrtc+v1/0123456789abcdef0123456789abcdef'),
    }))
    .then(() => 'taken', () => 'refused')
    .finally(() => connection.close());
";

async fn open(url: &str) -> anyhow::Result<Page> {
    let browser = Browser::launch_with(Kind::Chromium, &[REFUSE_CHANGED_DESCRIPTIONS]).await?;
    browser.open(url).await
}
