//! A page that connects and disconnects many times keeps nothing of it.

use peerway_tests::{
    browser::Browser,
    js::JsRoute,
    page_peer::{PagePeer, Reach, page_peer_site},
    relay::Relay,
};

use crate::interop::websocket;

/// Cycles in all, in one page.
const CYCLES: usize = 200;

/// After as many the memory is what it will be: every path has run, and buffers have their sizes.
const WARM_AFTER: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn when_a_page_has_connected_two_hundred_times_nothing_of_it_is_left() -> anyhow::Result<()> {
    let (relay, site, browsers) = (Relay::start().await?, page_peer_site()?, Browser::launch_two().await?);
    let address = websocket(&relay).await?;
    let (alice, bob) = futures::try_join!(
        PagePeer::open_passive(&browsers.0, &site, &address),
        PagePeer::open_passive(&browsers.1, &site, &address)
    )?;
    let mut warm = 0;
    for cycle in 1..=CYCLES {
        // In turns, so that each has been either side of it; and either side ends it.
        let (dialler, listener) = if cycle % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        dialler.connect(listener.id(), Reach::DirectOnly).await?;
        let (leaver, left) = if cycle % 4 < 2 {
            (dialler, listener)
        } else {
            (listener, dialler)
        };
        // What ends before both have it may still come about.
        leaver.reaches(left.id(), Some(JsRoute::Webrtc)).await?;
        leaver.hang_up(left.id()).await?;
        left.reaches(leaver.id(), None).await?;
        // Who is left would otherwise try again after a while, as its user wanted.
        left.hang_up(leaver.id()).await?;
        if cycle == WARM_AFTER {
            warm = alice.status().await?.memory;
        }
    }
    for page in [&alice, &bob] {
        let connections = page.closes_all_but(0).await?;
        assert!(connections.made >= 200, "{connections:?}");
    }
    let memory = alice.status().await?.memory;
    assert!(
        memory * 10 <= warm * 11,
        "{warm} bytes after {WARM_AFTER} cycles, {memory} now"
    );

    // One that ends while it is connected.
    alice.connect(bob.id(), Reach::DirectOnly).await?;
    alice.stop().await?;
    assert_eq!(alice.connections().await?.live, 0);
    bob.closes_all_but(0).await?;
    for browser in [&browsers.0, &browsers.1] {
        assert_eq!(browser.console_errors().await?, Vec::<String>::new());
    }
    Ok(())
}
