//! What the tests of real swarms share: nodes that run by themselves, stock clients, and clients that write what they like.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport},
        upgrade::Version,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerway_core::behaviours::Streams;
use peerway_hop::{Config, Event};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

pub(crate) mod by_hand;
pub(crate) mod raw;

/// How long anything may take here; nothing needs a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Calls that wait for a node.
const WAITING_CALLS: usize = 64;

type Call<B> = Box<dyn FnOnce(&mut Swarm<B>) + Send>;

/// A swarm that runs in a task of its own, until it is dropped.
pub(crate) struct Node<B: NetworkBehaviour> {
    pub(crate) id: PeerId,
    calls: mpsc::Sender<Call<B>>,
    seen: Arc<Mutex<Vec<SwarmEvent<B::ToSwarm>>>>,
    task: JoinHandle<()>,
}

impl<B> Node<B>
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    /// With a behaviour made of its keys, and of the relay's client, which only stock clients use.
    pub(crate) fn start(behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> B) -> Self {
        Self::start_as(Keypair::generate_ed25519(), behaviour)
    }

    /// With these keys.
    pub(crate) fn start_as(keys: Keypair, behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> B) -> Self {
        let id = keys.public().to_peer_id();
        let (circuits, client) = relay::client::new(id);
        let transport = secured(circuits, &keys)
            .or_transport(secured(MemoryTransport::default(), &keys))
            .map(|either, _| either.into_inner())
            .or_transport(secured(tcp::tokio::Transport::new(tcp::Config::new()), &keys))
            .map(|either, _| either.into_inner())
            .boxed();
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(2 * PATIENCE);
        let mut swarm = Swarm::new(transport, behaviour(&keys, client), id, config);
        let (calls, mut waiting) = mpsc::channel::<Call<B>>(WAITING_CALLS);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    event = swarm.select_next_some() => ControlFlow::Break(event),
                    call = waiting.recv() => ControlFlow::Continue(call),
                };
                match next {
                    ControlFlow::Break(event) => noted.lock().unwrap().push(event),
                    ControlFlow::Continue(Some(call)) => call(&mut swarm),
                    ControlFlow::Continue(None) => return,
                }
            }
        });
        Self { id, calls, seen, task }
    }

    /// Does something with the swarm.
    pub(crate) async fn with<T: Send + 'static>(&self, call: impl FnOnce(&mut Swarm<B>) -> T + Send + 'static) -> T {
        let (answer, result) = oneshot::channel();
        let call: Call<B> = Box::new(move |swarm| {
            let _ = answer.send(call(swarm));
        });
        self.calls.send(call).await.expect("the node runs");
        result.await.expect("the node runs")
    }

    /// What came of all events so far.
    pub(crate) fn seen<T>(&self, wanted: impl FnMut(&SwarmEvent<B::ToSwarm>) -> Option<T>) -> Vec<T> {
        self.seen.lock().unwrap().iter().filter_map(wanted).collect()
    }

    /// Waits for the first event, whenever it came, of which `wanted` makes something.
    pub(crate) async fn until<T>(&self, what: &str, mut wanted: impl FnMut(&SwarmEvent<B::ToSwarm>) -> Option<T>) -> T {
        eventually(what, async || self.seen(&mut wanted).into_iter().next()).await
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits until it panics, and panics as it did.
    pub(crate) async fn panicked(mut self) {
        let error = timeout(PATIENCE, &mut self.task)
            .await
            .expect("in time")
            .expect_err("a panic");
        std::panic::resume_unwind(error.into_panic());
    }

    /// Listens, and takes that for an address that everybody reaches.
    pub(crate) async fn listen(&self, on: &str) -> Multiaddr {
        let on: Multiaddr = on.parse().unwrap();
        self.with(move |swarm| swarm.listen_on(on).unwrap()).await;
        let address = self
            .until("it listens", |event| match event {
                SwarmEvent::NewListenAddr { address, .. } => Some(address.clone()),
                _ => None,
            })
            .await;
        let external = address.clone();
        self.with(move |swarm| swarm.add_external_address(external)).await;
        address.with(Protocol::P2p(self.id))
    }

    pub(crate) async fn connect(&self, address: &Multiaddr) {
        let address = address.clone();
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            panic!("{address} names nobody");
        };
        self.with(move |swarm| swarm.dial(address).unwrap()).await;
        let connected = |event: &SwarmEvent<B::ToSwarm>| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => (*peer_id == peer).then_some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(format!("{error:?}"))),
            _ => None,
        };
        self.until("it connects", connected).await.unwrap();
    }
}

