//! What the components draw: reactive cells, one per thing that changes by itself, filled from the node's [`View`].
//!
//! A peer's row is a cell of its own and a line is drawn once, so that one message does not redraw the page.

use std::{collections::BTreeMap, sync::Arc};

use leptos::prelude::*;
use libp2p::PeerId;
use peerway_core::{
    access::AccessTokenError,
    chat::{ChatMessage, RoomName, RoomNameError},
    reservation::RelayFailure,
    view::{Changed, PeerRow, RelayRow, RelayState, RelayStatus, Unsent, View},
};

use super::{Skew, identity::IdentityOrigin, relays::ParameterError, source::SourceFailure};

/// Notices shown at once; when one more comes, the oldest goes.
const MAX_NOTICES: usize = 8;

/// Everything that is drawn. Copies share the same cells.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    /// Our own peer id, once there is one.
    pub(crate) local: RwSignal<Option<PeerId>>,
    /// Where our identity comes from.
    pub(crate) identity: RwSignal<Option<IdentityOrigin>>,
    /// The name we announce.
    pub(crate) name: RwSignal<Option<String>>,
    /// How we stand with our relays.
    pub(crate) relay: RwSignal<RelayStanding>,
    /// The peers: the connected, the known, the gone.
    pub(crate) peers: RwSignal<Vec<PeerCell>>,
    /// The room we are in.
    pub(crate) room: RwSignal<RoomName>,
    /// Its lines, the newest last.
    pub(crate) lines: RwSignal<Vec<Arc<ChatMessage>>>,
    /// How many older lines were dropped.
    pub(crate) dropped_lines: RwSignal<u64>,
    /// Our own lines that have not left, by id.
    pub(crate) unsent: RwSignal<BTreeMap<String, Unsent>>,
    /// A line that the node refused to say: its text, and why, in words.
    pub(crate) refused_line: RwSignal<Option<(String, String)>>,
    /// What is going on underneath, once the user asked for it.
    pub(crate) diagnosis: RwSignal<Option<String>>,
    /// What the user should know, the oldest first.
    pub(crate) notices: RwSignal<Vec<Notice>>,
}

/// One peer: its row is drawn anew only when it changed.
#[derive(Clone)]
pub(crate) struct PeerCell {
    pub(crate) peer: PeerId,
    pub(crate) row: ArcRwSignal<PeerRow>,
}

/// How we stand with our relays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RelayStanding {
    /// Which relay to use is being asked for.
    Looking,
    /// Nobody says which relay to use; it is asked again.
    Unknown(SourceFailure),
    /// Every `?relay=` is malformed: there is none to use.
    NoneUsable,
    /// The node works on it.
    Known {
        /// All of them together.
        status: RelayStatus,
        /// Each of them.
        rows: Vec<RelayRow>,
    },
}

impl RelayStanding {
    /// The state as the contract with tests and scripts names it.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::Looking => "connecting",
            Self::Unknown(_) | Self::NoneUsable => "lost",
            Self::Known { status, .. } => match status {
                RelayStatus::Connecting => "connecting",
                RelayStatus::Reserved => "reserved",
                RelayStatus::Lost => "lost",
                RelayStatus::Refused => "refused",
            },
        }
    }

    /// Why no relay holds a slot for us, if the node knows.
    pub(crate) fn failure(&self) -> Option<&RelayFailure> {
        match self {
            Self::Looking | Self::Unknown(_) | Self::NoneUsable => None,
            Self::Known { rows, .. } => rows.iter().find_map(|row| match &row.state {
                RelayState::Lost { reason } | RelayState::Refused { reason } => Some(reason),
                RelayState::Connecting | RelayState::Reserved => None,
            }),
        }
    }

    /// The relays that the node knows.
    pub(crate) fn rows(&self) -> &[RelayRow] {
        match self {
            Self::Looking | Self::Unknown(_) | Self::NoneUsable => &[],
            Self::Known { rows, .. } => rows,
        }
    }
}

/// Names a notice for as long as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NoticeId(u64);

/// Something the user should know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    pub(crate) id: NoticeId,
    pub(crate) kind: NoticeKind,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoticeKind {
    /// The identity is lost when the page is closed, or a damaged one was replaced.
    Identity(IdentityOrigin),
    /// A `?relay=` is malformed.
    Parameter(ParameterError),
    /// A `?stun=` names no server.
    Stun(String),
    /// The room that the URL names cannot be one.
    Room(RoomNameError),
    /// The token that the URL carries cannot be one.
    Token(AccessTokenError),
    /// The clock of this machine is wrong.
    Clock(Skew),
    /// The node could not be started; the text is for whoever reports it.
    NotStarted(String),
    /// The node ended by itself.
    Stopped,
}

impl Model {
    pub(super) fn new(room: Result<RoomName, RoomNameError>) -> Self {
        let model = Self {
            local: RwSignal::new(None),
            identity: RwSignal::new(None),
            name: RwSignal::new(None),
            relay: RwSignal::new(RelayStanding::Looking),
            peers: RwSignal::new(Vec::new()),
            room: RwSignal::new(RoomName::default()),
            lines: RwSignal::new(Vec::new()),
            dropped_lines: RwSignal::new(0),
            unsent: RwSignal::new(BTreeMap::new()),
            refused_line: RwSignal::new(None),
            diagnosis: RwSignal::new(None),
            notices: RwSignal::new(Vec::new()),
        };
        match room {
            Ok(room) => model.room.set(room),
            Err(error) => model.notify(NoticeKind::Room(error)),
        }
        model
    }

