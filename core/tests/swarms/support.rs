//! A relay, a stock peer, and a peer made of layer 2, each a swarm that is driven in the background.

use std::time::Duration;

use futures::{Stream, StreamExt, channel::mpsc, select};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub, identify,
    identity::Keypair,
    multiaddr::Protocol,
    ping, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use peerway_core::{
    announcement::schedule::ScheduleConfig,
    behaviours::{
        Discovery, DiscoveryConfig, DiscoveryEvent, GossipFilter, GossipGate, OlderConnections, Reservations, Streams,
        gossip,
    },
    protocol,
    reservation::{RelaySpec, ReservationConfig},
    transport,
};
use tokio::time::timeout;

/// The longest that anything here may take; nothing needs a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a relay is made of: circuits, and gossip that it passes on.
#[derive(NetworkBehaviour)]
pub(crate) struct RelayServer {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: GossipGate<GossipFilter>,
}

/// What somebody's own swarm may be made of.
#[derive(NetworkBehaviour)]
pub(crate) struct Own {
    pub(crate) reservations: Reservations,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: Streams,
    pub(crate) discovery: Discovery,
}

/// A peer that knows nothing of us: stock gossip, the stock relay client.
#[derive(NetworkBehaviour)]
pub(crate) struct Stock {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
}

/// A peer that does not even speak ping.
#[derive(NetworkBehaviour)]
pub(crate) struct Pingless {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
}

/// A swarm that runs in a task: what it reports comes out here, and what shall be done to it goes in.
pub(crate) struct Running<B: NetworkBehaviour> {
    pub(crate) id: PeerId,
    work: mpsc::Sender<Work<B>>,
    events: mpsc::Receiver<SwarmEvent<B::ToSwarm>>,
    task: tokio::task::JoinHandle<()>,
}

type Work<B> = Box<dyn FnOnce(&mut Swarm<B>) + Send>;

impl<B> Running<B>
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    /// `on_event` does what the owner of such a swarm has to do at once.
    fn start(mut swarm: Swarm<B>, on_event: fn(&mut Swarm<B>, &SwarmEvent<B::ToSwarm>)) -> Self {
        let id = *swarm.local_peer_id();
        let (work, mut works) = mpsc::channel::<Work<B>>(16);
        let (mut reports, events) = mpsc::channel(4096);
        let task = tokio::spawn(async move {
            loop {
                select! {
                    event = swarm.select_next_some() => {
                        on_event(&mut swarm, &event);
                        reports.try_send(event).expect("a test reads what it asks for, and is over soon");
                    }
                    work = works.next() => match work {
                        Some(work) => work(&mut swarm),
                        None => return,
                    },
                }
            }
        });
        Self { id, work, events, task }
    }

    /// Does this to the swarm.
    pub(crate) async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Swarm<B>) -> T + Send + 'static,
    ) -> T {
        let (reply, result) = futures::channel::oneshot::channel();
        let work: Work<B> = Box::new(move |swarm| {
            let _ = reply.send(work(swarm));
        });
        self.work.try_send(work).unwrap();
        timeout(PATIENCE, result).await.unwrap().unwrap()
    }

    /// The first event that `wanted` makes something of.
    pub(crate) async fn until<T>(&mut self, what: &str, wanted: impl FnMut(SwarmEvent<B::ToSwarm>) -> Option<T>) -> T {
        first(&mut self.events, what, wanted).await
    }

    /// The swarm is gone, and its connections with it.
    async fn stop(self) {
        self.task.abort();
        // Aborted: that is no failure.
        let _ = self.task.await;
    }
}

impl Running<Own> {
    /// Can be connected to directly from now on, at this address.
    pub(crate) async fn listen(&mut self) -> Multiaddr {
        let memory = Multiaddr::empty().with(Protocol::Memory(0));
        let listener = self.with(|swarm| swarm.listen_on(memory)).await.unwrap();
        self.until("listens", |event| match event {
            SwarmEvent::NewListenAddr { listener_id, address } => (listener_id == listener).then_some(address),
            _ => None,
        })
        .await
    }
}

