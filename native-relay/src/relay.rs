//! From a [`Config`] to a running [`Relay`], and its orderly end.

mod naming;
mod swarm;

use std::{io, net::SocketAddr, time::Duration};

use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, Swarm, TransportError, gossipsub, multiaddr::Protocol, swarm::SwarmEvent};
use libp2p_metrics::Registry;
use peerway_core::protocol::DISCOVERY_TOPIC;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Phase,
    acceptor::{self, Acceptor},
    access::{Rules, TokenFileError, control::Control},
    addresses::{self, Interface, Listening, Wanted},
    admin,
    behaviour::{Behaviour, BehaviourEvent},
    books::Books,
    boxed::Boxed,
    config::{AccessRules, Config, RelayAddress},
    event_loop::{self, EventLoop, Request, Status, mesh::Mesh},
    http::{self, Facts, Page, PageError, RelayDocument},
    identity::{self, IdentityError},
    listeners::{Endpoint, TransportsError, websocket},
    stun,
};

pub use self::naming::NameRelayError;

/// How long a listener may take to report its address. They are bound by then.
const LISTENING: Duration = Duration::from_secs(5);

/// A relay that runs in the background of the current tokio runtime, until [`Relay::shutdown`] or until it is dropped.
#[must_use = "a relay stops when it is dropped"]
pub struct Relay {
    peer_id: PeerId,
    http: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    page_hosts: Vec<SocketAddr>,
    listening: Vec<Multiaddr>,
    stun: Vec<SocketAddr>,
    addresses: Vec<Multiaddr>,
    stop: watch::Sender<Phase>,
    access: Control,
    requests: mpsc::Sender<Request>,
    tasks: Tasks,
}

