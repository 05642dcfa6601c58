//! libp2p over WebSocket on the page's port: a transport whose sockets come from [`crate::acceptor`]; another one dials other
//! relays.
//!
//! Listens on no socket of its own: the acceptor decides what is a WebSocket, this end speaks libp2p with it. It does so
//! itself, since libp2p's own end takes the masks off what clients send byte by byte, which costs a relay a seventh more
//! (<https://www.rfc-editor.org/rfc/rfc6455#section-5.3>).

mod messages;

use std::{
    collections::VecDeque,
    future::Pending,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::Version,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, tcp, websocket, yamux,
};
use rw_stream_sink::RwStreamSink;
use tokio::{net::TcpStream, sync::mpsc};

use self::messages::Messages;
use crate::{acceptor::Replayed, config, turns::Turns};

/// One accepted socket whose first request asks for a WebSocket; nothing of it has been answered.
pub(crate) struct Upgrade {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) stream: Replayed<TcpStream>,
}

/// `max_frame`: the largest frame that is read, before and after authentication. The library would allow 256 MiB to
/// anybody.
pub(crate) fn transport(
    keys: &Keypair,
    max_frame: config::Bytes,
    upgrades: Upgrades,
    turns: &Turns,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, super::TransportsError> {
    let max_frame = usize::try_from(max_frame.get()).unwrap_or(usize::MAX);
    let listens = Listens {
        upgrades,
        max_frame,
        turns: turns.clone(),
    };
    let listens = listens
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let turns = turns.clone();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut dials = websocket::Config::new(super::named(tcp.map(move |stream, _| turns.taken_by(stream)))?);
    dials.set_max_data_size(max_frame);
    let dials = dials
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(listens.or_transport(dials).map(|either, _| either.into_inner()).boxed())
}

/// The address of the transport's listener at `socket`, as given to `Swarm::listen_on`.
pub(crate) fn listen_address(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip())
        .with(Protocol::Tcp(socket.port()))
        .with(Protocol::Ws("/".into()))
}

type Stream = RwStreamSink<Messages>;

/// What the acceptor found, and where.
pub(crate) struct Upgrades {
    bound: Vec<SocketAddr>,
    incoming: mpsc::Receiver<Upgrade>,
    listeners: Vec<(ListenerId, SocketAddr)>,
    announced: VecDeque<TransportEvent<BoxFuture<'static, io::Result<Stream>>, io::Error>>,
}

impl Upgrades {
    /// `bound`: the acceptor's sockets, with the ports they really got.
    pub(crate) fn new(bound: Vec<SocketAddr>, incoming: mpsc::Receiver<Upgrade>) -> Self {
        Self {
            bound,
            incoming,
            listeners: Vec::new(),
            announced: VecDeque::new(),
        }
    }
}

/// Hands on what the acceptor found. Listens only where the acceptor does, and dials nobody.
struct Listens {
    upgrades: Upgrades,
    max_frame: usize,
    turns: Turns,
}

impl Transport for Listens {
    type Output = Stream;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Stream>>;
    type Dial = Pending<io::Result<Stream>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let this = &mut self.upgrades;
        let Some(socket) = this
            .bound
            .iter()
            .copied()
            .find(|socket| listen_address(*socket) == address)
        else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        this.listeners.push((id, socket));
        this.announced.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: address,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let this = &mut self.upgrades;
        let before = this.listeners.len();
        this.listeners.retain(|(listener, _)| *listener != id);
        if this.listeners.len() == before {
            return false;
        }
        this.announced.push_back(TransportEvent::ListenerClosed {
            listener_id: id,
            reason: Ok(()),
        });
        true
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        if let Some(event) = this.upgrades.announced.pop_front() {
            return Poll::Ready(event);
        }
        while let Poll::Ready(Some(Upgrade { local, remote, stream })) = this.upgrades.incoming.poll_recv(cx) {
            // A socket of a listener that was removed meanwhile is dropped, which closes it.
            let listeners = &this.upgrades.listeners;
            let Some((id, _)) = listeners.iter().find(|(_, socket)| accepts(*socket, local)) else {
                continue;
            };
            let accepted = Messages::accept(stream, this.max_frame, this.turns.clone());
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: *id,
                upgrade: accepted.map(|accepted| accepted.map(RwStreamSink::new)).boxed(),
                local_addr: listen_address(local),
                send_back_addr: listen_address(remote),
            });
        }
        // Pending, also when the acceptor is gone: the swarm is told by whoever ends both.
        Poll::Pending
    }
}

/// Whether a connection to `local` came in on the socket bound to `bound`.
fn accepts(bound: SocketAddr, local: SocketAddr) -> bool {
    let same_host = bound.ip() == local.ip() || (bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4());
    same_host && bound.port() == local.port()
}
