//! Who is who: tabs, duplicates, reloads, and what is left of those who leave.

use std::time::Duration;

use peerway_tests::{
    browser::Browser,
    page::{READY_WITHIN, SOON, chat_both_ways},
    relay::Relay,
};

use crate::two_pages;

#[tokio::test(flavor = "multi_thread")]
async fn when_a_browser_has_two_tabs_they_are_two_peers_that_keep_their_identities() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let browser = Browser::launch().await?;
    let first = browser.open(&relay.url()).await?;
    let first_id = first.reserved().await?;
    let second = browser.open(&relay.url()).await?;
    let second_id = second.reserved().await?;
    assert_ne!(first_id, second_id);
    futures::try_join!(first.connected_to(&second_id), second.connected_to(&first_id))?;
    chat_both_ways(&first, &second, SOON, "between tabs").await?;

    // The lower slot is free for a moment while the first tab loads: the second must not slip into it, now or later.
    first.reload().await?;
    assert_eq!(first.reserved().await?, first_id);
    second.reload().await?;
    assert_eq!(second.reserved().await?, second_id);
    futures::try_join!(first.connected_to(&second_id), second.connected_to(&first_id))?;
    chat_both_ways(&first, &second, SOON, "after reloading").await?;

    // Identities outlive tabs: whoever comes next takes the lowest that is free.
    first.close().await?;
    let third = browser.open(&relay.url()).await?;
    assert_eq!(third.reserved().await?, first_id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_tab_is_duplicated_the_duplicate_is_another_peer() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let browser = Browser::launch().await?;
    let original = browser.open(&relay.url()).await?;
    let original_id = original.reserved().await?;
    let second = browser.open(&relay.url()).await?;
    let second_id = second.reserved().await?;

    // A window that a page opens gets a copy of its session storage, as one that the user duplicates does.
    let duplicate = browser.open_by_script(&original, "window.open(location.href);").await?;
    let duplicate_id = duplicate.reserved().await?;
    assert_ne!(duplicate_id, original_id);
    assert_ne!(duplicate_id, second_id);
    futures::try_join!(duplicate.connected_to(&original_id), duplicate.connected_to(&second_id))?;
    duplicate.reload().await?;
    assert_eq!(duplicate.reserved().await?, duplicate_id);
    assert_eq!(original.reserved().await?, original_id);
    chat_both_ways(&original, &duplicate, SOON, "after duplicating").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_page_is_closed_the_other_marks_it_gone() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;

    bob.close().await?;
    alice
        .until_shown(SOON, "bob's row stays and says that he is gone", |shown| {
            let row = shown.peers.get(&bob_id);
            row.is_some_and(|row| row.is_gone() && row.route.as_deref() == Some("none"))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_browser_crashes_the_other_no_longer_claims_a_connection() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;

    bob.browser().crash().await?;
    alice
        .until_shown(READY_WITHIN, "no route to bob, who said no goodbye", |shown| {
            !shown.connected_to(&bob_id)
        })
        .await?;
    // It tries to reach him again; that must not bring him back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!alice.shown().await?.connected_to(&bob_id));
    Ok(())
}
