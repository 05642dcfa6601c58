//! The session's one task: whatever happens, at the node, to the page, or by the user, is dealt with here in turn.

mod network;

use std::{collections::BTreeMap, pin::pin, time::Duration};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{self, AbortHandle},
    select_biased,
};
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use libp2p::PeerId;
use peerway_core::{
    access::AccessToken,
    chat::RoomName,
    dial::Route,
    name::clean_name,
    node::{Command, Event, Events, Node, Reach, Stopped, builder},
    view::{RelayStatus, View},
};
use wasm_bindgen_futures::spawn_local;

use super::{
    Intent, Model, NoticeKind,
    clock::Skew,
    diagnosis,
    identity::{self, IdentityOrigin},
    lifecycle::{self, Happening},
    name,
    relays::{self, PageOrigin, second::SecondSlot},
    source::{self, Report},
};
use crate::{browser, words};

/// While the relay is lost, its document is read this often: it may come back with another identity.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Longest sleep of the pump: browsers cannot sleep longer than 24 days, and waking up is cheap.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// How many turns the node's tasks get to say goodbye. Each turn takes a message one task further, and on its way to the
/// socket there are a handful. No timer: a page that is left may be frozen before it fires.
const FAREWELL_TURNS: usize = 64;

/// Reports of the relay's source that wait.
const MAX_REPORTS: usize = 4;

/// Runs the session until the page is left or the node stops.
pub(super) async fn run(model: Model, intents: mpsc::Receiver<Intent>) {
    let origin = browser::origin().and_then(|(scheme, host, port)| PageOrigin::new(&scheme, &host, port));
    let parameters = browser::query_values("relay");
    let (asks, asked) = mpsc::channel(1);
    let (reporter, reports) = mpsc::channel(MAX_REPORTS);
    let source = if parameters.is_empty() {
        source::watch(origin.clone(), asked, reporter).left_future()
    } else {
        // The user's word replaces the document.
        drop(reporter);
        future::ready(()).right_future()
    };
    // The document is fetched while the identity is being taken.
    let session = pin!(async move {
        let identity = identity::take().await;
        let Some(pump) = Pump::start(model, identity, origin.as_ref(), asks) else {
            return;
        };
        pump.run(origin.as_ref(), &parameters, intents, reports).await;
    });
    future::join(source, session).await;
}

struct Pump {
    model: Model,
    node: Node,
    events: Events,
    view: View,
    origin: IdentityOrigin,
    asks: mpsc::Sender<()>,
    /// While the relay is lost: when its document was last asked for.
    asked_at: Option<Duration>,
    server: Server,
    /// The relay that serves the page.
    home: Option<PeerId>,
    second: SecondSlot,
    stun: Stun,
    /// What the user was last told about the clock.
    skew: Option<Skew>,
    /// For the relay that serves the page, or those that the user named.
    token: Option<AccessToken>,
    marks: Marks,
    /// Keeps other tabs from our slot.
    guard: Option<identity::SlotGuard>,
    /// Ends the node at once, connections included.
    abort: AbortHandle,
}

/// Which points of the benchmark's timeline were passed.
#[derive(Default)]
struct Marks {
    reserved: Option<()>,
    first_peer: Option<()>,
    direct: Option<()>,
}

/// Whether the relay's server answers HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Answers,
    Silent,
}

/// Which STUN servers are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stun {
    OfTheRelay,
    /// The user's word replaces the document.
    Given,
}

/// Whether the pump goes on.
enum Flow {
    On,
    /// The page was left. If the browser keeps it and brings it back, it is loaded anew.
    Left,
    End,
}

impl Pump {
    fn start(
        model: Model,
        identity: identity::Identity,
        origin: Option<&PageOrigin>,
        asks: mpsc::Sender<()>,
    ) -> Option<Self> {
        let name = name::load(&identity.origin);
        let built = builder(identity.keypair)
            .config(relays::config(origin))
            .name(name.clone())
            .room(model.room.get_untracked())
            .build();
        let (node, events, event_loop) = match built {
            Ok(built) => built,
            Err(error) => {
                model.notify(NoticeKind::NotStarted(error.to_string()));
                return None;
            }
        };
        let (event_loop, abort) = future::abortable(event_loop.run());
        spawn_local(async move {
            // Aborted or ended: the events say which.
            let _ = event_loop.await;
        });
        let local = node.local_peer_id();
        model.local.set(Some(local));
        model.identity.set(Some(identity.origin.clone()));
        model.name.set(name);
        match &identity.origin {
            IdentityOrigin::Remembered(_) | IdentityOrigin::Made(_) => {}
            IdentityOrigin::Replaced { .. } | IdentityOrigin::InMemory(_) => {
                model.notify(NoticeKind::Identity(identity.origin.clone()));
            }
        }
        let token = lifecycle::token_in_fragment().unwrap_or_else(|error| {
            model.notify(NoticeKind::Token(error));
            None
        });
        Some(Self {
            model,
            node,
            events,
            view: View::new(local),
            origin: identity.origin,
            asks,
            asked_at: None,
            server: Server::Answers,
            home: None,
            second: SecondSlot::new(local),
            stun: Stun::OfTheRelay,
            skew: None,
            token,
            marks: Marks::default(),
            guard: identity.guard,
            abort,
        })
    }

