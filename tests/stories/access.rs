//! A relay that lets in only those who have a token, which stands in the link that they were given.

use std::fs;

use peerway_tests::{
    eventually::{Look, eventually},
    page::{READY_WITHIN, chat_both_ways},
    relay::{Relay, RelayConfig},
};
use tempfile::TempDir;

use crate::{interop::websocket, open_one, words::complains};

const TOKEN: &str = "a-token-that-is-long_enough";

/// Such a relay, with these further arguments. The directory holds its configuration.
async fn relay_with_a_token(arguments: &[String]) -> anyhow::Result<(TempDir, Relay)> {
    let place = tempfile::tempdir()?;
    let (tokens, file) = (place.path().join("tokens"), place.path().join("relay.toml"));
    fs::write(&tokens, TOKEN)?;
    fs::write(&file, format!("[access]\ntoken_file = {tokens:?}\n"))?;
    let mut config = RelayConfig::loopback();
    config
        .arguments
        .extend(["--config".to_owned(), file.display().to_string()]);
    config.arguments.extend_from_slice(arguments);
    let relay = Relay::start_with(config).await?;
    Ok((place, relay))
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_link_carries_the_token_two_pages_meet_in_its_room_and_the_token_goes_to_no_server()
-> anyhow::Result<()> {
    let (_place, relay) = relay_with_a_token(&[]).await?;
    let url = format!("{}#room=kitchen&token={TOKEN}", relay.url());
    let (alice, bob) = futures::try_join!(open_one(&url), open_one(&url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "among ourselves").await?;
    assert_eq!(alice.shown().await?.notices, Vec::<String>::new());

    // Whoever gives the link on, from another room, gives the token with it.
    alice.enter("garden").await?;
    let link = alice.run("return location.href").await?;
    assert_eq!(link, format!("{}#room=garden&token={TOKEN}", relay.url()));

    let log = relay.said("").join("\n");
    assert!(log.contains("token presented"), "{log}");
    assert!(!log.contains(TOKEN), "the token is in the log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_token_is_wrong_or_missing_the_page_says_what_to_ask_for() -> anyhow::Result<()> {
    let (_place, relay) = relay_with_a_token(&[]).await?;
    for (fragment, words) in [
        (
            "token=another-token-that-is-long",
            ["does not accept the token", "new link"],
        ),
        (
            "room=kitchen",
            ["only those in who have a token", "ask whoever runs it"],
        ),
    ] {
        let page = open_one(&format!("{}#{fragment}", relay.url())).await?;
        complains(&page, &words).await?;
        assert_eq!(page.shown().await?.relay.as_deref(), Some("refused"), "{fragment}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_another_relay_of_the_network_asks_for_the_token_it_is_not_shown_it_and_gives_no_slot()
-> anyhow::Result<()> {
    let (_other_place, mut other) = relay_with_a_token(&[]).await?;
    let arguments = ["--relay".to_owned(), websocket(&other).await?.to_string()];
    let (_place, relay) = relay_with_a_token(&arguments).await?;
    eventually(READY_WITHIN, "the other relay in /relay.json", async || {
        let relays = relay.info().await?.relays;
        Ok(if relays.len() == 1 {
            Look::There(())
        } else {
            Look::NotYet(format!("{relays:?}"))
        })
    })
    .await?;
    let page = open_one(&format!("{}#token={TOKEN}", relay.url())).await?;
    let id = page.reserved().await?;
    let denied = |line: &str| (line.contains("reservation denied") && line.contains(&id)).then_some(());
    other.says("that it gives no slot", denied).await?;
    let presented = |relay: &Relay| {
        relay
            .said("")
            .iter()
            .filter(|line| line.contains("token presented"))
            .count()
    };
    assert!(presented(&relay) > 0, "{}", relay.log());
    assert_eq!(presented(&other), 0, "{}", other.log());
    assert_eq!(page.shown().await?.relay.as_deref(), Some("reserved"));
    Ok(())
}
