//! libp2p over TCP: Noise and Yamux.

use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, tcp, yamux,
};

use crate::turns::Turns;

pub(crate) fn transport(keys: &Keypair, turns: Turns) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, _| turns.taken_by(stream))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}
