//! Two people open the page, see each other, and talk.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::Place,
    page::{READY_WITHIN, chat_both_ways},
    relay::Relay,
};

use crate::{two_pages, with_relay};

#[tokio::test(flavor = "multi_thread")]
async fn when_two_browsers_open_the_page_they_meet_and_chat() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    assert_ne!(alice_id, bob_id);
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;

    alice.say("Is anybody there?").await?;
    bob.hears(&alice_id, "Is anybody there?").await?;
    // Own lines are in the log too.
    alice.hears(&alice_id, "Is anybody there?").await?;
    bob.say_by_keyboard("Yes: grüße, 你好 👋").await?;
    alice.hears(&bob_id, "Yes: grüße, 你好 👋").await?;

    let shown = alice.shown().await?;
    let texts: Vec<&str> = shown.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["Is anybody there?", "Yes: grüße, 你好 👋"]);
    let others: Vec<&String> = shown.peers.keys().collect();
    assert_eq!(others, [&bob_id], "the relay has no row, nor has the page itself");
    assert_eq!(shown.notices, Vec::<String>::new());

    // Among what would reach the console: violations of the content security policy and a panic of the wasm.
    for page in [&alice, &bob] {
        assert_eq!(page.browser().console_errors().await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_is_given_as_a_webrtc_direct_address_the_pages_meet_and_chat_over_it() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let address = relay
        .address("WebRTC-direct", |address| {
            address.iter().any(|part| part == Protocol::WebRTCDirect)
        })
        .await?;
    let url = with_relay(&relay.url(), &address.to_string())?;
    let launch = || Browser::launch_in(Kind::Chromium, &Place::Here, ProtocolEvents::Kept);
    let browsers = futures::try_join!(launch(), launch())?;
    let (alice, bob) = futures::try_join!(browsers.0.open(&url), browsers.1.open(&url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "over UDP").await?;

    for (browser, page) in [(&browsers.0, &alice), (&browsers.1, &bob)] {
        let events = browser.protocol_events().await?;
        assert!(!events.is_empty(), "the events are kept");
        assert!(
            events.iter().all(|event| event["method"] != "Network.webSocketCreated"),
            "the page used a WebSocket"
        );
        assert_eq!(page.browser().console_errors().await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_peer_sends_markup_it_is_shown_as_text() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;

    let lines = [
        r#"<img src=x onerror="document.title='owned'">"#,
        "<script>document.title='owned'</script>",
        r#"<a href="javascript:document.title='owned'">click</a> &lt;b&gt;"#,
    ];
    for line in lines {
        alice.say(line).await?;
        bob.hears(&alice_id, line).await?;
    }
    // An image that does not load takes its time to say so.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let shown = bob.shown().await?;
    assert_eq!(shown.messages.len(), lines.len());
    assert!(
        shown.messages.iter().all(|message| message.elements == 0),
        "{:#?}",
        shown.messages
    );
    assert_ne!(bob.run("return document.title").await?, "owned");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_pages_are_in_different_rooms_they_see_but_do_not_hear_each_other() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice_browser, bob_browser) = Browser::launch_two().await?;
    let alice = alice_browser.open(&format!("{}#room=attic", relay.url())).await?;
    let bob = bob_browser.open(&relay.url()).await?;
    let carol = bob_browser.open(&format!("{}#room=attic", relay.url())).await?;
    let (alice_id, bob_id, carol_id) = futures::try_join!(alice.reserved(), bob.reserved(), carol.reserved())?;
    futures::try_join!(
        alice.connected_to(&bob_id),
        alice.connected_to(&carol_id),
        bob.connected_to(&alice_id)
    )?;

    chat_both_ways(&alice, &carol, READY_WITHIN, "in the attic").await?;
    bob.say("in the lobby").await?;
    bob.hears(&bob_id, "in the lobby").await?;
    alice.say("still in the attic").await?;
    carol.hears(&alice_id, "still in the attic").await?;
    let strangers =
        |shown: &peerway_tests::page::Shown, own: &str| shown.messages.iter().any(|message| message.from != own);
    assert!(!strangers(&bob.shown().await?, &bob_id), "the lobby heard the attic");
    let heard = alice.shown().await?.messages;
    assert!(
        heard.iter().all(|message| message.from != bob_id),
        "the attic heard the lobby: {heard:#?}"
    );
    Ok(())
}
