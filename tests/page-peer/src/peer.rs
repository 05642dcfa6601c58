//! What can be asked of the page, and the node that does it. At most one node at a time; each has a new identity.

use std::cell::RefCell;

use anyhow::Context;
use futures::{FutureExt, channel::oneshot, future::Shared};
use gloo_timers::future::TimeoutFuture;
use js_sys::{ArrayBuffer, WebAssembly::Memory};
use libp2p::{PeerId, identity::Keypair};
use peerway_core::{
    chat::RoomName,
    config::Config,
    dial::{self, Route},
    node::{self, Node, RelaySpec},
    view::{PeerRow, RelayStatus, View},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;

use crate::streams::{self, ECHO, SINK};

/// How often [`until`] looks.
const LOOK_EVERY_MILLIS: u32 = 5;

/// What can be asked: `{ cmd: "echo", peer: "12D3…", bytes: 1 }`.
#[derive(Deserialize)]
#[serde(tag = "cmd", rename_all = "camelCase")]
pub(crate) enum Command {
    /// Starts a node that keeps a slot on this relay.
    Start(Start),
    /// Starts such a node, connects it directly to a peer, and has that answer a ping; says how long it all took.
    Meet {
        peer: String,
        #[serde(flatten)]
        start: Start,
    },
    /// Everything that can be seen from outside, at one moment.
    Status,
    /// Connects; says on which route, and how long it took.
    Connect { peer: String, reach: Reach },
    /// Closes every connection to a peer, and leaves it alone.
    HangUp { peer: String },
    /// Has so many bytes sent back on the best route and compares them; both sides half-close.
    Echo { peer: String, bytes: usize },
    /// Sends so many bytes on the best route, until the other side has said that it has them.
    Throughput { peer: String, bytes: usize },
    /// Takes part in a room.
    Room { name: String },
    /// Says a line in every room.
    Say { text: String },
    /// Ends the node; done when nothing of it runs any more.
    Stop,
}

/// How a node is started.
#[derive(Deserialize)]
pub(crate) struct Start {
    pub(crate) relay: String,
    /// The lobby if none is named.
    pub(crate) room: Option<String>,
    /// Asked for its public address.
    #[serde(default)]
    pub(crate) stun: Vec<String>,
    #[serde(default)]
    pub(crate) initiative: Initiative,
}

/// [`dial::Initiative`] as a command has it.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Initiative {
    #[default]
    ByPlan,
    Nobody,
}

/// [`node::Reach`] as a command has it.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reach {
    PreferDirect,
    DirectOnly,
    RelayOnly,
}

#[derive(Default)]
pub(crate) struct Peer {
    running: RefCell<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    node: Node,
    /// Cancelled when the event loop has come to its end.
    ended: Shared<oneshot::Receiver<()>>,
}

impl Peer {
    pub(crate) async fn command(&self, command: Command) -> anyhow::Result<Value> {
        match command {
            Command::Start(start) => self.start(start).await,
            Command::Meet { peer, start } => {
                let (met, ms) = timed(self.meet(peer.parse()?, start)).await;
                met.map(|()| json!({ "ms": ms }))
            }
            Command::Status => Ok(status(&self.node()?.view().await?)),
            Command::Connect { peer, reach } => {
                let (node, peer) = (self.node()?, peer.parse()?);
                let (route, ms) = timed(node.connect(peer, reach.into())).await;
                Ok(json!({ "route": name_of(route?), "ms": ms }))
            }
            Command::HangUp { peer } => {
                let peer = peer.parse()?;
                self.node()?.send(node::Command::Disconnect { peer }).await?;
                Ok(Value::Null)
            }
            Command::Echo { peer, bytes } => {
                let stream = self.node()?.open(peer.parse()?, ECHO).await?;
                let (outcome, ms) = timed(streams::ask_for_echo(stream, bytes)).await;
                outcome.map(|()| json!({ "bytes": bytes, "ms": ms }))
            }
            Command::Throughput { peer, bytes } => {
                let stream = self.node()?.open(peer.parse()?, SINK).await?;
                let (outcome, ms) = timed(streams::send_all(stream, bytes)).await;
                outcome.map(|()| json!({ "bytes": bytes, "ms": ms }))
            }
            Command::Room { name } => {
                self.node()?.join(name.parse()?).await?;
                Ok(Value::Null)
            }
            Command::Say { text } => self.say(&text).await,
            Command::Stop => {
                if let Some(Running { node, ended }) = self.running.take() {
                    node.shutdown().await;
                    // Cancelled is what it is to be.
                    let _ = ended.await;
                }
                Ok(Value::Null)
            }
        }
    }

