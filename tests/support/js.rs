//! Peers and a relay made of js-libp2p, in processes and in pages. What they do is said in `tests/js`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context;
use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr::Protocol};
use peerway_core::chat::RoomName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    browser::Browser,
    eventually::{Look, eventually},
    page::{Page, READY_WITHIN, SOON},
    process::Process,
    site::Site,
};

/// Names the directory with the bundles of `tests/js` and `tests/page`.
pub const JS_VARIABLE: &str = "PEERWAY_TEST_JS";

/// Sends back what comes until the other side has ended, then ends.
pub const ECHO: StreamProtocol = StreamProtocol::new("/echo/1.0.0");

/// A little more than a command's own bound (`PATIENCE` in `peer.js`): its reason comes before the wait ends.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The bundles.
fn bundles() -> anyhow::Result<PathBuf> {
    let dir = std::env::var_os(JS_VARIABLE).map(PathBuf::from);
    dir.with_context(|| format!("{JS_VARIABLE} does not name the bundles of tests/js: run `cargo xtask test`"))
}

/// The test page, for [`JsPeer::open`].
pub fn page_site() -> anyhow::Result<Site> {
    Site::serve(bundles()?.join("page"))
}

/// Starts a bundle in Node. It ends with its stdin, so also if this very process is killed.
pub fn program(name: &str, arguments: &[String]) -> anyhow::Result<Process> {
    let mut command = Command::new("node");
    command.arg(bundles()?.join(name)).args(arguments);
    Process::spawn_listening(name, command)
}

/// A circuit relay made of js-libp2p. Dropping it ends it.
#[derive(Debug)]
pub struct JsRelay {
    /// Where it listens, with its peer id.
    pub address: Multiaddr,
    _process: Process,
}

impl JsRelay {
    /// Starts one that passes on what is said about these topics.
    pub async fn start(topics: &[String]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Started {
            address: Multiaddr,
        }
        let mut process = program("relay.cjs", topics)?;
        let started: Started = process
            .wait_for_line(READY_WITHIN, "its address", |line| serde_json::from_str(line).ok())
            .await?;
        Ok(Self {
            address: started.address,
            _process: process,
        })
    }
}

/// A peer made of js-libp2p. Dropping it ends its process; in a page it lives as long as its tab.
#[derive(Debug)]
pub struct JsPeer {
    host: Host,
    id: PeerId,
}

/// What a peer runs in.
#[derive(Debug)]
enum Host {
    Node { process: Mutex<Process>, next: AtomicU64 },
    Page(Page),
}

/// Whether a peer says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Announced,
    Silent,
}

/// By what a connection goes, as js-libp2p's address of it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsRoute {
    /// Straight, signalled through a circuit.
    Webrtc,
    /// Through a relay.
    Circuit,
    /// Straight, any other way.
    Direct,
}

/// What a peer says about itself at one moment.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Where it can be dialled.
    pub addresses: Vec<Multiaddr>,
    /// Its connections.
    pub connections: Vec<JsConnection>,
    /// By topic: whom it knows to be subscribed.
    pub subscribers: BTreeMap<String, Vec<String>>,
    /// By peer: the addresses that were announced last.
    pub announcements: BTreeMap<String, Vec<String>>,
    /// What was said in its room.
    pub heard: Vec<Heard>,
}

/// A connection.
#[derive(Clone, Debug, Deserialize)]
pub struct JsConnection {
    /// With whom.
    pub peer: String,
    /// By what.
    pub route: JsRoute,
    /// Who began it.
    pub direction: Direction,
    /// Whether js-libp2p thinks that it ends after some bytes or some time.
    pub limited: bool,
    /// What the other says it is, if identify has run on this very connection.
    pub agent: Option<String>,
}

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The other.
    Inbound,
    /// This peer.
    Outbound,
}

/// A line.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// Whose.
    pub from: String,
    /// What, if it was one of ours.
    pub text: Option<String>,
}