    async fn run(
        mut self,
        page: Option<&PageOrigin>,
        parameters: &[String],
        mut intents: mpsc::Receiver<Intent>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        let (_lifecycle, mut happenings) = lifecycle::listen();
        self.use_stun_parameters().await;
        self.use_parameters(page, parameters).await;
        loop {
            let mut sleep = pin!(TimeoutFuture::new(self.sleep_millis()).fuse());
            let flow = select_biased! {
                happening = happenings.select_next_some() => self.on_happening(happening).await,
                intent = intents.select_next_some() => self.on_intent(intent).await,
                report = reports.select_next_some() => self.on_report(report).await,
                event = self.events.next().fuse() => match event {
                    Some(event) => self.on_event(event).await,
                    None => self.on_stopped(),
                },
                () = sleep => Flow::On,
            };
            match flow {
                Flow::On => {
                    self.on_tick();
                    self.tend_second().await;
                }
                Flow::Left => {
                    while let Some(happening) = happenings.next().await {
                        if happening == Happening::Revived {
                            browser::reload();
                        }
                    }
                    return;
                }
                Flow::End => return,
            }
        }
    }

    async fn use_stun_parameters(&mut self) {
        let values = browser::query_values("stun");
        if values.is_empty() {
            return;
        }
        self.stun = Stun::Given;
        let (servers, unusable) = relays::stun::from_parameters(&values);
        for value in unusable {
            self.model.notify(NoticeKind::Stun(value));
        }
        self.tell(Command::SetStunServers(servers)).await;
    }

    async fn on_happening(&mut self, happening: Happening) -> Flow {
        match happening {
            Happening::Nudged(nudge) => {
                self.second.handle_nudge(self.node.now());
                self.ask_source();
                self.tell(Command::Nudge(nudge)).await
            }
            Happening::Left => {
                self.leave().await;
                Flow::Left
            }
            // Its connections died in the back/forward cache, and chat begins anew anyhow.
            Happening::Revived => {
                browser::reload();
                Flow::End
            }
            Happening::FragmentChanged if lifecycle::token_in_fragment().ok().flatten() != self.token => {
                // Another link of the same page.
                browser::reload();
                Flow::On
            }
            Happening::FragmentChanged => match lifecycle::room_in_fragment() {
                Ok(room) => self.enter(room).await,
                Err(error) => {
                    self.model.notify(NoticeKind::Room(error));
                    Flow::On
                }
            },
        }
    }

    /// Says goodbye and hangs up. The page may not live to see it done; or the browser keeps it for the user to go back to,
    /// frozen, with its connections open and mute: others would believe in them until a ping is missed.
    async fn leave(&mut self) {
        let _ = self.node.send(Command::Shutdown).await;
        for _ in 0..FAREWELL_TURNS {
            browser::turn().await;
        }
        self.abort.abort();
        // A tab that the user opens meanwhile may be who we were; if we come back, we take what is free.
        self.guard = None;
    }

    async fn on_intent(&mut self, intent: Intent) -> Flow {
        match intent {
            Intent::Say(text) => {
                let room = self.model.room.get_untracked();
                match self.node.say(room, text.clone()).await {
                    Ok(Ok(_id)) => Flow::On,
                    Ok(Err(error)) => {
                        self.model.refused_line.set(Some((text, words::of_say_error(error))));
                        Flow::On
                    }
                    Err(Stopped) => self.on_stopped(),
                }
            }
            Intent::Rename(raw) => {
                let name = raw.as_deref().and_then(clean_name);
                name::save(&self.origin, name.as_deref());
                self.model.name.set(name.clone());
                self.tell(Command::SetName(name)).await
            }
            Intent::Enter(room) => self.enter(room).await,
            Intent::Reach(peer) => {
                let reach = Reach::PreferDirect;
                self.tell(Command::Connect { peer, reach }).await
            }
            Intent::Diagnose => self.diagnose().await,
        }
    }