    fn node(&self) -> anyhow::Result<Node> {
        let running = self.running.borrow();
        running
            .as_ref()
            .map(|running| running.node.clone())
            .context("there is no node: start one")
    }

    async fn start(&self, start: Start) -> anyhow::Result<Value> {
        anyhow::ensure!(self.running.borrow().is_none(), "there is a node: stop it first");
        let Start {
            relay,
            room,
            stun,
            initiative,
        } = start;
        let room = room.map_or_else(|| Ok(RoomName::default()), |name| name.parse())?;
        let mut config = Config::default();
        config.dial.initiative = initiative.into();
        let (node, _, event_loop) = node::builder(Keypair::generate_ed25519())
            .config(config)
            .relay(relay.parse::<RelaySpec>()?)
            .room(room)
            .build()?;
        let (guard, ended) = oneshot::channel();
        spawn_local(async move {
            event_loop.run().await;
            drop(guard);
        });
        let ended = ended.shared();
        *self.running.borrow_mut() = Some(Running {
            node: node.clone(),
            ended,
        });
        node.send(node::Command::SetStunServers(stun)).await?;
        spawn_local(streams::serve(node.accept(ECHO).await??, streams::echo_all));
        spawn_local(streams::serve(node.accept(SINK).await??, streams::count_all));
        Ok(json!({ "peerId": node.local_peer_id().to_string() }))
    }

    async fn meet(&self, peer: PeerId, start: Start) -> anyhow::Result<()> {
        self.start(start).await?;
        let node = self.node()?;
        until(&node, |view| view.relay_status() == RelayStatus::Reserved).await?;
        node.connect(peer, node::Reach::DirectOnly).await?;
        until(&node, |view| {
            view.peers
                .get(&peer)
                .is_some_and(|row| row.route == Some(Route::WebRtc) && row.round_trip.is_some())
        })
        .await
    }

    async fn say(&self, text: &str) -> anyhow::Result<Value> {
        let node = self.node()?;
        for room in node.view().await?.rooms.into_keys() {
            node.say(room, text.to_owned()).await??;
        }
        Ok(Value::Null)
    }
}

/// Looks until it is so. Whoever asked waits only so long.
async fn until(node: &Node, is: impl Fn(&View) -> bool) -> anyhow::Result<()> {
    while !is(&node.view().await?) {
        TimeoutFuture::new(LOOK_EVERY_MILLIS).await;
    }
    Ok(())
}

fn status(view: &View) -> Value {
    let lines = view.rooms.values().flat_map(|room| &room.messages);
    let peers: Map<String, Value> = view
        .peers
        .iter()
        .map(|(peer, row)| (peer.to_string(), shown(row)))
        .collect();
    json!({
        "peerId": view.local.to_string(),
        "relay": match view.relay_status() {
            RelayStatus::Connecting => "connecting",
            RelayStatus::Reserved => "reserved",
            RelayStatus::Lost => "lost",
            RelayStatus::Refused => "refused",
        },
        "peers": peers,
        "heard": lines
            .map(|line| json!({ "from": line.from.to_string(), "text": line.text }))
            .collect::<Vec<_>>(),
        "memory": memory(),
    })
}

fn shown(row: &PeerRow) -> Value {
    json!({
        "route": row.route.map(name_of),
        "gone": row.gone_at.is_some(),
        "pinged": row.round_trip.is_some(),
        "failure": row.last_failure.as_ref().map(ToString::to_string),
    })
}

/// As the product's page calls them.
fn name_of(route: Route) -> &'static str {
    match route {
        Route::WebRtc => "webrtc",
        Route::Direct => "direct",
        Route::Circuit { .. } => "circuit",
    }
}

/// Bytes of WebAssembly memory. It never shrinks.
fn memory() -> Option<u32> {
    let memory: Memory = wasm_bindgen::memory().dyn_into().ok()?;
    let buffer: ArrayBuffer = memory.buffer().dyn_into().ok()?;
    Some(buffer.byte_length())
}

/// What came of it, and after how many milliseconds.
async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let now = || {
        web_sys::window()
            .and_then(|window| window.performance())
            .map_or(0.0, |clock| clock.now())
    };
    let began = now();
    (work.await, now() - began)
}

impl From<Initiative> for dial::Initiative {
    fn from(initiative: Initiative) -> Self {
        match initiative {
            Initiative::ByPlan => Self::ByPlan,
            Initiative::Nobody => Self::Nobody,
        }
    }
}

impl From<Reach> for node::Reach {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::PreferDirect => Self::PreferDirect,
            Reach::DirectOnly => Self::DirectOnly,
            Reach::RelayOnly => Self::RelayOnly,
        }
    }
}
