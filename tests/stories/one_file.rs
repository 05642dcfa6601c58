//! The relay as one file: the program carries the page, and nothing else is needed.

use peerway_tests::{
    browser::Browser,
    page::{SOON, chat_both_ways},
    page_dir,
    relay::{PageFrom, Relay, RelayConfig},
};

#[tokio::test(flavor = "multi_thread")]
async fn when_the_program_carries_the_page_people_open_it_and_chat_with_nothing_beside_it() -> anyhow::Result<()> {
    let relay = Relay::start_with(RelayConfig {
        page: PageFrom::Itself,
        ..RelayConfig::loopback()
    })
    .await?;
    let (alice, bob) = Browser::launch_two().await?;
    let url = relay.url();
    let (alice, bob) = futures::try_join!(alice.open(&url), bob.open(&url))?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, SOON, "one file").await?;

    // It is the page that was built, byte for byte.
    let built = std::fs::read(page_dir()?.join("index.html"))?;
    let served = relay.get("/").await?;
    anyhow::ensure!(served == built, "another page is served");
    Ok(())
}
