//! `/webrtc` as a transport: hands dials to the behaviour, and what the behaviour accepts to the swarm.
//!
//! Decides which addresses are its own. Everything that needs a circuit, and so other peers' connections, is for
//! [`Behaviour`](crate::Behaviour); the two are joined by bounded channels.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p_core::{
    Multiaddr,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use libp2p_identity::PeerId;

use crate::{
    Connection,
    behaviour::Error,
    multiaddr::{self, SplitError, Target},
};

/// Dials and inbound connections that wait for the other half. Beyond, a dial fails with [`Error::Busy`], and an inbound
/// connection is closed.
const QUEUE: usize = 16;

/// Dials `<relay>/p2p-circuit/webrtc/p2p/<peer>`, and reports connections that others dialled. Listens on nothing: whoever
/// reaches us by a circuit can ask for a direct connection.
pub struct Transport {
    dials: mpsc::Sender<Dial>,
    inbound: mpsc::Receiver<Inbound>,
    listener: ListenerId,
}

/// A dial for the behaviour.
pub(crate) struct Dial {
    pub(crate) target: Target,
    /// Cancelled when the swarm gave the dial up.
    pub(crate) reply: oneshot::Sender<Result<Connection, Error>>,
}

/// A connection that another peer dialled.
pub(crate) struct Inbound {
    pub(crate) peer: PeerId,
    pub(crate) connection: Connection,
    /// What the swarm is told that the peer's address is.
    pub(crate) address: Multiaddr,
}

impl Inbound {
    pub(crate) fn new(peer: PeerId, connection: Connection, address: Multiaddr) -> Self {
        Self {
            peer,
            connection,
            address,
        }
    }
}

/// The behaviour's ends of the channels.
pub(crate) struct Ends {
    pub(crate) dials: mpsc::Receiver<Dial>,
    pub(crate) inbound: mpsc::Sender<Inbound>,
}

impl Transport {
    pub(crate) fn new() -> (Self, Ends) {
        let (dials, dial_receiver) = mpsc::channel(QUEUE);
        let (inbound_sender, inbound) = mpsc::channel(QUEUE);
        let transport = Self {
            dials,
            inbound,
            listener: ListenerId::next(),
        };
        let ends = Ends {
            dials: dial_receiver,
            inbound: inbound_sender,
        };
        (transport, ends)
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
    type ListenerUpgrade = Ready<Result<Self::Output, Error>>;
    type Dial = Pin<Box<dyn Future<Output = Result<Self::Output, Error>> + Send>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let target = match multiaddr::split(&address) {
            // Who takes the other side's part in a hole punch has nothing to dial here.
            Ok(target) if options.role.is_dialer() => target,
            Ok(_) | Err(SplitError::NotWebRtc) => return Err(TransportError::MultiaddrNotSupported(address)),
            Err(error) => return Err(TransportError::Other(error.into())),
        };
        let peer = target.peer;
        let (reply, outcome) = oneshot::channel();
        self.dials
            .try_send(Dial { target, reply })
            .map_err(|refused| TransportError::Other(if refused.is_full() { Error::Busy } else { Error::Stopped }))?;
        let dial = async move {
            let connection = outcome.await.map_err(|_| Error::Stopped)??;
            Ok((peer, connection))
        };
        Ok(dial.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        match self.inbound.poll_next_unpin(cx) {
            Poll::Ready(Some(Inbound {
                peer,
                connection,
                address,
            })) => Poll::Ready(TransportEvent::Incoming {
                listener_id: self.listener,
                upgrade: ready(Ok((peer, connection))),
                local_addr: multiaddr::inbound_local(),
                send_back_addr: address,
            }),
            // Without its behaviour nothing comes any more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
