//! libp2p over WebRTC for pages that have only the relay's address and the hash of its certificate.
//!
//! One unauthenticated STUN packet makes the transport hold a peer connection for ten seconds; the behaviour's bound on
//! pending incoming connections is what keeps that cheap.

use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed},
};

use crate::identity::Identity;

pub(crate) fn transport(identity: &Identity) -> Boxed<(PeerId, StreamMuxerBox)> {
    libp2p_webrtc::tokio::Transport::new(identity.keys.clone(), identity.certificate.clone())
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed()
}
