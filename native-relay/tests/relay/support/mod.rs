//! What the relay's tests share: a relay in this process, native peers, a very small HTTP client.

pub(crate) mod promql;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    gossipsub, identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping, quic, relay,
    request_response::ProtocolSupport,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, websocket, yamux,
};
use native_relay::{Config, Relay};
use peerway_core::{
    announcement::Announcement,
    behaviours::{AccessTokens, Snapshots, access_tokens, message_id, snapshots},
    protocol::DISCOVERY_TOPIC,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long anything may take here; on a busy machine nothing takes half of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A try of [`try_anew`]: less than libp2p's WebRTC-direct client takes until it gives up.
const TRY: Duration = Duration::from_secs(9);
const TRIES: usize = 3;

/// What comes of a connection, made from scratch up to three times: libp2p's native WebRTC-direct (0.10) now and then waits
/// for a data channel that never opens, and who listens takes nothing more from the port that it was dialled from. Whoever
/// comes from another port gets through.
pub(crate) async fn try_anew<T>(connects: impl AsyncFn() -> T) -> T {
    for _ in 1..TRIES {
        if let Ok(done) = timeout(TRY, connects()).await {
            return done;
        }
    }
    connects().await
}

/// A relay on loopback with its files in a directory of its own.
pub(crate) struct TestRelay {
    pub(crate) relay: Relay,
    pub(crate) dir: tempfile::TempDir,
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let relay = Relay::start(change(Config::ephemeral(dir.path().to_owned())))
            .await
            .unwrap();
        Self { relay, dir }
    }

    /// The relay's address whose transport is `part`: `ws`, `tcp`, `quic-v1` or `webrtc-direct`.
    pub(crate) fn address(&self, part: &str) -> Multiaddr {
        let matching = |address: &&Multiaddr| {
            let ends = address
                .iter()
                .filter(|part| !matches!(part, Protocol::P2p(_) | Protocol::Certhash(_)))
                .last();
            ends.is_some_and(|end| end.tag() == part)
        };
        self.relay
            .addresses()
            .iter()
            .find(matching)
            .unwrap_or_else(|| panic!("no {part} address"))
            .clone()
    }
}

/// An address at which connections are refused while this lives. A relay that was shut down is no such address for long: its
/// port is free, and a test beside this one may be given it.
pub(crate) struct Refuses {
    /// Bound, and does not listen.
    socket: TcpSocket,
}

impl Refuses {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { socket }
    }

    /// Where somebody with this id would be, over TCP.
    pub(crate) fn address(&self, peer: PeerId) -> Multiaddr {
        let bound = self.socket.local_addr().unwrap();
        Multiaddr::from(bound.ip())
            .with(Protocol::Tcp(bound.port()))
            .with(Protocol::P2p(peer))
    }
}

#[derive(NetworkBehaviour)]
pub(crate) struct PeerBehaviour {
    relay: relay::client::Behaviour,
    pub(crate) tokens: AccessTokens,
    pub(crate) snapshots: Snapshots,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
}

/// Everything that the relay listens for, and circuits.
pub(crate) fn transport(keys: &Keypair) -> (Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour) {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let noise = || noise::Config::new(keys).unwrap();
    let (circuits, relay) = relay::client::new(keys.public().to_peer_id());
    let circuits = circuits
        .upgrade(Version::V1)
        .authenticate(noise())
        .multiplex(yamux::Config::default())
        .boxed();
    let websocket = websocket::Config::new(tcp());
    let websocket = websocket
        .upgrade(Version::V1)
        .authenticate(noise())
        .multiplex(yamux::Config::default())
        .boxed();
    let tcp = tcp()
        .upgrade(Version::V1)
        .authenticate(noise())
        .multiplex(yamux::Config::default())
        .boxed();
    let quic = quic::tokio::Transport::new(quic::Config::new(keys));
    let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed();
    let certificate = libp2p_webrtc::tokio::Certificate::generate(&mut rand_for_certificates::rng()).unwrap();
    let webrtc = libp2p_webrtc::tokio::Transport::new(keys.clone(), certificate);
    let webrtc = webrtc
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let all = [websocket, tcp, quic, webrtc].into_iter().fold(circuits, |all, next| {
        all.or_transport(next).map(|either, _| either.into_inner()).boxed()
    });
    (all, relay)
}

