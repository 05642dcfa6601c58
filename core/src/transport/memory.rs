//! Connections inside one process, for tests: the memory transport and circuits over it.

use libp2p::{
    PeerId, Transport as _,
    core::{muxing::StreamMuxerBox, transport::MemoryTransport},
    identity::Keypair,
    relay,
};

use super::{TransportError, Transports, secured};

/// Memory addresses (`/memory/N`) and circuits over them.
pub fn memory(key: &Keypair) -> Result<Transports, TransportError> {
    let (circuits, relay) = relay::client::new(PeerId::from(key.public()));
    let transport = secured(circuits, key)?
        .or_transport(secured(MemoryTransport::default(), key)?)
        .map(|either, _| either.into_inner())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    Ok(Transports {
        transport,
        relay,
        webrtc: None,
    })
}
