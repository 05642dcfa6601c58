//! Our node in a page of a browser, told what to do by commands. What it does is said in `tests/page-peer`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Context;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    eventually::{Look, eventually},
    js::{Heard, JsRoute},
    netns::Host,
    page::{Page, READY_WITHIN, SOON},
    site::Site,
};

/// Names the directory with `tests/page-peer` as it was built.
pub const PAGE_PEER_VARIABLE: &str = "PEERWAY_TEST_PAGE_PEER";

/// For a page to find out that the other side of a direct connection is gone.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// The page, for [`PagePeer::open`].
pub fn page_peer_site() -> anyhow::Result<Site> {
    Site::serve(built()?)
}

/// The page, served by a host of a lab.
pub fn page_peer_site_at(host: &Host) -> anyhow::Result<Site> {
    Site::serve_at(built()?, host.place(), host.address())
}

fn built() -> anyhow::Result<PathBuf> {
    let dir = std::env::var_os(PAGE_PEER_VARIABLE).map(PathBuf::from);
    dir.with_context(|| format!("{PAGE_PEER_VARIABLE} does not name a built page: run `cargo xtask test`"))
}

/// A tab with a node in it. It lives as long as its tab.
#[derive(Clone, Debug)]
pub struct PagePeer {
    page: Page,
    id: PeerId,
}

/// What the node shows at one moment.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its own peer id.
    pub peer_id: String,
    /// As `relay-status` of the product's page.
    pub relay: String,
    /// Whom it knows.
    pub peers: BTreeMap<String, Known>,
    /// What was said in its rooms, by itself too.
    pub heard: Vec<Heard>,
    /// Bytes of WebAssembly memory.
    pub memory: u64,
}

/// A peer that it knows.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    /// By what the best connection goes, if there is one.
    pub route: Option<JsRoute>,
    /// Whether it answered a ping.
    pub pinged: bool,
    /// Why the last attempt to reach it failed.
    pub failure: Option<String>,
}

/// The page's connections of the browser's, `RTCPeerConnection`, since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Connections {
    /// How many were made.
    pub made: u32,
    /// How many of them were not closed yet.
    pub live: u32,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Connected {
    /// By what it goes.
    pub route: JsRoute,
    #[serde(flatten)]
    took: Took,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Took {
    ms: f64,
}

/// How a peer may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A direct connection or none.
    DirectOnly,
    /// Only through a relay.
    RelayOnly,
}

impl PagePeer {
    /// Opens one that keeps a slot on this relay, and waits for the slot; `site` is [`page_peer_site`].
    pub async fn open(browser: &Browser, site: &Site, relay: &Multiaddr) -> anyhow::Result<Self> {
        let url = address_of(site, relay, &[])?;
        Self::reserved(browser.open(url.as_str()).await?).await
    }

    /// As [`Self::open`], one that connects to nobody unless it is told to.
    pub async fn open_passive(browser: &Browser, site: &Site, relay: &Multiaddr) -> anyhow::Result<Self> {
        let mut url = address_of(site, relay, &[])?;
        url.query_pairs_mut().append_pair("initiative", "nobody");
        Self::reserved(browser.open(url.as_str()).await?).await
    }

    /// Opens one in place of what is in a tab; it asks these servers for its public address.
    pub async fn replace(page: Page, site: &Site, relay: &Multiaddr, stun: &[String]) -> anyhow::Result<Self> {
        page.goto(address_of(site, relay, stun)?.as_str()).await?;
        Self::reserved(page).await
    }

    /// Ends its node and starts another, with another identity, in the same tab.
    pub async fn start_anew(self, relay: &Multiaddr) -> anyhow::Result<Self> {
        self.stop().await?;
        self.command::<Value>(json!({ "cmd": "start", "relay": relay })).await?;
        Self::reserved(self.page).await
    }

