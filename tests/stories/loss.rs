//! The relay dies and comes back.

use std::time::{Duration, Instant};

use peerway_tests::{
    page::{READY_WITHIN, SOON, Shown, chat_both_ways},
    relay::Relay,
};

use crate::two_pages;

/// From the relay's return to a chat that works, both ways.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_is_killed_and_restarted_both_chat_again_without_a_reload() -> anyhow::Result<()> {
    let mut relay = Relay::start().await?;
    let peer_id = relay.peer_id().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "before").await?;
    for page in [&alice, &bob] {
        page.run("window.notReloaded = true;").await?;
    }

    relay.crash()?;
    let lost = |shown: &Shown| shown.relay.as_deref() == Some("lost");
    futures::try_join!(
        alice.until_shown(READY_WITHIN, "the relay is lost", lost),
        bob.until_shown(READY_WITHIN, "the relay is lost", lost)
    )?;
    // Long enough that a few tries have failed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    relay.restart().await?;
    let returned = Instant::now();
    let left = || BACK_WITHIN.saturating_sub(returned.elapsed());
    futures::try_join!(alice.reserved_within(left()), bob.reserved_within(left()))?;
    chat_both_ways(&alice, &bob, left(), "after").await?;

    assert_eq!(relay.peer_id().await?, peer_id, "its identity survived");
    for (page, id) in [(&alice, &alice_id), (&bob, &bob_id)] {
        assert_eq!(page.run("return window.notReloaded === true;").await?, true);
        assert_eq!(page.shown().await?.self_id.as_ref(), Some(id));
    }
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    Ok(())
}
