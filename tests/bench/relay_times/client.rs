//! Clients of a relay that cost as little as can be: one swarm each, circuits opened and accepted by hand.
//!
//! What they carry over a circuit is not encrypted a second time. To the relay that is no difference, and the core that
//! makes the load has twice the room. [`Full`] is the other kind, as an application has it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, ListenerId},
        upgrade::Version,
    },
    gossipsub::{self, IdentityTransform},
    identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{self, ConnectionId, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, websocket, yamux,
};
use peerway_core::behaviours::{GossipFilter, Streams, gossip};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::contestants::Carrier;

const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
const STOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/stop");
/// `RESERVE`, with its length.
const RESERVE: [u8; 3] = [2, 8, 0];
/// A STOP message `STATUS: OK`, with its length.
const ACCEPT: [u8; 5] = [4, 8, 1, 32, 100];
/// `OK` of the specification.
const OK: i32 = 100;
/// The longest message that a relay may send.
const MAX_MESSAGE: usize = 4_096;

/// How long anything may take; what is slower is broken, not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any measurement.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// Calls that wait for a node. Whoever has one more waits.
const WAITING_CALLS: usize = 64;

/// Messages of both protocols, as far as anybody here looks at them.
#[derive(Clone, PartialEq, prost::Message)]
struct HopMessage {
    #[prost(int32, optional, tag = "1")]
    r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    peer: Option<Peer>,
    #[prost(int32, optional, tag = "5")]
    status: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Peer {
    #[prost(bytes = "vec", optional, tag = "1")]
    id: Option<Vec<u8>>,
}

/// The relay's answer was not `OK` but this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay answers with status {0:?}")]
pub(crate) struct Refused(pub(crate) Option<i32>);

/// What answers on circuits is its owner's; the rest is what every libp2p peer has.
#[derive(NetworkBehaviour)]
pub(crate) struct Raw {
    pub(crate) streams: Streams,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The same, and it gossips as our nodes do.
#[derive(NetworkBehaviour)]
pub(crate) struct Page {
    base: Raw,
    pub(crate) gossip: gossipsub::Behaviour<IdentityTransform, GossipFilter>,
}

impl Raw {
    fn new(keys: &Keypair) -> Self {
        Self {
            streams: Streams::new(),
            identify: identify::Behaviour::new(identify::Config::new("/load/1.0.0".into(), keys.public())),
            ping: ping::Behaviour::default(),
        }
    }
}

/// Who can be told to open a stream.
pub(crate) trait Opens: NetworkBehaviour {
    fn streams(&mut self) -> &mut Streams;
}

impl Opens for Raw {
    fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }
}

impl Opens for Page {
    fn streams(&mut self) -> &mut Streams {
        &mut self.base.streams
    }
}

/// With libp2p's own client of relays.
#[derive(NetworkBehaviour)]
pub(crate) struct Full {
    relay: relay::client::Behaviour,
    pub(crate) streams: Streams,
}

type Call<B> = Box<dyn FnOnce(&mut Swarm<B>, &mut Waiting) + Send>;

/// Who waits for what the swarm will tell.
#[derive(Default)]
struct Waiting {
    dials: HashMap<ConnectionId, oneshot::Sender<anyhow::Result<()>>>,
    listeners: HashMap<ListenerId, oneshot::Sender<anyhow::Result<Multiaddr>>>,
}

/// A swarm that runs in a task of its own, until it is dropped.
pub(crate) struct Node<B: NetworkBehaviour> {
    pub(crate) id: PeerId,
    calls: mpsc::Sender<Call<B>>,
    closed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Node<Raw> {
    /// One that is connected to the relay, and no more.
    pub(crate) async fn connected(relay: &Multiaddr) -> anyhow::Result<Self> {
        let carrier = Carrier::of(relay);
        let node = Self::start_for(carrier, |keys, _| Ok(Raw::new(keys)), |_| ())?;
        node.connect(relay).await?;
        Ok(node)
    }

    /// One that has a slot there.
    pub(crate) async fn reserved(relay: &Multiaddr) -> anyhow::Result<Self> {
        let node = Self::connected(relay).await?;
        node.reserve(relay).await?;
        Ok(node)
    }
}

impl Node<Page> {
    /// One that tells `heard` what is said.
    pub(crate) fn page(mut heard: impl FnMut(gossipsub::Message) + Send + 'static) -> anyhow::Result<Self> {
        let behaviour = |keys: &Keypair, _| {
            Ok(Page {
                base: Raw::new(keys),
                gossip: gossip(keys)?,
            })
        };
        Self::start(behaviour, move |event| {
            if let PageEvent::Gossip(gossipsub::Event::Message { message, .. }) = event {
                heard(message);
            }
        })
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> anyhow::Result<()> {
        let topic = gossipsub::IdentTopic::new(topic);
        self.with(move |swarm| swarm.behaviour_mut().gossip.subscribe(&topic))
            .await??;
        Ok(())
    }

    pub(crate) async fn publish(&self, topic: &str, message: Vec<u8>) -> anyhow::Result<()> {
        let topic = gossipsub::IdentTopic::new(topic);
        self.with(move |swarm| swarm.behaviour_mut().gossip.publish(topic, message))
            .await??;
        Ok(())
    }
}

impl<B> Node<B>
where
    B: Opens + Send,
    B::ToSwarm: Send,
{
    /// Asks for a slot.
    pub(crate) async fn reserve(&self, relay: &Multiaddr) -> anyhow::Result<()> {
        self.ask(relay, &RESERVE).await.map(drop)
    }

    /// Asks for a circuit.
    pub(crate) async fn reach(&self, relay: &Multiaddr, peer: PeerId) -> anyhow::Result<Stream> {
        let request = HopMessage {
            r#type: Some(1),
            peer: Some(Peer {
                id: Some(peer.to_bytes()),
            }),
            status: None,
        };
        self.ask(relay, &request.encode_length_delimited_to_vec()).await
    }

    async fn ask(&self, relay: &Multiaddr, request: &[u8]) -> anyhow::Result<Stream> {
        let relay = peer_of(relay)?;
        let ask = async {
            let open = self.with(move |swarm| swarm.behaviour_mut().streams().open(relay, HOP));
            let mut stream = open.await?.await?;
            stream.write_all(request).await?;
            stream.flush().await?;
            let answer = HopMessage::decode(&read_message(&mut stream).await?[..])?;
            match answer.status {
                Some(OK) => Ok(stream),
                other => Err(Refused(other).into()),
            }
        };
        timeout(PATIENCE, ask).await.context("the relay does not answer")?
    }

    /// Takes every circuit from now on, and hands it to `serve`.
    pub(crate) async fn serve<F>(&self, mut serve: impl FnMut(Stream) -> F + Send + 'static) -> anyhow::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let incoming = self.with(|swarm| swarm.behaviour_mut().streams().accept(STOP));
        let mut incoming = incoming.await??;
        tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let served = serve_one(&mut stream).await.is_ok().then(|| serve(stream));
                if let Some(served) = served {
                    tokio::spawn(served);
                }
            }
        });
        Ok(())
    }
}