/// A dial that succeeded.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Dialled {
    /// By what the connection goes.
    pub route: JsRoute,
    /// How often it was tried. Between two js peers more than once now and then: see `peer.js`.
    pub tries: u32,
    #[serde(flatten)]
    took: Took,
}

impl Dialled {
    /// How long the try took that succeeded.
    pub fn took(&self) -> anyhow::Result<Duration> {
        self.took.duration()
    }
}

/// What [`JsPeer::signal`] does after its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Closes its half.
    Half,
    /// Nothing: it is silent.
    Nothing,
}

/// How the other side took what it was told.
#[derive(Clone, Debug, Deserialize)]
pub struct Signalled {
    /// `closed` or `reset`.
    pub ended: String,
    /// How many bytes it answered.
    pub answered: usize,
    #[serde(flatten)]
    took: Took,
}

impl Signalled {
    /// After how long it ended the stream.
    pub fn took(&self) -> anyhow::Result<Duration> {
        self.took.duration()
    }
}

/// How long something took, by the peer's own clock.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Took {
    ms: f64,
}

impl JsPeer {
    /// Starts one in Node that keeps a slot on this relay.
    pub async fn start(relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::begin(Host::node()?, relay, Manner::Announced).await
    }

    /// As [`Self::start`], one that announces itself to nobody: whoever it meets was dialled by it.
    pub async fn start_silent(relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::begin(Host::node()?, relay, Manner::Silent).await
    }

    /// Starts one in a tab that keeps a slot on this relay; `site` is [`page_site`].
    pub async fn open(browser: &Browser, site: &Site, relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::begin(Host::Page(browser.open(&site.url()).await?), relay, Manner::Announced).await
    }

    /// As [`Self::open`], one that announces itself to nobody.
    pub async fn open_silent(browser: &Browser, site: &Site, relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::begin(Host::Page(browser.open(&site.url()).await?), relay, Manner::Silent).await
    }