    /// Shows a notice, unless the same one is shown already.
    pub(crate) fn notify(&self, kind: NoticeKind) {
        self.notices.update(|notices| {
            if notices.iter().all(|notice| notice.kind != kind) {
                let id = next_id(notices);
                append(notices, Notice { id, kind });
            }
        });
    }

    /// Says how wrong the clock is, in place of what was said about it before.
    pub(super) fn draw_skew(&self, skew: Option<Skew>) {
        self.notices.update(|notices| {
            // Asked before the old one goes: what has its id would pass for it and not be drawn.
            let id = next_id(notices);
            notices.retain(|notice| !matches!(notice.kind, NoticeKind::Clock(_)));
            if let Some(skew) = skew {
                let kind = NoticeKind::Clock(skew);
                append(notices, Notice { id, kind });
            }
        });
    }

    /// The user has read it.
    pub(crate) fn dismiss(&self, id: NoticeId) {
        self.notices.update(|notices| notices.retain(|notice| notice.id != id));
    }

    /// Draws what changed.
    pub(crate) fn draw(&self, view: &View, changed: &Changed) {
        match changed {
            Changed::Nothing => {}
            Changed::Relay(_) => self.draw_relays(view),
            Changed::Peer(peer) => self.draw_peer(view, *peer),
            Changed::Room(room) => self.draw_room(view, room),
            // `Changed` may grow: whatever it says, everything is right.
            Changed::All | _ => self.draw_all(view),
        }
    }

    pub(super) fn draw_all(&self, view: &View) {
        self.draw_relays(view);
        self.draw_peers(view);
        for cell in self.peers.get_untracked() {
            self.draw_peer(view, cell.peer);
        }
        self.draw_room(view, &self.room.get_untracked());
    }

    pub(super) fn draw_relays(&self, view: &View) {
        // Before the node knows a relay, the source of relays says how we stand.
        if !view.relays.is_empty() {
            let standing = RelayStanding::Known {
                status: view.relay_status(),
                rows: view.relays.clone(),
            };
            self.relay.set(standing);
        }
    }

    /// One peer's row, and where it stands among the others.
    fn draw_peer(&self, view: &View, peer: PeerId) {
        let cell = self
            .peers
            .with_untracked(|cells| cells.iter().find(|cell| cell.peer == peer).cloned());
        if let (Some(cell), Some(row)) = (cell, view.peers.get(&peer)) {
            cell.row.set(row.clone());
        }
        self.draw_peers(view);
    }

    /// Which peers there are, in order. Rows that stay keep their cells.
    fn draw_peers(&self, view: &View) {
        let rows = view.peers_by_presence();
        let drawn = self
            .peers
            .with_untracked(|cells| cells.iter().map(|cell| cell.peer).eq(rows.iter().map(|row| row.peer)));
        if drawn {
            return;
        }
        self.peers.update(|cells| {
            let mut kept: BTreeMap<PeerId, PeerCell> = cells.drain(..).map(|cell| (cell.peer, cell)).collect();
            cells.extend(rows.into_iter().map(|row| {
                kept.remove(&row.peer).unwrap_or_else(|| PeerCell {
                    peer: row.peer,
                    row: ArcRwSignal::new(row.clone()),
                })
            }));
        });
    }

    pub(super) fn draw_room(&self, view: &View, room: &RoomName) {
        if *room != self.room.get_untracked() {
            return;
        }
        let log = view.rooms.get(room);
        self.dropped_lines.set(log.map_or(0, |log| log.dropped));
        self.lines.update(|lines| {
            // A line that is drawn stays as it is: only its arrival and its dropping are news.
            let drawn = std::mem::take(lines);
            let same = |line: &&Arc<ChatMessage>, other: &ChatMessage| line.id == other.id && line.from == other.from;
            let mut rest = drawn.iter().peekable();
            for message in log.map_or(&[][..], |log| log.messages.as_slice()) {
                while rest.peek().is_some_and(|line| !same(line, message)) {
                    rest.next();
                }
                match rest.next() {
                    Some(line) => lines.push(Arc::clone(line)),
                    None => lines.push(Arc::new(message.clone())),
                }
            }
        });
        let unsent = log.map(|log| log.unsent.clone()).unwrap_or_default();
        if self.unsent.with_untracked(|drawn| *drawn != unsent) {
            self.unsent.set(unsent);
        }
    }
}

/// An id that none of these has.
fn next_id(notices: &[Notice]) -> NoticeId {
    NoticeId(notices.last().map_or(0, |last| last.id.0 + 1))
}

/// Adds the newest; the oldest beyond the bound go.
fn append(notices: &mut Vec<Notice>, notice: Notice) {
    notices.push(notice);
    let over = notices.len().saturating_sub(MAX_NOTICES);
    notices.drain(..over);
}
