//! `/webrtc-direct`, the browser's side: dials a server whose certificate's hash is in its address.
//!
//! No signalling: both sides derive the other's session description from the address. The server proves its identity by
//! a Noise handshake on the first channel, bound to both certificates. Never listens; a browser cannot.
//! Source: <https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md> (version 1 of the handshake, the one
//! that rust-libp2p and js-libp2p serve).

mod offer;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{Either, select},
};
use futures_timer::Delay;
use libp2p_core::{
    Multiaddr,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_utils::{Fingerprint, noise, parse_webrtc_dial_addr, sdp};
use send_wrapper::SendWrapper;

use crate::{
    Connection,
    connection::link::{Link, LinkEvent},
    rtc::{ConnectionState, Description, RtcError},
    stream::Acks,
};

/// The channel that both sides know of beforehand.
const HANDSHAKE_CHANNEL: u16 = 0;

/// How long a dial may take; a browser by itself gives up after half a minute.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The browser refused a step. Another transport may work.
    #[error(transparent)]
    Rtc(#[from] RtcError),
    /// The browser's description of the session has no certificate that the protocol can use.
    #[error("the browser's session description names no SHA-256 certificate")]
    NoFingerprint,
    /// Nothing answers at the address over UDP, or not with the certificate that the address names.
    #[error("nothing answers over WebRTC-direct at that address, or with another certificate")]
    Unreachable,
    /// The server did not answer in time.
    #[error("the server did not answer within {} s", DIAL_TIMEOUT.as_secs())]
    TimedOut,
    /// The server did not prove its identity.
    #[error("the server could not prove its identity")]
    Handshake(#[from] noise::Error),
}

/// Dials `/webrtc-direct` addresses. Give it to a swarm together with others; it takes only addresses of this kind.
pub struct Transport {
    key: Keypair,
}

impl Transport {
    /// A transport that proves `key` to the servers it dials.
    #[must_use]
    pub fn new(key: &Keypair) -> Self {
        Self { key: key.clone() }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = futures::future::Pending<Result<Self::Output, Error>>;
    type Dial = Pin<Box<dyn Future<Output = Result<Self::Output, Error>> + Send>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let server = parse_webrtc_dial_addr(&address)
            .filter(|(server, _)| server.port() != 0 && !server.ip().is_unspecified() && !options.role.is_listener());
        let Some((server, fingerprint)) = server else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let dial = dial(server, fingerprint, self.key.clone());
        Ok(SendWrapper::new(dial).boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Poll::Pending
    }
}

async fn dial(server: SocketAddr, theirs: Fingerprint, key: Keypair) -> Result<(PeerId, Connection), Error> {
    // rust-libp2p's server ends a stream that carries an acknowledgement; one that knows them will send one.
    let link = Link::new(&[], Acks::Unknown)?;
    let peer = {
        let attempt = pin!(handshake(&link, server, theirs, key));
        let failure = pin!(failure(&link));
        match select(attempt, failure).await {
            Either::Left((peer, _)) => peer?,
            Either::Right((error, _)) => return Err(error),
        }
    };
    Ok((peer, Connection::new(link)))
}

async fn handshake(link: &Link, server: SocketAddr, theirs: Fingerprint, key: Keypair) -> Result<PeerId, Error> {
    // Before the offer: without a channel there is nothing to offer.
    let stream = link.open_negotiated(HANDSHAKE_CHANNEL)?;
    let ufrag = sdp::random_ufrag();
    let munged = offer::with_credentials(&link.rtc().create_offer().await?, &ufrag);
    link.rtc().set_local_description(Description::Offer, &munged).await?;
    let answer = sdp::answer(server, theirs, &ufrag);
    link.rtc().set_remote_description(Description::Answer, &answer).await?;
    let ours = link.rtc().local_description().as_deref().and_then(offer::fingerprint);
    let ours = ours.ok_or(Error::NoFingerprint)?;
    Ok(noise::outbound(key, stream, theirs, ours).await?)
}

/// Resolves when the dial cannot succeed any more.
async fn failure(link: &Link) -> Error {
    let mut patience = Delay::new(DIAL_TIMEOUT);
    poll_fn(|cx| {
        while let Poll::Ready(event) = link.poll_event(cx) {
            match event {
                LinkEvent::State(ConnectionState::Failed | ConnectionState::Closed) => {
                    return Poll::Ready(Error::Unreachable);
                }
                LinkEvent::State(ConnectionState::Pending | ConnectionState::Connected)
                | LinkEvent::Candidate(_)
                | LinkEvent::EndOfCandidates => {}
            }
        }
        patience.poll_unpin(cx).map(|()| Error::TimedOut)
    })
    .await
}
