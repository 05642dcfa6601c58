//! What the page says when it cannot do what it should.

use std::{net::Ipv4Addr, time::Duration};

use peerway_tests::{
    page::{Page, READY_WITHIN, Shown},
    relay::Relay,
    victim::Victim,
};

use crate::{open_one, with_relay};

/// Waits until the page is not merely trying, and says something about it that holds each of these words.
pub(crate) async fn complains(page: &Page, words: &[&str]) -> anyhow::Result<()> {
    page.until_shown(
        READY_WITHIN,
        &format!("a notice with the words {words:?}"),
        |shown: &Shown| {
            let troubled = matches!(shown.relay.as_deref(), Some("lost" | "refused"));
            let said = shown.notices.join("\n").to_lowercase();
            troubled && words.iter().all(|word| said.contains(&word.to_lowercase()))
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_in_the_url_is_no_address_the_page_says_so() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open_one(&with_relay(&relay.url(), "my-relay.example:8080")?).await?;
    complains(&page, &["relay", "URL", "?relay="]).await?;
    // It does not fall back behind the user's back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(page.shown().await?.relay.as_deref(), Some("reserved"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_another_peer_answers_at_the_relays_address_the_page_says_so() -> anyhow::Result<()> {
    let (relay, other) = futures::try_join!(Relay::start(), Relay::start())?;
    let wrong = format!("/ip4/127.0.0.1/tcp/{}/ws/p2p/{}", relay.port(), other.peer_id().await?);
    let page = open_one(&with_relay(&relay.url(), &wrong)?).await?;
    complains(&page, &["expected relay"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_sensible_answers_at_the_relays_address_the_page_says_so() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    // Takes connections and never answers, as a firewall's tarpit or a wrong port does.
    let mute = Victim::listen(Ipv4Addr::LOCALHOST.into()).await?;
    let address = format!(
        "/ip4/127.0.0.1/tcp/{}/ws/p2p/{}",
        mute.address().port(),
        relay.peer_id().await?
    );
    let page = open_one(&with_relay(&relay.url(), &address)?).await?;
    complains(&page, &["relay", "cannot be reached"]).await?;
    assert!(!mute.calls().is_empty(), "the user's word was followed");
    Ok(())
}
