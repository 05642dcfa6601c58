//! Two pages connect to each other directly, with the circuit as the net below.

use std::time::Duration;

use peerway_tests::{
    eventually::{Look, eventually},
    page::{READY_WITHIN, chat_both_ways},
    relay::Relay,
};

use crate::two_pages;

/// From the circuit to a direct connection: signalling, ICE, DTLS.
const DIRECT_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn when_two_browsers_meet_they_connect_directly_and_talk_on_when_the_relay_is_gone() -> anyhow::Result<()> {
    let mut relay = Relay::start().await?;
    let (alice, bob) = two_pages(&relay.url()).await?;
    let (alice_id, bob_id) = futures::try_join!(alice.reserved(), bob.reserved())?;
    futures::try_join!(
        alice.reaches(&bob_id, "webrtc", DIRECT_WITHIN),
        bob.reaches(&alice_id, "webrtc", DIRECT_WITHIN)
    )?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "with the relay").await?;

    // What the browser counts of the connection, for a report.
    alice
        .run("document.querySelector('footer details').open = true")
        .await?;
    alice.click("[data-testid=diagnose]").await?;
    let report = eventually(READY_WITHIN, "a report", async || {
        let report = alice
            .run("return document.querySelector('[data-testid=diagnostics]')?.innerText ?? ''")
            .await?;
        let report = report.as_str().unwrap_or_default().to_owned();
        Ok(if report.contains(&format!("peer {bob_id}")) {
            Look::There(report)
        } else {
            Look::NotYet(report)
        })
    })
    .await?;
    assert!(report.contains("direct, browser to browser"), "{report}");
    assert!(report.contains(" over udp; last check"), "{report}");

    for page in [&alice, &bob] {
        assert_eq!(page.browser().console_errors().await?, Vec::<String>::new());
    }
    relay.crash()?;
    chat_both_ways(&alice, &bob, READY_WITHIN, "without the relay").await?;
    for page in [&alice, &bob] {
        // The browser itself complains when a page looks whether its relay is back.
        let mut errors = page.browser().console_errors().await?;
        errors.retain(|error| !error.contains("WebSocket connection to") && !error.contains("/relay.json"));
        assert_eq!(errors, Vec::<String>::new());
    }
    Ok(())
}
