//! The copy buttons: with the clipboard of a secure context, without one, and when the browser refuses.

use std::net::Ipv4Addr;

use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::Lab,
    page::{Page, SOON},
    relay::{Relay, RelayConfig},
};

use crate::open_one;

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 1);
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 2);

/// Presses the button beside the page's own peer id, and waits until it says what came of it.
async fn copy_own_id(page: &Page, says: &str) -> anyhow::Result<()> {
    const BUTTON: &str = r#"[data-testid="self-id"] + button"#;
    page.click(BUTTON).await?;
    page.until_text(SOON, BUTTON, says).await
}

/// What the clipboard holds, by pasting it where a user would.
async fn pasted(page: &Page) -> anyhow::Result<String> {
    page.paste_into_chat().await?;
    let typed = page
        .run(r#"return document.querySelector('[data-testid="chat-input"]').value;"#)
        .await?;
    Ok(typed.as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_context_is_secure_the_peer_id_is_copied() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open_one(&relay.url()).await?;
    let id = page.reserved().await?;
    assert_eq!(page.run("return 'clipboard' in navigator;").await?, true);
    copy_own_id(&page, "Copied").await?;
    assert_eq!(pasted(&page).await?, id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_context_is_not_secure_the_peer_id_is_copied_all_the_same() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let (relay_host, alice_host) = (lab.host("relay", RELAY)?, lab.host("alice", ALICE)?);
    let relay = Relay::start_with(RelayConfig::lan(relay_host.place())).await?;
    let browser = Browser::launch_in(Kind::Chromium, alice_host.place(), ProtocolEvents::Ignored).await?;
    let page = browser.open(&format!("http://{RELAY}:{}/", relay.port())).await?;
    let id = page.reserved().await?;
    assert_eq!(
        page.run("return window.isSecureContext || 'clipboard' in navigator;")
            .await?,
        false
    );
    copy_own_id(&page, "Copied").await?;
    assert_eq!(pasted(&page).await?, id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_browser_refuses_to_copy_the_button_says_what_to_do() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open_one(&relay.url()).await?;
    page.reserved().await?;
    page.run(
        "navigator.clipboard.writeText = () => Promise.reject(new DOMException('', 'NotAllowedError'));
         document.execCommand = () => false;",
    )
    .await?;
    copy_own_id(&page, "Select and copy it by hand").await?;
    assert_eq!(pasted(&page).await?, "");
    Ok(())
}