/// Why a relay does not start. One line for the user each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its identity cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Who may use it cannot be told.
    #[error(transparent)]
    Access(#[from] TokenFileError),
    /// Its page cannot be read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Another programme has the port.
    #[error("port {port} ({kind}) is taken: stop what uses it, or choose another with {flag}")]
    PortTaken {
        /// The port.
        port: u16,
        /// TCP or UDP.
        kind: &'static str,
        /// What to change it with.
        flag: &'static str,
    },
    /// It cannot listen, for another reason.
    #[error("cannot listen on {address}: {source} (see {flag})")]
    Listen {
        /// Where.
        address: String,
        /// What to change it with.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing to announce, and nobody uses a relay without addresses.
    #[error("no address of this host is {scope}: name one with --external-address, or start without {flag}")]
    NoAddress {
        /// What the addresses should be.
        scope: &'static str,
        /// What asked for such addresses.
        flag: &'static str,
    },
    /// The network interfaces cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[source] io::Error),
    /// Noise cannot be set up with this identity.
    #[error("cannot set up encryption: {0}")]
    Noise(#[source] libp2p::noise::Error),
    /// The configuration of the host's resolver cannot be read.
    #[error("cannot read how names are resolved: {0}")]
    Resolver(#[source] io::Error),
}

impl From<TransportsError> for StartError {
    fn from(error: TransportsError) -> Self {
        match error {
            TransportsError::Noise(error) => Self::Noise(error),
            TransportsError::Resolver(error) => Self::Resolver(error),
        }
    }
}

impl Relay {
    /// Starts a relay: everything is bound and announced when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Two cryptography providers are in the tree; DTLS panics unless one is chosen. An error means that the
        // programme around us has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let interfaces = interfaces()?;
        let identity = identity::load_or_make(&config.data_dir)?;
        let page_dir = config.page.clone();
        let page = tokio::task::spawn_blocking(move || Page::load(page_dir.as_deref()));

        let sockets = bind_http(&addresses::http_sockets(&config, &interfaces))?;
        let http: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let admin = admin::bind(config.admin)?;
        let (acceptor, upgrades) = Acceptor::new(sockets);
        let access = Control::new(Rules::load(&config.access)?);
        let token = config.relays.token()?;
        let websockets = websocket::Upgrades::new(http.clone(), upgrades);
        let mut swarm = swarm::build(&identity, &config, &access, websockets)?;
        let (listening, early) = listen(&mut swarm, &addresses::endpoints(&config, &interfaces), &http).await?;

        let answering = bind_stun(&addresses::stun::sockets(&config, &interfaces))?;
        let stun: Vec<SocketAddr> = answering.iter().filter_map(|socket| socket.local_addr().ok()).collect();

        // Before the first client: a reservation without addresses is worth nothing, and refused.
        let external = addresses::external(&config, &listening, &interfaces);
        if external.is_empty() && !config.relays.mode.is_client() {
            return Err(no_address(&config));
        }
        for address in &external {
            swarm.add_external_address(address.clone());
        }
        let topic = gossipsub::IdentTopic::new(DISCOVERY_TOPIC);
        swarm
            .behaviour_mut()
            .gossip
            .gossip_mut()
            .subscribe(&topic)
            .expect("our own filter has the discovery topic");

        let peer_id = *swarm.local_peer_id();
        let addresses: Vec<_> = external
            .into_iter()
            .map(|address| address.with(Protocol::P2p(peer_id)))
            .collect();
        let page = page
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let (stop, phase) = watch::channel(Phase::Starting);
        let (requests, waiting) = mpsc::channel(event_loop::MAX_WAITING_REQUESTS);
        let document = RelayDocument::new(Facts {
            peer: peer_id,
            addresses: addresses.clone(),
            stun: addresses::stun::uris(&config, &stun, &interfaces),
        });
        let service = http::router(page, &document, phase.clone());
        let mut metrics = Registry::default();
        let books = Books::new(&mut metrics);
        let tally = books.stun();
        for ip in config.relays.addresses.iter().filter_map(RelayAddress::ip) {
            swarm.behaviour_mut().admission.welcome_address(ip);
        }
        let mesh = Mesh::new(&mut swarm, &config, token, &addresses, document);
        let event_loop = EventLoop::new(
            swarm,
            access.clone(),
            books,
            &config.limits,
            mesh,
            stop.clone(),
            waiting,
        );
        let sources = admin::Sources::new(peer_id, &config.limits, requests.clone(), metrics);
        let admin_addr = admin.as_ref().and_then(|admin| admin.local_addr().ok());
        let tasks = Tasks {
            event_loop: tokio::spawn(event_loop.run(early)),
            acceptor: tokio::spawn(acceptor.run(service, phase)),
            stun: tokio::spawn(stun::run(answering, tally, stop.subscribe())),
            admin: tokio::spawn(admin::run(admin, sources, stop.subscribe())),
        };
        Ok(Self {
            peer_id,
            page_hosts: addresses::page_hosts(config.exposure, &http, &interfaces),
            http,
            admin: admin_addr,
            listening: listening.into_iter().map(|one| one.bound).collect(),
            stun,
            addresses,
            stop,
            access,
            requests,
            tasks,
        })
    }

    /// Who the relay is.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Where the page and WebSocket are served, with the port that was really bound.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http[0]
    }

    /// Where metrics are served, if they are, with the port that was really bound.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Where a browser finds the page, best first.
    #[must_use]
    pub fn page_urls(&self) -> Vec<String> {
        self.page_hosts.iter().map(|host| format!("http://{host}/")).collect()
    }

    /// What the relay announces: each ends in `/p2p/` and its id.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// Where libp2p listens.
    #[must_use]
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Where STUN is answered, with the ports that were really bound.
    #[must_use]
    pub fn stun_addrs(&self) -> &[SocketAddr] {
        &self.stun
    }

    /// What the relay is doing; `None` if it has stopped.
    pub async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        self.requests.send(Request::Status(answer)).await.ok()?;
        status.await.ok()
    }

    /// From now on these rules say who may use the relay, and the tokens that their file holds now. Connections of those
    /// who are denied now are closed; nobody else is disturbed.
    ///
    /// # Errors
    /// The token file cannot be used; the rules that held before hold on.
    pub async fn replace_access(&self, rules: &AccessRules) -> Result<(), TokenFileError> {
        self.access.replace(Rules::load(rules)?);
        // An error means that it has stopped.
        let _ = self.requests.send(Request::AccessChanged).await;
        Ok(())
    }

    /// Waits until the relay ends although nobody asked it to: something in it broke.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.tasks.event_loop => {}
            _ = &mut self.tasks.acceptor => {}
            _ = &mut self.tasks.stun => {}
            _ = &mut self.tasks.admin => {}
        }
    }

    /// Accepts nothing more, closes every connection, and returns when that is done.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(Phase::Stopping);
        let Tasks {
            event_loop,
            acceptor,
            stun,
            admin,
        } = &mut self.tasks;
        for task in [acceptor, stun, admin, event_loop] {
            // One that `failed` has seen must not be asked again. An error is a panic, reported where it happened.
            if !task.is_finished() {
                let _ = task.await;
            }
        }
    }
}

/// What runs for a relay ends with it.
struct Tasks {
    event_loop: JoinHandle<()>,
    acceptor: JoinHandle<()>,
    stun: JoinHandle<()>,
    admin: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.event_loop.abort();
        self.acceptor.abort();
        self.stun.abort();
        self.admin.abort();
    }
}