impl<B: NetworkBehaviour> Drop for Node<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Our relay.
pub(crate) type Relay = Node<peerway_hop::Behaviour>;

/// A relay that listens in memory, and its address.
pub(crate) async fn relay(change: impl FnOnce(&mut Config)) -> (Relay, Multiaddr) {
    let mut config = Config::default();
    change(&mut config);
    let relay = Relay::start(|keys, _| peerway_hop::Behaviour::new(keys, config));
    let address = relay.listen("/memory/0").await;
    (relay, address)
}

/// libp2p's own.
pub(crate) async fn stock_relay(config: relay::Config) -> (Node<relay::Behaviour>, Multiaddr) {
    let relay = Node::start(|keys, _| relay::Behaviour::new(keys.public().to_peer_id(), config));
    let address = relay.listen("/memory/0").await;
    (relay, address)
}

/// libp2p's own, without its rates.
pub(crate) fn stock_config() -> relay::Config {
    relay::Config {
        reservation_rate_limiters: Vec::new(),
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}

impl Relay {
    /// All that it told its application.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen(|event| match event {
            SwarmEvent::Behaviour(event) => Some(event.clone()),
            _ => None,
        })
    }

    /// How many hold a reservation, and how many circuits there are.
    pub(crate) async fn counts(&self) -> (usize, usize) {
        self.with(|swarm| (swarm.behaviour().holders(), swarm.behaviour().circuit_count()))
            .await
    }
}

/// A client of rust-libp2p, that can open streams.
#[derive(NetworkBehaviour)]
pub(crate) struct Stock {
    relay: relay::client::Behaviour,
    pub(crate) streams: Streams,
}

pub(crate) type Client = Node<Stock>;

impl Client {
    pub(crate) fn stock() -> Self {
        Self::start(|_, relay| Stock {
            relay,
            streams: Streams::new(),
        })
    }

    /// Asks for a reservation, and keeps it up. Returns why it did not get one.
    pub(crate) async fn reserve(&self, relay: &Multiaddr) -> Result<(), String> {
        let slot = relay.clone().with(Protocol::P2pCircuit);
        self.with(move |swarm| swarm.listen_on(slot).unwrap()).await;
        self.until("the relay answers", |event| match event {
            SwarmEvent::Behaviour(StockEvent::Relay(relay::client::Event::ReservationReqAccepted { .. })) => {
                Some(Ok(()))
            }
            SwarmEvent::ListenerClosed { reason, .. } => Some(Err(format!("{reason:?}"))),
            _ => None,
        })
        .await
    }

    /// How often its reservation was renewed.
    pub(crate) fn renewals(&self) -> usize {
        let renewal = |event: &SwarmEvent<StockEvent>| match event {
            SwarmEvent::Behaviour(StockEvent::Relay(relay::client::Event::ReservationReqAccepted {
                renewal: true,
                ..
            })) => Some(()),
            _ => None,
        };
        self.seen(renewal).len()
    }

    pub(crate) fn has_lost_its_slot(&self) -> bool {
        let closed = |event: &SwarmEvent<StockEvent>| matches!(event, SwarmEvent::ListenerClosed { .. }).then_some(());
        !self.seen(closed).is_empty()
    }

    /// Reaches a peer through the relay. Returns why it does not.
    pub(crate) async fn reach(&self, relay: &Multiaddr, peer: PeerId) -> Result<(), String> {
        let circuit = relay.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(peer));
        self.with(move |swarm| swarm.dial(circuit).unwrap()).await;
        self.until("the circuit stands or does not", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if *peer_id == peer => {
                assert!(endpoint.is_relayed());
                Some(Ok(()))
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(format!("{error:?}"))),
            _ => None,
        })
        .await
    }
}

/// Waits until `check` gives something.
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}

fn secured<T>(transport: T, keys: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys).unwrap())
        .multiplex(yamux::Config::default())
        .boxed()
}
