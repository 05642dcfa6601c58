//! A page: other pages over `/webrtc`, circuits, WebSocket, WebRTC-direct.

mod websocket;

use libp2p::{PeerId, Transport as _, core::muxing::StreamMuxerBox, identity::Keypair, relay, swarm};

use super::{TransportError, Transports, secured};

/// Everything a page dials.
pub fn browser(key: &Keypair) -> Result<Transports, TransportError> {
    let local = PeerId::from(key.public());
    let (circuits, relay) = relay::client::new(local);
    let (between_pages, webrtc) = peerway_webrtc::new(local, peerway_webrtc::Config::default());
    let webrtc_direct = peerway_webrtc::direct::Transport::new(key)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));

    let transport = between_pages
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(secured(circuits, key)?)
        .map(|either, _| either.into_inner())
        .or_transport(secured(websocket::transport(), key)?)
        .map(|either, _| either.into_inner())
        .or_transport(webrtc_direct)
        .map(|either, _| either.into_inner())
        .boxed();
    Ok(Transports {
        transport,
        relay,
        webrtc: Some(webrtc),
    })
}

pub(crate) fn default(key: &Keypair) -> Result<Transports, TransportError> {
    browser(key)
}

/// A swarm's configuration whose connections run where this host runs tasks.
pub(crate) fn executor(tune: impl FnOnce(swarm::Config) -> swarm::Config) -> swarm::Config {
    tune(swarm::Config::with_wasm_executor())
}
