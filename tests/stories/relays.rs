//! More relays than one: those who are connected directly need none of them, and a newcomer needs one of a peer's.

use std::time::Duration;

use futures::future::try_join_all;
use peerway_tests::{
    eventually::{Look, eventually},
    page::{Page, READY_WITHIN, SOON, Shown, chat_both_ways},
    relay::Relay,
};

use crate::{interop::websocket, open_one, with_relay};

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

/// How many relays the page's details call reserved.
const RESERVATIONS: &str =
    "return document.querySelector('footer details').textContent.match(/reserved/g)?.length ?? 0;";

/// Everybody says something, and everybody else hears it.
async fn all_talk(pages: &[(&Page, &String)], word: &str) -> anyhow::Result<()> {
    let line = |speaker: usize| format!("{word}, says {speaker}");
    for (at, (page, _)) in pages.iter().enumerate() {
        page.say(&line(at)).await?;
    }
    let pairs = (0..pages.len()).flat_map(|from| (0..pages.len()).map(move |to| (from, to)));
    let heard = pairs.filter(|(from, to)| from != to).map(async |(from, to)| {
        let (listener, _) = pages[to];
        listener.hears_within(SOON, pages[from].1, &line(from)).await
    });
    try_join_all(heard).await?;
    Ok(())
}

/// Two connect directly, and talk.
async fn meet(alice: &Page, alice_id: &str, bob: &Page, bob_id: &str, word: &str) -> anyhow::Result<()> {
    futures::try_join!(
        alice.reaches(bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(alice, bob, SOON, word).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_two_relays_dies_those_who_are_connected_talk_on_and_a_newcomer_meets_them_through_the_other()
-> anyhow::Result<()> {
    let (mut first, second) = futures::try_join!(Relay::start(), Relay::start())?;
    let (one, other) = futures::try_join!(websocket(&first), websocket(&second))?;
    let with_one = first.url();
    let with_both = with_relay(&with_relay(&with_one, &one.to_string())?, &other.to_string())?;
    let (alice, bob, carol) = futures::try_join!(open_one(&with_both), open_one(&with_one), open_one(&with_one))?;
    let (alice_id, bob_id, carol_id) = futures::try_join!(alice.reserved(), bob.reserved(), carol.reserved())?;
    eventually(READY_WITHIN, "a reservation on each of two relays", async || {
        let reserved = alice.run(RESERVATIONS).await?;
        Ok(if reserved == 2 {
            Look::There(())
        } else {
            Look::NotYet(reserved.to_string())
        })
    })
    .await?;
    let three = [(&alice, &alice_id), (&bob, &bob_id), (&carol, &carol_id)];
    let mut direct = Vec::new();
    for (page, id) in three {
        for (_, other) in three.iter().filter(|(_, other)| *other != id) {
            direct.push(page.reaches(other, "webrtc", DIRECT_WITHIN));
        }
    }
    try_join_all(direct).await?;
    all_talk(&three, "with the relay").await?;

    first.crash()?;
    let lost = |shown: &Shown| shown.relay.as_deref() == Some("lost");
    futures::try_join!(
        bob.until_shown(READY_WITHIN, "the relay is lost", lost),
        carol.until_shown(READY_WITHIN, "the relay is lost", lost)
    )?;
    all_talk(&three, "without the relay").await?;
    assert_eq!(alice.shown().await?.relay.as_deref(), Some("reserved"));

    let dave = open_one(&with_relay(&second.url(), &other.to_string())?).await?;
    let dave_id = dave.reserved().await?;
    meet(&dave, &dave_id, &alice, &alice_id, "a newcomer").await?;
    // The others hear of it from Alice, and of its relay.
    for (page, id) in [(&bob, &bob_id), (&carol, &carol_id)] {
        meet(&dave, &dave_id, page, id, "through Alice").await?;
    }
    Ok(())
}