impl Node<Full> {
    /// One of libp2p's own clients.
    pub(crate) fn full() -> anyhow::Result<Self> {
        let behaviour = |_: &Keypair, relay| {
            Ok(Full {
                relay,
                streams: Streams::new(),
            })
        };
        Self::start(behaviour, |_| ())
    }
}

impl<B> Node<B>
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    /// With a behaviour made of its keys and of the relay's client, whose events go to `seen`.
    pub(crate) fn start(
        behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> anyhow::Result<B>,
        seen: impl FnMut(B::ToSwarm) + Send + 'static,
    ) -> anyhow::Result<Self> {
        Self::start_for(Carrier::Tcp, behaviour, seen)
    }

    /// One that reaches relays by this carrier, too.
    fn start_for(
        carrier: Carrier,
        behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> anyhow::Result<B>,
        mut seen: impl FnMut(B::ToSwarm) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let keys = Keypair::generate_ed25519();
        let id = keys.public().to_peer_id();
        let (mut transport, relay) = transport(&keys)?;
        if carrier == Carrier::WebRtcDirect {
            transport = transport
                .or_transport(webrtc_direct(&keys)?)
                .map(|either, _| either.into_inner())
                .boxed();
        }
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
        let mut swarm = Swarm::new(transport, behaviour(&keys, relay)?, id, config);
        if carrier == Carrier::WebRtcDirect {
            // It dials from the port that it listens on.
            swarm.listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse()?)?;
        }
        let (calls, mut called) = mpsc::channel::<Call<B>>(WAITING_CALLS);
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let task = tokio::spawn(async move {
            let mut waiting = Waiting::default();
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::ConnectionClosed { .. } = event {
                            count.fetch_add(1, Ordering::Relaxed);
                        } else if let Some(event) = waiting.handle(event) {
                            seen(event);
                        }
                    }
                    call = called.recv() => match call {
                        Some(call) => call(&mut swarm, &mut waiting),
                        None => return,
                    },
                }
            }
        });
        Ok(Self {
            id,
            calls,
            closed,
            task,
        })
    }

    /// Does something with the swarm.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Swarm<B>) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        self.call(|swarm, _| call(swarm)).await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Swarm<B>, &mut Waiting) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (answer, result) = oneshot::channel();
        let call: Call<B> = Box::new(move |swarm, waiting| {
            let _ = answer.send(call(swarm, waiting));
        });
        let sent = self.calls.send(call).await;
        sent.map_err(|_| anyhow!("the node has ended"))?;
        Ok(result.await?)
    }

    /// Dials, and waits for the connection.
    pub(crate) async fn connect(&self, address: &Multiaddr) -> anyhow::Result<()> {
        let options = DialOpts::from(address.clone());
        let (answer, connected) = oneshot::channel();
        self.call(move |swarm, waiting| {
            waiting.dials.insert(options.connection_id(), answer);
            swarm.dial(options)
        })
        .await??;
        timeout(PATIENCE, connected)
            .await
            .context("the dial takes too long")??
    }

    /// Listens, and waits for the address; on `…/p2p-circuit`, for the slot.
    pub(crate) async fn listen(&self, on: Multiaddr) -> anyhow::Result<Multiaddr> {
        let (answer, listening) = oneshot::channel();
        self.call(move |swarm, waiting| {
            let id = swarm.listen_on(on)?;
            waiting.listeners.insert(id, answer);
            anyhow::Ok(())
        })
        .await??;
        timeout(PATIENCE, listening)
            .await
            .context("it listens nowhere in time")??
    }

    /// Connections that it has lost since it began.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }
}

