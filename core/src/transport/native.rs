//! A native node: circuits, QUIC, TCP, WebSocket (plain and TLS), with DNS.

use libp2p::{
    PeerId, Transport as _, core::muxing::StreamMuxerBox, dns, identity::Keypair, quic, relay, swarm, tcp, websocket,
};

use super::{TransportError, Transports, secured};

/// Everything a native peer dials. Must be called within a tokio runtime.
pub fn native(key: &Keypair) -> Result<Transports, TransportError> {
    let (circuits, relay) = relay::client::new(PeerId::from(key.public()));
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let websocket = websocket::Config::new(dns::tokio::Transport::system(tcp()).map_err(TransportError::Dns)?);
    let quic =
        quic::tokio::Transport::new(quic::Config::new(key)).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    // One resolver around both: around TCP alone it takes every address, and fails for QUIC's when it is too late.
    let tcp_or_quic = secured(tcp(), key)?
        .or_transport(quic)
        .map(|either, _| either.into_inner());
    let named = dns::tokio::Transport::system(tcp_or_quic).map_err(TransportError::Dns)?;

    let transport = secured(circuits, key)?
        .or_transport(secured(websocket, key)?)
        .map(|either, _| either.into_inner())
        .or_transport(named)
        .map(|either, _| either.into_inner())
        .boxed();
    Ok(Transports {
        transport,
        relay,
        webrtc: None,
    })
}

pub(crate) fn default(key: &Keypair) -> Result<Transports, TransportError> {
    native(key)
}

/// A swarm's configuration whose connections run where this host runs tasks.
pub(crate) fn executor(tune: impl FnOnce(swarm::Config) -> swarm::Config) -> swarm::Config {
    tune(swarm::Config::with_tokio_executor())
}
