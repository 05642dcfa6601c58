//! A node of ours in this very process, for those who want to meet one that is not in a page.

use std::time::Duration;

use anyhow::Context;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future::try_join};
use libp2p::{Multiaddr, PeerId, identity::Keypair};
use peerway_core::{
    chat::RoomName,
    dial::Route,
    node::{self, Event, Events, Node, RelaySpec},
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::{js::ECHO, netns::Place, page::READY_WITHIN};

/// A node in the default room that echoes. Dropping it ends it.
#[derive(Debug)]
pub struct NativePeer {
    /// The handle that any application holds.
    pub node: Node,
    events: Events,
    echoing: JoinHandle<()>,
    /// Dropping it ends the thread that the node runs in.
    _running: oneshot::Sender<()>,
}

impl NativePeer {
    /// Starts one that keeps a slot on this relay.
    pub async fn start(relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::start_in(&Place::Here, relay).await
    }

    /// Starts one whose network is that of `place`, in a thread of its own: a thread is in one place.
    pub async fn start_in(place: &Place, relay: &Multiaddr) -> anyhow::Result<Self> {
        Self::start_as(Keypair::generate_ed25519(), place, relay).await
    }

    /// The same, with this key.
    pub async fn start_as(key: Keypair, place: &Place, relay: &Multiaddr) -> anyhow::Result<Self> {
        let relay: RelaySpec = relay.to_string().parse()?;
        let place = place.clone();
        let (ready, built) = oneshot::channel();
        let (running, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            place.inside(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let built = node::builder(key).relay(relay).room(RoomName::default()).build();
                    let event_loop = match built {
                        Ok((node, events, event_loop)) => {
                            // An error means that nobody waits for it any more.
                            let _ = ready.send(Ok((node, events)));
                            event_loop
                        }
                        Err(error) => return drop(ready.send(Err(error))),
                    };
                    tokio::select! {
                        () = event_loop.run() => {}
                        _ = ended => {}
                    }
                });
                anyhow::Ok(())
            })
        });
        let (node, events) = built.await.context("there is no such place")??;
        let mut incoming = node.accept(ECHO).await??;
        let echoing = tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                let (reader, mut writer) = stream.split();
                // Whoever asked sees what is missing.
                if futures::io::copy(reader, &mut writer).await.is_ok() {
                    let _ = writer.close().await;
                }
            }
        });
        Ok(Self {
            node,
            events,
            echoing,
            _running: running,
        })
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        self.node.local_peer_id()
    }

    /// Waits for an event that `pick` makes something of; those before it are gone.
    pub async fn until<T>(
        &mut self,
        within: Duration,
        what: &str,
        pick: impl Fn(&Event) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut seen = Vec::new();
        let found = async {
            while let Some(event) = self.events.next().await {
                if let Some(found) = pick(&event) {
                    return Some(found);
                }
                seen.push(event);
            }
            None
        };
        match timeout(within, found).await {
            Ok(Some(found)) => Ok(found),
            outcome => anyhow::bail!(
                "not within {within:?}: {what} ({outcome:?})\n  seen: {seen:#?}",
                outcome = outcome.is_ok()
            ),
        }
    }

    /// Every event so far that nobody has waited for.
    pub fn past(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.next().now_or_never().flatten()).collect()
    }

    /// Waits until it reaches `peer` somehow.
    pub async fn connected_to(&mut self, peer: PeerId) -> anyhow::Result<Route> {
        self.until(READY_WITHIN, &format!("a connection to {peer}"), |event| {
            let Event::RouteChanged { peer: who, route } = event else {
                return None;
            };
            route.filter(|_| *who == peer)
        })
        .await
    }

    /// How it reaches `peer` now.
    pub async fn route(&self, peer: PeerId) -> anyhow::Result<Option<Route>> {
        let view = self.node.view().await?;
        Ok(view.peers.get(&peer).and_then(|row| row.route))
    }

    /// Sends `bytes` on the best route, ends, reads until the other side has ended, and compares.
    pub async fn echo(&self, peer: PeerId, bytes: usize) -> anyhow::Result<()> {
        let (mut reader, mut writer) = self.node.open(peer, ECHO).await?.split();
        let sent: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        let mut received = Vec::new();
        let write = async {
            writer.write_all(&sent).await?;
            writer.close().await
        };
        timeout(READY_WITHIN, try_join(write, reader.read_to_end(&mut received))).await??;
        anyhow::ensure!(
            received == sent,
            "{} of {bytes} bytes came back, or others",
            received.len()
        );
        Ok(())
    }
}

impl Drop for NativePeer {
    fn drop(&mut self) {
        self.echoing.abort();
    }
}