impl<B: NetworkBehaviour> Drop for Node<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Waiting {
    /// Answers whoever waits for it; what the behaviour says is the caller's.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nobody can wait for anything else that a swarm tells"
    )]
    fn handle<E>(&mut self, event: SwarmEvent<E>) -> Option<E> {
        match event {
            SwarmEvent::Behaviour(event) => return Some(event),
            SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                answer(self.dials.remove(&connection_id), Ok(()));
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => answer(self.dials.remove(&connection_id), Err(error.into())),
            SwarmEvent::NewListenAddr { listener_id, address } => {
                answer(self.listeners.remove(&listener_id), Ok(address));
            }
            SwarmEvent::ListenerClosed {
                listener_id, reason, ..
            } => {
                let error = anyhow!("the listener closed: {reason:?}");
                answer(self.listeners.remove(&listener_id), Err(error));
            }
            _ => {}
        }
        None
    }
}

/// Whoever has waited may have given up.
fn answer<T>(waiting: Option<oneshot::Sender<T>>, with: T) {
    if let Some(waiting) = waiting {
        let _ = waiting.send(with);
    }
}

async fn serve_one(stream: &mut Stream) -> anyhow::Result<()> {
    read_message(stream).await?;
    stream.write_all(&ACCEPT).await?;
    Ok(stream.flush().await?)
}

/// Reads one message, and nothing after it.
async fn read_message(stream: &mut Stream) -> anyhow::Result<Vec<u8>> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    let mut length = usize::from(byte[0] & 0x7f);
    if byte[0] & 0x80 != 0 {
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0]) << 7;
    }
    if length > MAX_MESSAGE {
        bail!("a message of {length} bytes");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Whose address it is.
pub(crate) fn peer_of(address: &Multiaddr) -> anyhow::Result<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(peer),
        _ => bail!("{address} names nobody"),
    }
}

type Composed = (Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour);

/// Circuits, TCP, WebSocket. No names are resolved: there are none on loopback.
fn transport(keys: &Keypair) -> anyhow::Result<Composed> {
    let (circuits, relay) = relay::client::new(keys.public().to_peer_id());
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut all = secured(circuits, keys)?;
    for further in [secured(websocket::Config::new(tcp()), keys)?, secured(tcp(), keys)?] {
        all = all.or_transport(further).map(|either, _| either.into_inner()).boxed();
    }
    Ok((all, relay))
}

fn webrtc_direct(keys: &Keypair) -> anyhow::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let certificate = libp2p_webrtc::tokio::Certificate::generate(&mut rand_for_certificates::rng())?;
    Ok(libp2p_webrtc::tokio::Transport::new(keys.clone(), certificate)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

fn secured<T>(transport: T, keys: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .boxed())
}