fn bind_http(sockets: &[(SocketAddr, Wanted)]) -> Result<Vec<TcpListener>, StartError> {
    let mut bound = Vec::new();
    let mut last_error = None;
    for (socket, wanted) in sockets {
        match acceptor::bind(*socket) {
            Ok(listener) => bound.push(listener),
            Err(error) => {
                let fatal = *wanted == Wanted::Always || !is_missing_family(&error);
                let error = listen_error(socket.to_string(), socket.port(), "TCP", "--http", error);
                if fatal {
                    return Err(error);
                }
                tracing::warn!(%error, "skipped");
                last_error = Some(error);
            }
        }
    }
    match last_error {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn bind_stun(sockets: &[(SocketAddr, Wanted)]) -> Result<Vec<stun::Socket>, StartError> {
    let mut bound = Vec::new();
    for (address, wanted) in sockets {
        let socket = stun::Socket::bind(*address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        match socket {
            Ok((address, socket)) => {
                tracing::info!(%address, "answering STUN");
                bound.push(socket);
            }
            Err(error) => {
                let error = listen_error(address.to_string(), address.port(), "UDP", "--stun", error);
                match wanted {
                    Wanted::Always => return Err(error),
                    Wanted::IfPossible => tracing::warn!(%error, "STUN is not answered there"),
                }
            }
        }
    }
    Ok(bound)
}

/// Where it listens, and what happened meanwhile: whoever waited for this relay may be in already.
async fn listen(
    swarm: &mut Swarm<Boxed<Behaviour>>,
    endpoints: &[(Endpoint, Wanted)],
    http: &[SocketAddr],
) -> Result<(Vec<Listening>, Vec<SwarmEvent<BehaviourEvent>>), StartError> {
    let mut waiting = Vec::new();
    for (endpoint, wanted) in endpoints {
        let listened = endpoint
            .probe()
            .and_then(|()| swarm.listen_on(endpoint.multiaddr()).map_err(into_io));
        match listened {
            Ok(id) => waiting.push((id, endpoint.socket().ip())),
            Err(error) if *wanted == Wanted::IfPossible && is_missing_family(&error) => {
                tracing::warn!(%endpoint, %error, "skipped");
            }
            Err(error) => {
                let port = endpoint.socket().port();
                return Err(listen_error(
                    endpoint.to_string(),
                    port,
                    endpoint.port_kind(),
                    "--listen",
                    error,
                ));
            }
        }
    }
    for socket in http {
        let id = swarm
            .listen_on(websocket::listen_address(*socket))
            .expect("the acceptor has bound this address");
        waiting.push((id, socket.ip()));
    }

    let (mut listening, mut early) = (Vec::new(), Vec::new());
    while !waiting.is_empty() {
        let event = timeout(LISTENING, swarm.select_next_some())
            .await
            .map_err(|_| StartError::Listen {
                address: "a port that was bound".to_owned(),
                flag: "--listen",
                source: io::ErrorKind::TimedOut.into(),
            })?;
        if let SwarmEvent::NewListenAddr { listener_id, address } = &event
            && let Some(index) = waiting.iter().position(|(id, _)| id == listener_id)
        {
            let (_, requested) = waiting.swap_remove(index);
            tracing::info!(%address, "listening");
            let bound = address.clone();
            listening.push(Listening { requested, bound });
        }
        early.push(event);
    }
    Ok((listening, early))
}

fn interfaces() -> Result<Vec<Interface>, StartError> {
    let found = if_addrs::get_if_addrs().map_err(StartError::Interfaces)?;
    Ok(found
        .into_iter()
        .map(|found| Interface {
            ip: found.ip(),
            name: found.name,
        })
        .collect())
}

pub(crate) fn listen_error(
    address: String,
    port: u16,
    kind: &'static str,
    flag: &'static str,
    source: io::Error,
) -> StartError {
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortTaken { port, kind, flag }
    } else {
        StartError::Listen { address, flag, source }
    }
}

fn no_address(config: &Config) -> StartError {
    use crate::config::Exposure;
    match config.exposure {
        Exposure::Loopback => StartError::NoAddress {
            scope: "on loopback",
            flag: "--listen and --http",
        },
        Exposure::Lan => StartError::NoAddress {
            scope: "private",
            flag: "--lan",
        },
        Exposure::Public => StartError::NoAddress {
            scope: "public",
            flag: "--public",
        },
    }
}

fn into_io(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::MultiaddrNotSupported(address) => {
            io::Error::new(io::ErrorKind::Unsupported, address.to_string())
        }
        TransportError::Other(error) => error,
    }
}

/// Whether the host has no such address at all, as one without IPv6.
fn is_missing_family(error: &io::Error) -> bool {
    const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED))
}
