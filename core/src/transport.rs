//! The one right composition and order of transports, natively and in a page.
//!
//! The order matters: the first transport that accepts an address wins. A `/webrtc` transport comes before the relay's,
//! which swallows `…/p2p-circuit/webrtc/…`.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(any(test, feature = "test-utils"))]
mod memory;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub use browser::browser;
#[cfg(any(test, feature = "test-utils"))]
pub use memory::memory;
#[cfg(not(target_family = "wasm"))]
pub use native::native;

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, relay, yamux,
};

/// How long one address is tried: TCP, WebSocket and their handshakes. A refused WebSocket is reported only by this.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);

/// A transport and the behaviour that belongs to its circuits: both go into the same swarm.
pub struct Transports {
    /// Dials (and natively listens on) everything this host can.
    pub transport: Boxed<(PeerId, StreamMuxerBox)>,
    /// The client half of circuit relay v2.
    pub relay: relay::client::Behaviour,
    /// Direct connections between browsers, where this host can make them.
    pub webrtc: Option<peerway_webrtc::Behaviour>,
}

/// Why the transports could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The key cannot sign Noise's handshake.
    #[error("the identity cannot be used for Noise")]
    Noise(#[from] noise::Error),
    /// The host's resolver configuration cannot be read.
    #[error("the host's DNS configuration cannot be read")]
    Dns(#[source] std::io::Error),
}

/// Noise and Yamux over a byte stream. `V1Lazy` saves a round trip: a dialler that knows the one protocol it wants
/// sends its first data along with the proposal.
fn secured<T, S>(transport: T, key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error>
where
    T: Transport<Output = S> + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default())
        .boxed())
}

/// What this host can do: [`native`] or [`browser`].
pub(crate) use host::{default, executor};

#[cfg(target_family = "wasm")]
use browser as host;
#[cfg(not(target_family = "wasm"))]
use native as host;
