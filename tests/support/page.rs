//! Our page in one tab, seen through its `data-testid` contract.

use std::{collections::BTreeMap, time::Duration};

use fantoccini::{Locator, key::Key, wd::WindowHandle};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    eventually::{Look, NotInTime, eventually},
    webdriver::DevTools,
};

/// A page that loads, connects and reserves on a machine that runs two browsers and a compiler.
pub const READY_WITHIN: Duration = Duration::from_secs(15);

/// A change that needs a few round trips, seen by a user.
pub const SOON: Duration = Duration::from_secs(10);

const ROOM_INPUT: Locator<'static> = Locator::Css(r#"[data-testid="room-input"]"#);
const CHAT_INPUT: Locator<'static> = Locator::Css(r#"[data-testid="chat-input"]"#);
const CHAT_SEND: Locator<'static> = Locator::Css(r#"[data-testid="chat-send"]"#);

/// Takes everything the contract names in one look, so that what is seen fits together.
const LOOK: &str = r#"
const one = (id) => document.querySelector(`[data-testid="${id}"]`);
const all = (id) => [...document.querySelectorAll(`[data-testid="${id}"]`)];
return {
    self_id: one("self-id")?.textContent.trim() ?? null,
    relay: one("relay-status")?.dataset.state ?? null,
    peers: Object.fromEntries(all("peer-row").map((row) => [row.dataset.peerId, {
        route: row.dataset.route ?? null,
        presence: row.dataset.presence ?? null,
    }])),
    messages: [...(one("chat-log")?.querySelectorAll('[data-testid="chat-message"]') ?? [])].map((message) => ({
        from: message.dataset.peerId,
        text: message.textContent,
        elements: message.childElementCount,
    })),
    notices: [...all("notice"), ...all("relay-trouble")].map((notice) => notice.innerText),
};
"#;

/// What a page shows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Shown {
    /// The page's own peer id.
    pub self_id: Option<String>,
    /// How it stands with its relay: `connecting`, `reserved`, `lost`, `refused`.
    pub relay: Option<String>,
    /// The rows of the peer list, by peer id.
    pub peers: BTreeMap<String, PeerShown>,
    /// The lines of the chat log, in order.
    pub messages: Vec<MessageShown>,
    /// What it tells the user.
    pub notices: Vec<String>,
}

/// A row of the peer list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PeerShown {
    /// `webrtc`, `circuit`, `direct`, `none`.
    pub route: Option<String>,
    /// `gone` once it left.
    pub presence: Option<String>,
}

/// A line of the chat log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MessageShown {
    /// Who said it.
    pub from: String,
    /// What.
    pub text: String,
    /// How many elements the text became; more than none means that markup was interpreted.
    pub elements: u32,
}

impl Shown {
    /// Whether a connection to `peer` is shown.
    pub fn connected_to(&self, peer: &str) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|row| !row.is_gone() && row.route.as_deref().is_some_and(|route| route != "none"))
    }

    /// Whether `peer` is gone: its row says so, or is no longer there.
    pub fn lacks(&self, peer: &str) -> bool {
        self.peers.get(peer).is_none_or(PeerShown::is_gone)
    }
}

impl PeerShown {
    /// Whether the row says that the peer left.
    pub fn is_gone(&self) -> bool {
        self.presence.as_deref() == Some("gone")
    }
}

/// Our page in one tab.
#[derive(Clone, Debug)]
pub struct Page {
    browser: Browser,
    tab: WindowHandle,
}

impl Page {
    pub(crate) fn new(browser: Browser, tab: WindowHandle) -> Self {
        Self { browser, tab }
    }

    /// The browser it is in.
    pub fn browser(&self) -> &Browser {
        &self.browser
    }

    /// Loads `url`.
    pub async fn goto(&self, url: &str) -> anyhow::Result<()> {
        self.browser
            .in_tab(&self.tab, async |client| client.goto(url).await)
            .await
    }