    async fn reserved(page: Page) -> anyhow::Result<Self> {
        let id = eventually(READY_WITHIN, "a node with a slot on the relay", async || {
            let answer = page
                .run("return globalThis.peer?.command({ cmd: 'status' }).catch(String) ?? null;")
                .await?;
            Ok(match serde_json::from_value::<Status>(answer.clone()) {
                Ok(status) if status.relay == "reserved" => Look::There(status.peer_id.parse()?),
                _ => Look::NotYet(answer.to_string()),
            })
        })
        .await?;
        Ok(Self { page, id })
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The tab it is in.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// How it stands.
    pub async fn status(&self) -> anyhow::Result<Status> {
        self.command(json!({ "cmd": "status" })).await
    }

    /// Waits until its status has something in it.
    pub async fn until<T>(
        &self,
        within: Duration,
        what: &str,
        mut pick: impl FnMut(&Status) -> Option<T>,
    ) -> anyhow::Result<T> {
        eventually(within, what, async || {
            let status = self.status().await?;
            Ok(match pick(&status) {
                Some(found) => Look::There(found),
                None => Look::NotYet(format!("{status:#?}")),
            })
        })
        .await
    }

    /// What of the browser's it has made and not closed.
    pub async fn connections(&self) -> anyhow::Result<Connections> {
        let script = "return { made: connections.made, live: connections.live };";
        Ok(serde_json::from_value(self.page.run(script).await?)?)
    }

    /// Waits until it has closed every connection of the browser's but so many.
    pub async fn closes_all_but(&self, kept: u32) -> anyhow::Result<Connections> {
        let what = format!("every connection but {kept} is closed");
        eventually(NOTICED_WITHIN, &what, async || {
            let connections = self.connections().await?;
            Ok(if connections.live <= kept {
                Look::There(connections)
            } else {
                Look::NotYet(format!("{connections:?}"))
            })
        })
        .await
    }

    /// Waits until its best connection to `peer` goes by `route`, or there is none any more.
    pub async fn reaches(&self, peer: PeerId, route: Option<JsRoute>) -> anyhow::Result<()> {
        self.reaches_within(SOON, peer, route).await
    }

    /// As [`Self::reaches`], at most this long.
    pub async fn reaches_within(&self, within: Duration, peer: PeerId, route: Option<JsRoute>) -> anyhow::Result<()> {
        let peer = peer.to_string();
        self.until(within, &format!("{peer} by {route:?}"), |status| {
            let now = status.peers.get(&peer).and_then(|known| known.route);
            (now == route).then_some(())
        })
        .await
    }

    /// Waits until `peer` has answered a ping on the best connection.
    pub async fn measures(&self, peer: PeerId) -> anyhow::Result<()> {
        let peer = peer.to_string();
        self.until(SOON, &format!("{peer} answers a ping"), |status| {
            status.peers.get(&peer)?.pinged.then_some(())
        })
        .await
    }

    /// Connects to a peer; done when there is such a connection.
    pub async fn connect(&self, peer: PeerId, reach: Reach) -> anyhow::Result<Connected> {
        self.command(connect(peer, reach)).await
    }

    /// As [`Self::connect`], at most this long, and the browser can be told other things meanwhile. Answers how it ended.
    pub async fn connect_meanwhile(
        &self,
        peer: PeerId,
        reach: Reach,
        within: Duration,
    ) -> anyhow::Result<Result<Connected, String>> {
        let (command, key) = (connect(peer, reach), json!(peer.to_string()));
        // What a script returns the driver waits for, and does nothing else.
        let begin = format!(
            "globalThis.ended ??= {{}};
             const end = (answer) => {{ ended[{key}] = answer; }};
             end(null);
             peer.command({command}).then((ok) => end({{ ok }}), (error) => end({{ error: String(error.message ?? error) }}));"
        );
        self.page.run(&begin).await?;
        let mut answer = eventually(within, &format!("the end of a dial of {peer}"), async || {
            let answer = self.page.run(&format!("return ended[{key}] ?? null;")).await?;
            Ok(if answer.is_null() {
                Look::NotYet(format!("{:#?}", self.status().await?))
            } else {
                Look::There(answer)
            })
        })
        .await?;
        Ok(match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(serde_json::from_value(answer["ok"].take())?),
        })
    }