    async fn begin(host: Host, relay: &Multiaddr, manner: Manner) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Started {
            peer_id: String,
        }
        let silent = manner == Manner::Silent;
        let start = json!({ "cmd": "start", "relay": relay, "silent": silent });
        let Started { peer_id } = serde_json::from_value(host.command(start).await?)?;
        let id = peer_id.parse()?;
        Ok(Self { host, id })
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// How it stands.
    pub async fn status(&self) -> anyhow::Result<Status> {
        Ok(serde_json::from_value(
            self.host.command(json!({ "cmd": "status" })).await?,
        )?)
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

    /// Waits for a slot on a relay; returns the address for others to reach it by `route` through that.
    pub async fn reserved(&self, route: JsRoute) -> anyhow::Result<Multiaddr> {
        self.until(READY_WITHIN, &format!("an address for {route:?}"), |status| {
            let mut addresses = status.addresses.iter();
            addresses.find(|address| route_of(address) == route).cloned()
        })
        .await
    }

    /// Dials an address.
    pub async fn dial(&self, address: &Multiaddr) -> anyhow::Result<Dialled> {
        let command = json!({ "cmd": "dial", "address": address });
        Ok(serde_json::from_value(self.host.command(command).await?)?)
    }

    /// Ends its node, and starts one that connects directly to `peer` at this address, until a ping is answered.
    pub async fn meet_anew(&self, relay: &Multiaddr, peer: PeerId, address: &Multiaddr) -> anyhow::Result<Duration> {
        self.host.command(json!({ "cmd": "stop" })).await?;
        let meet = json!({ "cmd": "meet", "relay": relay, "peer": peer.to_string(), "address": address });
        self.timed(meet).await
    }

    /// Waits until it is connected to `peer` by `route` and identify has run there; returns what the other says it is.
    pub async fn identified(&self, peer: PeerId, route: JsRoute) -> anyhow::Result<String> {
        let id = peer.to_string();
        self.until(SOON, &format!("{peer} identified over {route:?}"), |status| {
            let mut connections = status.connections.iter();
            let found = connections.find(|connection| connection.peer == id && connection.route == route)?;
            found.agent.clone()
        })
        .await
    }

    /// Closes the connection that goes by `route`.
    pub async fn hang_up(&self, peer: PeerId, route: JsRoute) -> anyhow::Result<()> {
        let command = json!({ "cmd": "hangUp", "peer": peer.to_string(), "route": route });
        self.host.command(command).await.map(|_| ())
    }

    /// Closes every connection to `peer`.
    pub async fn hang_up_all(&self, peer: PeerId) -> anyhow::Result<()> {
        let command = json!({ "cmd": "hangUpAll", "peer": peer.to_string() });
        self.host.command(command).await.map(drop)
    }

    /// Sends bytes on a signalling stream over the circuit to `peer`, and waits until the other side has ended it.
    pub async fn signal(&self, peer: PeerId, messages: &[Vec<u8>], end: End) -> anyhow::Result<Signalled> {
        let end = end == End::Half;
        let command = json!({ "cmd": "signal", "peer": peer.to_string(), "messages": hex(messages), "end": end });
        Ok(serde_json::from_value(self.host.command(command).await?)?)
    }

    /// Opens a stream over the circuit to `peer`, does not say for what, and waits until the other side has ended it.
    pub async fn open_mute(&self, peer: PeerId) -> anyhow::Result<Signalled> {
        let command = json!({ "cmd": "signal", "peer": peer.to_string(), "mute": true, "messages": [] });
        Ok(serde_json::from_value(self.host.command(command).await?)?)
    }

    /// From now on does not even say to `peer` whether it speaks of direct connections.
    pub async fn ignore_signals(&self, peer: PeerId) -> anyhow::Result<()> {
        let command = json!({ "cmd": "ignoreSignals", "peer": peer.to_string() });
        self.host.command(command).await.map(|_| ())
    }

    /// Tells the next who asks for a direct connection these bytes, and nothing more. Whoever asks after that is refused.
    pub async fn answer_one_signal(&self, messages: &[Vec<u8>]) -> anyhow::Result<()> {
        let command = json!({ "cmd": "answerSignals", "messages": hex(messages), "once": true });
        self.host.command(command).await.map(|_| ())
    }

    /// From now on tells whoever asks for a direct connection these bytes, and nothing more.
    pub async fn answer_signals(&self, messages: &[Vec<u8>]) -> anyhow::Result<()> {
        let command = json!({ "cmd": "answerSignals", "messages": hex(messages) });
        self.host.command(command).await.map(|_| ())
    }

    /// Waits until no connection to `peer` is left.
    pub async fn forgets(&self, peer: PeerId) -> anyhow::Result<()> {
        let peer = peer.to_string();
        self.until(SOON, &format!("no connection to {peer}"), |status| {
            let mut connections = status.connections.iter();
            connections.all(|connection| connection.peer != peer).then_some(())
        })
        .await
    }

    /// Pings over the connection that goes by `route`.
    pub async fn ping(&self, peer: PeerId, route: JsRoute) -> anyhow::Result<Duration> {
        self.timed(json!({ "cmd": "ping", "peer": peer.to_string(), "route": route }))
            .await
    }

    /// Sends so many bytes to an echo, half-closes, reads until the other side has closed too, and compares them all.
    pub async fn echo(&self, peer: PeerId, route: JsRoute, bytes: usize) -> anyhow::Result<Duration> {
        self.timed(json!({ "cmd": "echo", "peer": peer.to_string(), "route": route, "bytes": bytes }))
            .await
    }

    /// Sends so many bytes one way; the time is that until the other side has said that it has them all.
    pub async fn throughput(&self, peer: PeerId, route: JsRoute, bytes: usize) -> anyhow::Result<Duration> {
        self.timed(json!({ "cmd": "throughput", "peer": peer.to_string(), "route": route, "bytes": bytes }))
            .await
    }

    /// Enters a room, and waits until it knows that `other` is there: a relay follows a room that two are in.
    pub async fn join(&self, room: &RoomName, other: PeerId) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Joined {
            topic: String,
        }
        let joined = self
            .host
            .command(json!({ "cmd": "room", "name": room.to_string() }))
            .await?;
        let Joined { topic } = serde_json::from_value(joined)?;
        anyhow::ensure!(topic == room.topic(), "{topic} is not the topic of {room}");
        self.knows_subscriber(&topic, other).await
    }

