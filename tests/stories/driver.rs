//! The tools themselves, proven on a page of a few lines: a story that fails must not fail because of them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use peerway_tests::{
    browser::{Browser, Kind, ProtocolEvents},
    netns::{Lab, Place},
    page::{Page, chat_both_ways},
    relay::Relay,
};

/// Holds to the contract of test ids, and lets two tabs of one browser talk through `BroadcastChannel`.
const SMALL_PAGE: &str = r#"<!doctype html><meta charset=utf-8><title>small</title><link rel=icon href="data:,">
<p data-testid=self-id></p><p data-testid=relay-status data-state=connecting></p><ul></ul>
<form><input data-testid=chat-input><button data-testid=chat-send>Send</button></form><ol data-testid=chat-log></ol>
<script>
const id = sessionStorage.id ??= "tab-" + Math.random().toString(36).slice(2);
document.querySelector("[data-testid=self-id]").textContent = id;
const others = new BroadcastChannel("others");
const log = (from, text) => {
    const line = document.createElement("li");
    Object.assign(line.dataset, { testid: "chat-message", peerId: from });
    line.textContent = text;
    document.querySelector("ol").append(line);
};
const row = (peer, presence) => {
    let row = document.querySelector(`[data-peer-id="${peer}"]`) ?? document.createElement("li");
    Object.assign(row.dataset, { testid: "peer-row", peerId: peer, route: presence ? "none" : "direct" });
    if (presence) row.dataset.presence = presence;
    document.querySelector("ul").append(row);
};
others.onmessage = ({ data: { from, text, gone, answer } }) => {
    row(from, gone ? "gone" : undefined);
    if (text) log(from, text);
    if (answer) others.postMessage({ from: id });
};
document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const input = document.querySelector("input");
    log(id, input.value);
    others.postMessage({ from: id, text: input.value });
    input.value = "";
};
onpagehide = () => others.postMessage({ from: id, gone: true });
setTimeout(() => {
    document.querySelector("[data-testid=relay-status]").dataset.state = "reserved";
    performance.mark("small:ready");
    others.postMessage({ from: id, answer: true });
}, 100);
</script>"#;

/// Serves [`SMALL_PAGE`] to everybody; lives as long as the test process.
fn serve_small_page(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // One read takes a browser's request; whatever it is, there is one answer.
                let _ = stream.read(&mut [0; 8192]);
                let length = SMALL_PAGE.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{SMALL_PAGE}"
                );
            });
        }
    });
}

pub(crate) fn small_page_url() -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}/", listener.local_addr()?);
    serve_small_page(listener);
    Ok(url)
}

async fn two_tabs(url: &str) -> anyhow::Result<(Page, Page)> {
    let browser = Browser::launch().await?;
    Ok((browser.open(url).await?, browser.open(url).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn when_two_tabs_are_driven_in_turn_each_shows_its_own_state() -> anyhow::Result<()> {
    let (alice, bob) = two_tabs(&small_page_url()?).await?;
    let (alice_id, bob_id) = (alice.reserved().await?, bob.reserved().await?);
    assert_ne!(alice_id, bob_id);
    futures::try_join!(alice.connected_to(&bob_id), bob.connected_to(&alice_id))?;
    chat_both_ways(&alice, &bob, Duration::from_secs(5), "hello").await?;

    alice.say_by_keyboard("<img src=x onerror=alert(1)>").await?;
    bob.hears(&alice_id, "<img src=x onerror=alert(1)>").await?;
    assert!(bob.mark(Duration::from_secs(5), "small:ready").await? >= 100.0);

    alice.reload().await?;
    assert_eq!(alice.reserved().await?, alice_id);
    bob.close().await?;
    alice.lost(&bob_id, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_page_never_gets_there_the_error_shows_what_it_showed() -> anyhow::Result<()> {
    let browser = Browser::launch().await?;
    let page = browser.open(&small_page_url()?).await?;
    page.reserved().await?;
    page.run("console.error('something odd'); document.body.append('x');")
        .await?;
    let error = page
        .hears_within(Duration::from_millis(300), "nobody", "anything")
        .await
        .unwrap_err()
        .to_string();
    for part in ["nobody says \"anything\"", "reserved", "something odd", ".png"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert!(
        browser
            .console_errors()
            .await?
            .iter()
            .any(|error| error.contains("something odd"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_browser_runs_on_a_host_of_a_lab_it_is_driven_from_here() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::enter()? else { return Ok(()) };
    let host = lab.host("alice", Ipv4Addr::new(192, 168, 71, 2))?;
    // Nothing listens there: what counts is that this browser is spoken to, and that it has its own loopback.
    let url = small_page_url()?;
    let browser = Browser::launch_in(Kind::Chromium, host.place(), ProtocolEvents::Ignored).await?;
    let error = browser.open(&url).await.unwrap_err().to_string();
    assert!(error.contains("ERR_CONNECTION_REFUSED"), "{error}");

    let outside = Browser::launch_in(Kind::Chromium, &Place::Here, ProtocolEvents::Kept).await?;
    outside.open(&url).await?.reserved().await?;
    let events = outside.protocol_events().await?;
    assert!(events.iter().any(|event| event["method"] == "Network.responseReceived"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_is_killed_it_comes_back_where_it_was_as_who_it_was() -> anyhow::Result<()> {
    let mut relay = Relay::start().await?;
    let (url, before) = (relay.url(), relay.info().await?);
    relay.crash()?;
    assert!(relay.info().await.is_err(), "nobody answers");
    relay.restart().await?;
    let after = relay.info().await?;
    assert_eq!((relay.url(), after.peer_id), (url, before.peer_id));
    let hash = |addrs: &[Multiaddr]| {
        let mut parts = addrs.iter().flat_map(|address| address.iter().map(Protocol::acquire));
        parts.find(|part| matches!(part, Protocol::Certhash(_)))
    };
    assert_eq!(hash(&after.addrs), hash(&before.addrs), "its certificate survived");
    assert!(hash(&after.addrs).is_some(), "{:?}", after.addrs);
    Ok(())
}
