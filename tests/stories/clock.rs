//! A device whose clock is wrong: reservations end at a time of day, so the page says so before others lose sight of it.

use std::time::Duration;

use peerway_tests::{
    browser::Browser,
    eventually::{Look, eventually},
    page::{Page, READY_WITHIN, SOON, Shown, chat_both_ways},
    relay::Relay,
};
use serde_json::json;

/// Opens the page in a browser whose clock is off by this many milliseconds. The script runs before any of the page's.
async fn open_with_clock(url: &str, off_by_millis: i64) -> anyhow::Result<Page> {
    let page = Browser::launch().await?.open("about:blank").await?;
    let source = format!(
        "window.clockIsOffBy = {off_by_millis};
         const now = Date.now;
         Date.now = () => now() + window.clockIsOffBy;"
    );
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }))
        .await?;
    page.goto(url).await?;
    Ok(page)
}

fn minutes(minutes: i64) -> i64 {
    minutes * 60_000
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clock_is_minutes_off_the_page_says_so_and_what_to_do() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let url = relay.url();
    let (late, early) = futures::try_join!(open_with_clock(&url, minutes(-10)), open_with_clock(&url, minutes(10)))?;
    for (page, words) in [(&late, "10 minutes behind"), (&early, "10 minutes ahead of")] {
        page.until_shown(READY_WITHIN, words, |shown| {
            let [said] = shown.notices.as_slice() else { return false };
            said.contains("clock of this device") && said.contains(words) && said.contains("Set the clock")
        })
        .await?;
    }
    // Ten minutes are no reason not to talk.
    let (late_id, early_id) = futures::try_join!(late.reserved(), early.reserved())?;
    futures::try_join!(late.connected_to(&early_id), early.connected_to(&late_id))?;
    chat_both_ways(&late, &early, SOON, "what time is it").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clock_is_seconds_off_nothing_is_said() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let url = relay.url();
    let (late, early) = futures::try_join!(open_with_clock(&url, -20_000), open_with_clock(&url, 20_000))?;
    for page in [&late, &early] {
        // The clocks are compared before the relay is dialled.
        page.reserved().await?;
        assert_eq!(page.shown().await?.notices, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clock_is_set_right_the_page_no_longer_complains() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open_with_clock(&relay.url(), minutes(-3 * 24 * 60)).await?;
    let complains = |shown: &Shown| shown.notices.iter().any(|said| said.contains("3 days behind"));
    page.until_shown(READY_WITHIN, "three days behind", complains).await?;

    // The user sets it and returns to the page.
    page.run("window.clockIsOffBy = 0; dispatchEvent(new Event('online'));")
        .await?;
    page.until_shown(SOON, "no complaint", |shown| shown.notices.is_empty())
        .await?;
    page.reserved().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_complaint_is_dismissed_it_does_not_come_back() -> anyhow::Result<()> {
    let relay = Relay::start().await?;
    let page = open_with_clock(&relay.url(), minutes(30)).await?;
    page.until_shown(READY_WITHIN, "a complaint", |shown| shown.notices.len() == 1)
        .await?;
    page.reserved().await?;
    page.run(r#"document.querySelector('[data-testid="notice"] button').click();"#)
        .await?;
    page.until_shown(SOON, "no complaint", |shown| shown.notices.is_empty())
        .await?;

    // The page looks again now, and says something only if it is news.
    let looks =
        "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/relay.json')).length;";
    let before = page.run(looks).await?.as_u64();
    page.run("dispatchEvent(new Event('online'));").await?;
    eventually(SOON, "another look at the relay's clock", async || {
        let now = page.run(looks).await?.as_u64();
        Ok(if now > before {
            Look::There(())
        } else {
            Look::NotYet(format!("{now:?} looks"))
        })
    })
    .await?;
    let again = page
        .until_shown(Duration::from_millis(500), "a complaint", |shown| {
            !shown.notices.is_empty()
        })
        .await;
    assert!(again.is_err(), "the same complaint came back");
    Ok(())
}