    /// Waits until it knows that `other` takes what is said about a topic.
    pub async fn knows_subscriber(&self, topic: &str, other: PeerId) -> anyhow::Result<()> {
        let other = other.to_string();
        self.until(READY_WITHIN, &format!("{other} subscribed to {topic}"), |status| {
            let there = status.subscribers.get(topic)?;
            there.contains(&other).then_some(())
        })
        .await
    }

    /// Says a line in its room.
    pub async fn say(&self, text: &str) -> anyhow::Result<()> {
        self.host
            .command(json!({ "cmd": "say", "text": text }))
            .await
            .map(|_| ())
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

    /// Waits until it has heard `peer` announce itself; returns the addresses.
    pub async fn hears_of(&self, peer: PeerId) -> anyhow::Result<Vec<String>> {
        self.until(READY_WITHIN, &format!("{peer} announces itself"), |status| {
            status.announcements.get(&peer.to_string()).cloned()
        })
        .await
    }

    async fn timed(&self, command: Value) -> anyhow::Result<Duration> {
        serde_json::from_value::<Took>(self.host.command(command).await?)?.duration()
    }
}

impl Took {
    fn duration(self) -> anyhow::Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.ms / 1000.0)?)
    }
}

impl Host {
    fn node() -> anyhow::Result<Self> {
        Ok(Self::Node {
            process: Mutex::new(program("node.cjs", &[])?),
            next: AtomicU64::new(0),
        })
    }

    /// Has a command done. Several may be under way at once.
    async fn command(&self, mut command: Value) -> anyhow::Result<Value> {
        let name = command["cmd"].clone();
        let mut answer = match self {
            Self::Node { process, next } => {
                let id = next.fetch_add(1, Ordering::Relaxed);
                command["id"] = json!(id);
                process.lock().await.tell(&command.to_string())?;
                let begins = format!("{{\"id\":{id},");
                let what = format!("the answer to {command}");
                eventually(ANSWERS_WITHIN, &what, async || {
                    let mut process = process.lock().await;
                    let line = process.line(&what, |line| line.starts_with(&begins).then(|| line.to_owned()));
                    Ok(match line.await? {
                        Some(line) => Look::There(serde_json::from_str::<Value>(&line)?),
                        None => Look::NotYet(process.tail()),
                    })
                })
                .await?
            }
            Self::Page(page) => {
                // A command that fails must not look like a driver that does.
                page.run(&format!(
                    "return peer.command({command}).then((ok) => ({{ ok }}), (error) => ({{ error: String(error.stack ?? error) }}));"
                ))
                .await?
            }
        };
        match answer["error"].as_str() {
            Some(error) => anyhow::bail!("js-libp2p, {name}: {error}"),
            None => Ok(answer["ok"].take()),
        }
    }
}

fn hex(messages: &[Vec<u8>]) -> Vec<String> {
    let digits = |message: &Vec<u8>| message.iter().map(|byte| format!("{byte:02x}")).collect();
    messages.iter().map(digits).collect()
}

fn route_of(address: &Multiaddr) -> JsRoute {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if has(|part| matches!(part, Protocol::WebRTC)) {
        JsRoute::Webrtc
    } else if has(|part| matches!(part, Protocol::P2pCircuit)) {
        JsRoute::Circuit
    } else {
        JsRoute::Direct
    }
}