    /// Closes every connection to a peer, and waits until none is left.
    pub async fn hang_up(&self, peer: PeerId) -> anyhow::Result<()> {
        self.command::<Value>(json!({ "cmd": "hangUp", "peer": peer.to_string() }))
            .await?;
        self.reaches(peer, None).await
    }

    /// Ends its node, and starts one that connects to nobody but this peer: directly, until a ping is answered.
    pub async fn meet_anew(&self, relay: &Multiaddr, peer: PeerId) -> anyhow::Result<Duration> {
        self.stop().await?;
        let meet = json!({ "cmd": "meet", "relay": relay, "initiative": "nobody", "peer": peer.to_string() });
        self.command::<Took>(meet).await?.duration()
    }

    /// Ends its node.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.command::<Value>(json!({ "cmd": "stop" })).await.map(drop)
    }

    /// Sends so many bytes to an echo on the best route, half-closes, reads until the other side has closed too, and
    /// compares them all.
    pub async fn echo(&self, peer: PeerId, bytes: usize) -> anyhow::Result<Duration> {
        let took: Took = self
            .command(json!({ "cmd": "echo", "peer": peer.to_string(), "bytes": bytes }))
            .await?;
        took.duration()
    }

    /// Sends so many bytes one way on the best route; the time is that until the other side has said that it has them.
    pub async fn throughput(&self, peer: PeerId, bytes: usize) -> anyhow::Result<Duration> {
        let took: Took = self
            .command(json!({ "cmd": "throughput", "peer": peer.to_string(), "bytes": bytes }))
            .await?;
        took.duration()
    }

    /// Says a line in its room.
    pub async fn say(&self, text: &str) -> anyhow::Result<()> {
        self.command(json!({ "cmd": "say", "text": text })).await
    }

    /// Waits until it has heard `from` say this.
    pub async fn hears(&self, from: PeerId, text: &str) -> anyhow::Result<()> {
        let from = from.to_string();
        self.until(SOON, &format!("{from} says {text:?}"), |status| {
            let mut heard = status.heard.iter();
            heard
                .find(|line| line.from == from && line.text.as_deref() == Some(text))
                .map(|_| ())
        })
        .await
    }

    async fn command<T: DeserializeOwned>(&self, command: Value) -> anyhow::Result<T> {
        // A command that fails must not look like a driver that does.
        let script = format!(
            "return peer.command({command}).then((ok) => ({{ ok }}), (error) => ({{ error: String(error.message ?? error) }}));"
        );
        let mut answer = self.page.run(&script).await?;
        if let Some(error) = answer["error"].as_str() {
            anyhow::bail!("our page, {}: {error}", command["cmd"]);
        }
        Ok(serde_json::from_value(answer["ok"].take())?)
    }
}

fn address_of(site: &Site, relay: &Multiaddr, stun: &[String]) -> anyhow::Result<url::Url> {
    let mut url = url::Url::parse(&site.url())?;
    url.query_pairs_mut()
        .append_pair("relay", &relay.to_string())
        .extend_pairs(stun.iter().map(|server| ("stun", server)));
    Ok(url)
}

impl Connected {
    /// How long it took, by the page's own clock.
    pub fn took(&self) -> anyhow::Result<Duration> {
        self.took.duration()
    }
}

fn connect(peer: PeerId, reach: Reach) -> Value {
    let reach = match reach {
        Reach::DirectOnly => "directOnly",
        Reach::RelayOnly => "relayOnly",
    };
    json!({ "cmd": "connect", "peer": peer.to_string(), "reach": reach })
}

impl Took {
    fn duration(self) -> anyhow::Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.ms / 1000.0)?)
    }
}
