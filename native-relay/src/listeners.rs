//! Where libp2p listens: one module per transport, each from its part of the configuration to a listening transport.
//!
//! TCP, QUIC and WebRTC-direct have ports of their own; WebSocket shares the page's, behind [`crate::acceptor`].

pub(crate) mod quic;
pub(crate) mod tcp;
pub(crate) mod webrtc_direct;
pub(crate) mod websocket;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dns,
    multiaddr::Protocol,
    noise, relay, yamux,
};

use crate::{config::Limits, identity::Identity, turns::Turns};

/// A place to listen with a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// libp2p over TCP.
    Tcp(SocketAddr),
    /// libp2p over QUIC.
    Quic(SocketAddr),
    /// libp2p over WebRTC, for pages.
    WebRtcDirect(SocketAddr),
}

/// Why a multiaddr is not an [`Endpoint`].
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is no multiaddr at all.
    #[error("not a multiaddr: {0}")]
    Malformed(#[from] libp2p::multiaddr::Error),
    /// WebSocket has no port of its own here.
    #[error("WebSocket is served where the page is: use --http")]
    WebSocket,
    /// It is an address of something that this relay does not listen for.
    #[error("expected /ip4|ip6/ADDR followed by /tcp/PORT, /udp/PORT/quic-v1 or /udp/PORT/webrtc-direct")]
    Unsupported,
}

impl Endpoint {
    /// Address and port.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        match self {
            Self::Tcp(socket) | Self::Quic(socket) | Self::WebRtcDirect(socket) => *socket,
        }
    }

    /// What to call its kind of port in front of a user.
    pub(crate) fn port_kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP",
            Self::Quic(_) | Self::WebRtcDirect(_) => "UDP",
        }
    }

    /// The same as a multiaddr.
    #[must_use]
    pub fn multiaddr(&self) -> Multiaddr {
        let host = Multiaddr::from(self.socket().ip());
        let port = self.socket().port();
        match self {
            Self::Tcp(_) => host.with(Protocol::Tcp(port)),
            Self::Quic(_) => host.with(Protocol::Udp(port)).with(Protocol::QuicV1),
            Self::WebRtcDirect(_) => host.with(Protocol::Udp(port)).with(Protocol::WebRTCDirect),
        }
    }

    /// Takes the port for a moment, to learn whether it can be had.
    ///
    /// libp2p's TCP sockets share their port with any other that is willing to, so a second relay on the same host would
    /// start without an error and get half of the connections.
    pub(crate) fn probe(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => tcp_socket(*socket).and_then(|probe| probe.listen(1)),
            Self::Quic(socket) => probe_udp_of_one_family(*socket),
            // Its socket takes both families.
            Self::WebRtcDirect(socket) => std::net::UdpSocket::bind(socket).map(drop),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.multiaddr().fmt(f)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let address: Multiaddr = text.parse()?;
        let parts: Vec<_> = address.iter().collect();
        let (ip, transport) = match parts.split_first() {
            Some((Protocol::Ip4(ip), rest)) => (IpAddr::from(*ip), rest),
            Some((Protocol::Ip6(ip), rest)) => (IpAddr::from(*ip), rest),
            _ => return Err(EndpointError::Unsupported),
        };
        match transport {
            [Protocol::Tcp(port)] => Ok(Self::Tcp((ip, *port).into())),
            [Protocol::Udp(port), Protocol::QuicV1] => Ok(Self::Quic((ip, *port).into())),
            [Protocol::Udp(port), Protocol::WebRTCDirect] => Ok(Self::WebRtcDirect((ip, *port).into())),
            [Protocol::Tcp(_), .., Protocol::Ws(_) | Protocol::Wss(_)] => Err(EndpointError::WebSocket),
            _ => Err(EndpointError::Unsupported),
        }
    }
}

/// Why there are no transports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportsError {
    /// The key cannot sign Noise's handshake.
    #[error(transparent)]
    Noise(#[from] libp2p::noise::Error),
    /// The configuration of the host's resolver vanished while it was read.
    #[error(transparent)]
    Resolver(#[from] io::Error),
}

/// All transports of a relay, to listen and to dial other relays, and for circuits through them if it is their client. Each
/// takes only addresses of its own kind, but for the last one: it takes every address with a name, and looks at the rest of
/// it when the name is resolved. Needs a runtime around it.
pub(crate) fn transport(
    identity: &Identity,
    limits: &Limits,
    websockets: websocket::Upgrades,
    circuits: Option<relay::client::Transport>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportsError> {
    let turns = Turns::new();
    let websocket = websocket::transport(&identity.keys, limits.websocket_frame, websockets, &turns)?;
    let tcp_or_quic = tcp::transport(&identity.keys, turns)?
        .or_transport(quic::transport(&identity.keys))
        .map(|either, _| either.into_inner());
    let direct = websocket
        .or_transport(webrtc_direct::transport(identity))
        .map(|either, _| either.into_inner())
        .or_transport(named(tcp_or_quic)?)
        .map(|either, _| either.into_inner());
    Ok(match circuits {
        Some(circuits) => circuits
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&identity.keys)?)
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .or_transport(direct)
            .map(|either, _| either.into_inner())
            .boxed(),
        None => direct.boxed(),
    })
}

/// The same transport for addresses with a name. On a host without a resolver's configuration no name is resolved; that
/// concerns nobody unless another relay is named by one.
fn named<T>(transport: T) -> io::Result<dns::tokio::Transport<T>> {
    if let Err(error) = dns::tokio::Transport::system(()) {
        tracing::debug!(%error, "names are not resolved");
        let (nobody, options) = (dns::ResolverConfig::default(), dns::ResolverOpts::default());
        return Ok(dns::tokio::Transport::custom(transport, nobody, options));
    }
    dns::tokio::Transport::system(transport)
}

/// QUIC's IPv6 sockets take IPv6 only: asked for otherwise, the port would be taken by our own IPv4 socket.
fn probe_udp_of_one_family(address: SocketAddr) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Binds without listening. IPv6 sockets take IPv6 only, so that each family can have the same port.
pub(crate) fn tcp_socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port whose last connections are still winding down can be listened on again at once. (On Windows the same
    // option would let two programmes share it.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