    /// Loads the same address again, as a user does.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.browser
            .in_tab(&self.tab, async |client| client.refresh().await)
            .await
    }

    /// Goes back in the tab's history, as the browser's button does.
    pub async fn back(&self) -> anyhow::Result<()> {
        self.browser.in_tab(&self.tab, async |client| client.back().await).await
    }

    /// Gives this tab a command of Chromium's own protocol: for what users do to a page that no script in it can.
    pub async fn devtools(&self, command: &'static str, parameters: Value) -> anyhow::Result<Value> {
        self.browser.require_chromium("DevTools commands").await?;
        self.browser
            .in_tab(&self.tab, async |client| {
                client.issue_cmd(DevTools { command, parameters }).await
            })
            .await
    }

    /// Closes the tab.
    pub async fn close(self) -> anyhow::Result<()> {
        self.browser.close_tab(&self.tab).await
    }

    /// Runs a script in the page and returns what it returns.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.browser
            .in_tab(&self.tab, async |client| client.execute(script, Vec::new()).await)
            .await
    }

    /// What the page shows now.
    pub async fn shown(&self) -> anyhow::Result<Shown> {
        Ok(serde_json::from_value(self.run(LOOK).await?)?)
    }

    /// Waits until the page shows something, and brings a picture and the console when it does not.
    pub async fn until<T>(
        &self,
        within: Duration,
        what: &str,
        mut pick: impl FnMut(&Shown) -> Option<T>,
    ) -> anyhow::Result<T> {
        let outcome = eventually(within, what, async || {
            let shown = self.shown().await?;
            Ok(match pick(&shown) {
                Some(found) => Look::There(found),
                None => Look::NotYet(format!("{shown:#?}")),
            })
        })
        .await;
        match outcome {
            Err(error) if error.is::<NotInTime>() => {
                let evidence = self.browser.evidence(&self.tab).await;
                Err(anyhow::anyhow!("{error}\n{evidence}"))
            }
            outcome => outcome,
        }
    }

    /// Waits until `is` holds.
    pub async fn until_shown(&self, within: Duration, what: &str, is: impl Fn(&Shown) -> bool) -> anyhow::Result<()> {
        self.until(within, what, |shown| is(shown).then_some(())).await
    }

    /// Waits for a reservation; returns the page's own peer id.
    pub async fn reserved(&self) -> anyhow::Result<String> {
        self.reserved_within(READY_WITHIN).await
    }

    /// Waits for a reservation, at most this long; returns the page's own peer id.
    pub async fn reserved_within(&self, within: Duration) -> anyhow::Result<String> {
        self.until(within, "a reservation on the relay", |shown| {
            let reserved = shown.relay.as_deref() == Some("reserved");
            shown.self_id.clone().filter(|id| reserved && !id.is_empty())
        })
        .await
    }

    /// Waits until a connection to `peer` is shown.
    pub async fn connected_to(&self, peer: &str) -> anyhow::Result<()> {
        self.connected_within(READY_WITHIN, peer).await
    }

    /// Waits until `peer` is shown as reached on this route (`webrtc`, `circuit`, `direct`).
    pub async fn reaches(&self, peer: &str, route: &str, within: Duration) -> anyhow::Result<()> {
        self.until_shown(within, &format!("{peer} by {route}"), |shown| {
            shown
                .peers
                .get(peer)
                .is_some_and(|row| !row.is_gone() && row.route.as_deref() == Some(route))
        })
        .await
    }

    /// Waits until a connection to `peer` is shown, at most this long.
    pub async fn connected_within(&self, within: Duration, peer: &str) -> anyhow::Result<()> {
        self.until_shown(within, &format!("a connection to {peer}"), |shown| {
            shown.connected_to(peer)
        })
        .await
    }

    /// Waits until `peer` is shown as gone.
    pub async fn lost(&self, peer: &str, within: Duration) -> anyhow::Result<()> {
        self.until_shown(within, &format!("{peer} is gone"), |shown| shown.lacks(peer))
            .await
    }

    /// Types a line and sends it with the button.
    pub async fn say(&self, text: &str) -> anyhow::Result<()> {
        self.browser
            .in_tab(&self.tab, async |client| {
                client.find(CHAT_INPUT).await?.send_keys(text).await?;
                client.find(CHAT_SEND).await?.click().await
            })
            .await
    }

    /// Types a line and sends it with the Enter key.
    pub async fn say_by_keyboard(&self, text: &str) -> anyhow::Result<()> {
        let keys = format!("{text}{}", char::from(Key::Enter));
        self.browser
            .in_tab(&self.tab, async |client| {
                client.find(CHAT_INPUT).await?.send_keys(&keys).await
            })
            .await
    }

    /// Goes to another room, with the keyboard.
    pub async fn enter(&self, room: &str) -> anyhow::Result<()> {
        let keys = format!("{room}{}", char::from(Key::Enter));
        self.browser
            .in_tab(&self.tab, async |client| {
                client.find(ROOM_INPUT).await?.send_keys(&keys).await
            })
            .await?;
        self.until_text(SOON, "[data-testid=room-name]", room).await
    }

    /// Pastes the clipboard into the field for a line, with the keyboard.
    pub async fn paste_into_chat(&self) -> anyhow::Result<()> {
        let keys = format!("{}v", char::from(Key::Control));
        self.browser
            .in_tab(&self.tab, async |client| {
                client.find(CHAT_INPUT).await?.send_keys(&keys).await
            })
            .await
    }

    /// Clicks on what this CSS selector finds first, as a user does: where it is on the screen.
    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        self.browser
            .in_tab(&self.tab, async |client| {
                client.find(Locator::Css(selector)).await?.click().await
            })
            .await
    }

    /// Waits until what this CSS selector finds first has this text.
    pub async fn until_text(&self, within: Duration, selector: &str, text: &str) -> anyhow::Result<()> {
        let script = format!("return document.querySelector({}).innerText;", json!(selector));
        eventually(within, &format!("{text:?} in {selector}"), async || {
            let found = self.run(&script).await?;
            Ok(if found == text {
                Look::There(())
            } else {
                Look::NotYet(found.to_string())
            })
        })
        .await
    }

    /// Waits until a line of `peer` is in the log.
    pub async fn hears(&self, peer: &str, text: &str) -> anyhow::Result<()> {
        self.hears_within(SOON, peer, text).await
    }

    /// Waits until a line of `peer` is in the log, at most this long.
    pub async fn hears_within(&self, within: Duration, peer: &str, text: &str) -> anyhow::Result<()> {
        self.until_shown(within, &format!("{peer} says {text:?}"), |shown| {
            shown
                .messages
                .iter()
                .any(|message| message.from == peer && message.text == text)
        })
        .await
    }

    /// When the page set its performance mark `name`, in milliseconds after its navigation began.
    pub async fn mark(&self, within: Duration, name: &str) -> anyhow::Result<f64> {
        let script = format!(
            "return performance.getEntriesByName({}, 'mark')[0]?.startTime ?? null;",
            json!(name)
        );
        eventually(within, &format!("the performance mark {name}"), async || {
            Ok(match self.run(&script).await?.as_f64() {
                Some(at) => Look::There(at),
                None => Look::NotYet(format!("{:#?}", self.shown().await?)),
            })
        })
        .await
    }
}

/// Lets two pages chat both ways.
pub async fn chat_both_ways(alice: &Page, bob: &Page, within: Duration, word: &str) -> anyhow::Result<()> {
    let known = |shown: &Shown| shown.self_id.clone();
    let alice_id = alice.until(SOON, "its peer id", known).await?;
    let bob_id = bob.until(SOON, "its peer id", known).await?;
    let (to_bob, to_alice) = (format!("{word} from alice"), format!("{word} from bob"));
    alice.say(&to_bob).await?;
    bob.say(&to_alice).await?;
    futures::try_join!(
        bob.hears_within(within, &alice_id, &to_bob),
        alice.hears_within(within, &bob_id, &to_alice)
    )?;
    Ok(())
}