    async fn diagnose(&mut self) -> Flow {
        let mut stats = BTreeMap::new();
        for peer in self.view.peers.keys() {
            match self.node.stats(*peer).await {
                Ok(of_peer) => stats.extend(of_peer.map(|of_peer| (*peer, of_peer))),
                Err(Stopped) => return self.on_stopped(),
            }
        }
        self.model.diagnosis.set(Some(diagnosis::report(&self.view, &stats)));
        Flow::On
    }

    /// Leaves the room we are in for another.
    async fn enter(&mut self, room: RoomName) -> Flow {
        let left = self.model.room.get_untracked();
        if room == left {
            return Flow::On;
        }
        browser::set_fragment(lifecycle::ROOM_KEY, room.as_str());
        self.model.room.set(room.clone());
        self.model.draw_room(&self.view, &room);
        match self.node.send(Command::Leave(left)).await {
            Ok(()) => self.tell(Command::Join(room)).await,
            Err(_) => self.on_stopped(),
        }
    }

    async fn on_event(&mut self, event: Event) -> Flow {
        if let Event::Lagged { .. } = event {
            if let Ok(view) = self.node.view().await {
                self.view = view;
                self.model.draw_all(&self.view);
            }
            return Flow::On;
        }
        self.note(&event);
        let changed = self.view.apply(&event, self.node.now());
        self.model.draw(&self.view, &changed);
        if event == Event::Stopped {
            self.on_stopped()
        } else {
            Flow::On
        }
    }

    /// Marks the points of the benchmark's timeline.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the view folds every event; here a few are marked"
    )]
    fn note(&mut self, event: &Event) {
        match event {
            Event::RelayReserved { .. } if self.marks.reserved.replace(()).is_none() => {
                browser::mark("peerway:reserved");
            }
            Event::PeerDiscovered { .. } if self.marks.first_peer.replace(()).is_none() => {
                browser::mark("peerway:first-peer");
            }
            // The change of the route came before.
            Event::PeerMeasured { peer, .. } if self.is_direct(*peer) && self.marks.direct.replace(()).is_none() => {
                browser::mark("peerway:direct");
            }
            _ => {}
        }
    }

    fn is_direct(&self, peer: PeerId) -> bool {
        let row = self.view.peers.get(&peer);
        row.is_some_and(|row| row.route == Some(Route::WebRtc))
    }

    /// Time has passed: rows of peers long gone disappear, and a relay that stays lost is looked up anew.
    fn on_tick(&mut self) {
        let now = self.node.now();
        let changed = self.view.handle_timeout(now);
        self.model.draw(&self.view, &changed);
        let lost = match self.view.relay_status() {
            RelayStatus::Lost | RelayStatus::Refused => !self.view.relays.is_empty(),
            RelayStatus::Connecting | RelayStatus::Reserved => false,
        };
        match (lost, self.asked_at) {
            (false, _) => self.asked_at = None,
            (true, Some(at)) if now.mono < at.saturating_add(ASK_AGAIN_AFTER) => {}
            (true, _) => {
                self.asked_at = Some(now.mono);
                self.ask_source();
            }
        }
    }

    fn on_stopped(&self) -> Flow {
        self.model.notify(NoticeKind::Stopped);
        Flow::End
    }

    async fn tell(&self, command: Command) -> Flow {
        match self.node.send(command).await {
            Ok(()) => Flow::On,
            Err(_) => self.on_stopped(),
        }
    }

    fn ask_source(&mut self) {
        // One question waits at most: it means the same as many.
        let _ = self.asks.try_send(());
    }

    fn sleep_millis(&self) -> u32 {
        let now = self.node.now().mono;
        let asking = self.asked_at.map(|at| at.saturating_add(ASK_AGAIN_AFTER));
        let next = [self.view.poll_timeout(), self.second.poll_timeout(), asking];
        let next = next.into_iter().flatten().min();
        let sleep = next.map_or(MAX_SLEEP, |at| at.saturating_sub(now)).min(MAX_SLEEP);
        // Rounded up: a timer that fires early would only be set again.
        u32::try_from(sleep.as_millis()).unwrap_or(u32::MAX).saturating_add(1)
    }
}