/// What `found` finds, asked again and again until it finds something.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// The first event that `wanted` makes something of.
pub(crate) async fn first<E, T>(
    events: &mut (impl Stream<Item = E> + Unpin),
    what: &str,
    mut wanted: impl FnMut(E) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let event = events.next().await.expect("it runs");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// A relay at a memory address.
pub(crate) struct Relay {
    pub(crate) running: Running<RelayServer>,
    pub(crate) key: Keypair,
    pub(crate) address: Multiaddr,
    listener: ListenerId,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::start_as(
            Keypair::generate_ed25519(),
            Multiaddr::empty().with(Protocol::Memory(0)),
        )
        .await
    }

    /// With this identity, at this address.
    pub(crate) async fn start_as(key: Keypair, address: Multiaddr) -> Self {
        let mut swarm = swarm_of(&key, |_| RelayServer {
            relay: relay::Behaviour::new(PeerId::from(key.public()), relay::Config::default()),
            identify: identify_as(&key),
            ping: ping::Behaviour::default(),
            gossip: relay_gossip(&key),
        });
        let listener = swarm.listen_on(address).unwrap();
        let address = timeout(PATIENCE, async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        })
        .await
        .unwrap();
        swarm.add_external_address(Self::announced());
        let running = Running::start(swarm, |swarm, event| {
            if let SwarmEvent::Behaviour(RelayServerEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                ..
            })) = event
            {
                swarm
                    .behaviour_mut()
                    .gossip
                    .gossip_mut()
                    .report_message_validation_result(
                        message_id,
                        propagation_source,
                        gossipsub::MessageAcceptance::Accept,
                    );
            }
        });
        Self {
            running,
            key,
            address,
            listener,
        }
    }

    /// It is gone, its connections with it, and its address is free.
    pub(crate) async fn stop(mut self) {
        let listener = self.listener;
        // A memory address outlives a listener that is merely dropped.
        assert!(self.running.with(move |swarm| swarm.remove_listener(listener)).await);
        self.running.stop().await;
    }

    /// Where it says it is. Announcements carry no memory addresses; whoever holds the relay goes by its id alone.
    pub(crate) fn announced() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
    }

    /// Where `peer` is reached through it.
    pub(crate) fn circuit_to(&self, peer: PeerId) -> Multiaddr {
        let relay = self.address.clone().with(Protocol::P2p(self.running.id));
        relay.with(Protocol::P2pCircuit).with(Protocol::P2p(peer))
    }

    pub(crate) fn spec(&self) -> RelaySpec {
        RelaySpec {
            peer: Some(self.running.id),
            addrs: vec![self.address.clone()],
        }
    }

    /// Pass this topic on, too.
    pub(crate) async fn follow(&mut self, topic: gossipsub::IdentTopic) {
        self.running
            .with(move |swarm| swarm.behaviour_mut().gossip.gossip_mut().subscribe(&topic))
            .await
            .unwrap();
    }
}

fn relay_gossip(key: &Keypair) -> GossipGate<GossipFilter> {
    let mut gossip = gossip(key).unwrap();
    gossip
        .subscribe(&gossipsub::IdentTopic::new(protocol::DISCOVERY_TOPIC))
        .unwrap();
    GossipGate::new(gossip, OlderConnections::Close)
}

/// A peer of layer 2, which keeps a slot on `relay` and announces itself.
pub(crate) fn own(relay: &Relay) -> Running<Own> {
    let mut running = own_with(Keypair::generate_ed25519());
    let spec = relay.spec();
    running
        .work
        .try_send(Box::new(move |swarm| {
            swarm.behaviour_mut().reservations.add_relay(spec).unwrap();
        }))
        .unwrap();
    running
}

/// A peer of layer 2 without a relay.
pub(crate) fn own_with(key: Keypair) -> Running<Own> {
    let local = PeerId::from(key.public());
    let swarm = swarm_of(&key, |client| {
        let mut config = DiscoveryConfig::default();
        // Nothing here may happen only because it is regularly said again.
        config.schedule = ScheduleConfig {
            min_interval: Duration::from_secs(3600),
            max_interval: Duration::from_secs(3600),
            ..ScheduleConfig::default()
        };
        let gate = GossipGate::new(gossip(&key).unwrap(), OlderConnections::Keep);
        Own {
            reservations: Reservations::new(client, ReservationConfig::default(), 1),
            identify: identify_as(&key),
            ping: ping::Behaviour::default(),
            streams: Streams::new(),
            discovery: Discovery::new(local, gate, config, 2).unwrap(),
        }
    });
    Running::start(swarm, |swarm, event| {
        let reservations = &mut swarm.behaviour_mut().reservations;
        match event {
            SwarmEvent::Behaviour(OwnEvent::Discovery(DiscoveryEvent::Gossip(gossipsub::Event::Subscribed {
                peer_id,
                ..
            }))) => reservations.handle_gossip(*peer_id),
            SwarmEvent::Behaviour(OwnEvent::Ping(ping::Event {
                connection,
                result: Ok(_),
                ..
            })) => reservations.handle_alive(*connection),
            _ => {}
        }
    })
}

pub(crate) fn stock() -> Running<Stock> {
    let key = Keypair::generate_ed25519();
    let swarm = swarm_of(&key, |client| {
        let config = gossipsub::ConfigBuilder::default()
            .heartbeat_initial_delay(Duration::from_millis(100))
            .build()
            .unwrap();
        let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
        let mut gossip = gossipsub::Behaviour::new(signed, config).unwrap();
        gossip
            .subscribe(&gossipsub::IdentTopic::new(protocol::DISCOVERY_TOPIC))
            .unwrap();
        Stock {
            relay: client,
            identify: identify_as(&key),
            ping: ping::Behaviour::default(),
            gossip,
        }
    });
    Running::start(swarm, |_, _| {})
}

pub(crate) fn pingless() -> Running<Pingless> {
    let key = Keypair::generate_ed25519();
    let swarm = swarm_of(&key, |client| Pingless {
        relay: client,
        identify: identify_as(&key),
    });
    Running::start(swarm, |_, _| {})
}

fn swarm_of<B: NetworkBehaviour>(key: &Keypair, behaviour: impl FnOnce(relay::client::Behaviour) -> B) -> Swarm<B> {
    let transports = transport::memory(key).unwrap();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    let local = PeerId::from(key.public());
    Swarm::new(transports.transport, behaviour(transports.relay), local, config)
}

fn identify_as(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new("/test/1.0.0".to_owned(), key.public()))
}