/// A native peer with stock settings, as somebody else's programme would have them.
pub(crate) struct Peer {
    pub(crate) swarm: Swarm<PeerBehaviour>,
    pub(crate) keys: Keypair,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self::with_gossip(|config| config)
    }

    pub(crate) fn with_gossip(
        change: impl FnOnce(&mut gossipsub::ConfigBuilder) -> &mut gossipsub::ConfigBuilder,
    ) -> Self {
        Self::with(Keypair::generate_ed25519(), change)
    }

    /// One that is the same as another.
    pub(crate) fn with_keys(keys: Keypair) -> Self {
        Self::with(keys, |config| config)
    }

    fn with(
        keys: Keypair,
        change: impl FnOnce(&mut gossipsub::ConfigBuilder) -> &mut gossipsub::ConfigBuilder,
    ) -> Self {
        let (transport, relay) = transport(&keys);
        let mut config = gossipsub::ConfigBuilder::default();
        config
            .message_id_fn(message_id)
            .heartbeat_initial_delay(Duration::from_millis(100));
        let config = change(&mut config).build().unwrap();
        let behaviour = PeerBehaviour {
            relay,
            tokens: access_tokens(ProtocolSupport::Outbound),
            snapshots: snapshots(ProtocolSupport::Outbound),
            identify: identify::Behaviour::new(identify::Config::new("test/1".to_owned(), keys.public())),
            ping: ping::Behaviour::default(),
            gossip: gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(keys.clone()), config).unwrap(),
        };
        let Ok(builder) = SwarmBuilder::with_existing_identity(keys.clone())
            .with_tokio()
            .with_other_transport(|_| transport);
        let Ok(builder) = builder.with_behaviour(|_| behaviour);
        let swarm = builder
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 4))
            .build();
        Self { swarm, keys }
    }

    pub(crate) fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Runs until `wanted` makes something of an event.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(SwarmEvent<PeerBehaviourEvent>) -> Option<T>,
    ) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("timed out waiting until {what}"))
    }

    /// Takes a slot on the relay; returns the relayed addresses that this gives.
    pub(crate) async fn reserve(&mut self, relay: &Multiaddr) -> Multiaddr {
        self.swarm.listen_on(relay.clone().with(Protocol::P2pCircuit)).unwrap();
        let mut accepted = false;
        let mut address = None;
        self.until("the relay accepts a reservation", |event| {
            match event {
                SwarmEvent::Behaviour(PeerBehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted {
                    ..
                })) => accepted = true,
                SwarmEvent::NewListenAddr { address: new, .. } => address = address.take().or(Some(new)),
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("cannot reach the relay: {error:?}"),
                SwarmEvent::ListenerClosed { reason, .. } => panic!("no reservation: {reason:?}"),
                _ => {}
            }
            if accepted { address.clone() } else { None }
        })
        .await
    }

    /// Connects to the relay and waits until both know each other's topics.
    pub(crate) async fn join(&mut self, relay: &Multiaddr, topics: &[&str]) {
        for topic in topics {
            self.swarm
                .behaviour_mut()
                .gossip
                .subscribe(&gossipsub::IdentTopic::new(*topic))
                .unwrap();
        }
        self.swarm.dial(relay.clone()).unwrap();
        self.until("the relay says hello", |event| match event {
            SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) => {
                (topic.as_str() == DISCOVERY_TOPIC).then_some(())
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("cannot reach the relay: {error}"),
            _ => None,
        })
        .await;
    }

    pub(crate) fn publish(
        &mut self,
        topic: &str,
        data: Vec<u8>,
    ) -> Result<gossipsub::MessageId, gossipsub::PublishError> {
        self.swarm
            .behaviour_mut()
            .gossip
            .publish(gossipsub::IdentTopic::new(topic), data)
    }

    /// A good announcement of this peer, through a made-up relay.
    pub(crate) fn announcement(&self) -> Vec<u8> {
        let address = format!(
            "/ip4/203.0.113.7/tcp/8080/ws/p2p/{}/p2p-circuit/p2p/{}",
            PeerId::random(),
            self.id()
        );
        Announcement::new(self.id(), [address.parse().unwrap()], None).encode()
    }

    /// The next gossip message: who signed it, and what it says.
    pub(crate) async fn hear(&mut self) -> (PeerId, Vec<u8>) {
        self.until("a message comes", heard).await
    }

    /// Runs for a while and collects what is heard.
    pub(crate) async fn listen_for(&mut self, duration: Duration) -> Vec<(PeerId, Vec<u8>)> {
        let mut all = Vec::new();
        let listen = async {
            loop {
                all.extend(heard(self.swarm.select_next_some().await));
            }
        };
        let _ = timeout(duration, listen).await;
        all
    }
}

pub(crate) fn heard(event: SwarmEvent<PeerBehaviourEvent>) -> Option<(PeerId, Vec<u8>)> {
    match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
            Some((message.source?, message.data))
        }
        _ => None,
    }
}

/// Waits until `check` gives something.
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `GET path` with more headers, each ending in `\r\n`.
pub(crate) async fn get(server: SocketAddr, path: &str, headers: &str) -> Answer {
    request(
        server,
        &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"),
    )
    .await
}

/// Asks at the address for those who run the relay.
pub(crate) async fn admin(relay: &TestRelay, path: &str) -> Answer {
    let server = relay.relay.admin_addr().expect("metrics are served");
    admin_as("127.0.0.1", server, path).await
}

/// The same, calling it `host`.
pub(crate) async fn admin_as(host: &str, server: SocketAddr, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    request(server, &head).await
}

/// Sends bytes and reads the answer to the end of the connection.
pub(crate) async fn request(server: SocketAddr, head: &str) -> Answer {
    let bytes = exchange(server, head.as_bytes()).await;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an answer has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer {
        status,
        headers: headers.collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

/// Sends bytes and returns everything that comes back until the other side closes.
pub(crate) async fn exchange(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    // It may be closed already, which its answer shows.
    let _ = stream.write_all(bytes).await;
    let mut all = Vec::new();
    // A reset is as good an end as any other.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("the relay closes the connection");
    all
}

/// A WebSocket on the page's port, its handshake done, nobody authenticated.
pub(crate) async fn websocket(relay: &TestRelay) -> TcpStream {
    let mut stream = TcpStream::connect(relay.relay.http_addr()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // RFC 6455, 1.3: what that key must be answered with.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    stream
}

/// Reads to the end of the connection, however it ends.
pub(crate) async fn until_closed(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// The socket of an address that is TCP and nothing else.
pub(crate) fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    match address.iter().collect::<Vec<_>>()[..] {
        [Protocol::Ip4(ip), Protocol::Tcp(port)] => Some((ip, port).into()),
        _ => None,
    }
}
