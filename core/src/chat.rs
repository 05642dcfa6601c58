//! Rooms: names, topics, lines; and the state machine that sends, receives, de-duplicates and bounds them.
//!
//! It decides what is said and what is shown. It never keeps what was shown ([`crate::view`] does), never orders lines
//! otherwise than they arrive, and never learns who is connected.

mod codec;
mod outbox;
mod rate;
mod room;
mod sources;
#[cfg(test)]
pub(crate) mod tests;

pub use codec::{ID_MAX_BYTES, PAYLOAD_MAX_BYTES, PayloadError, TEXT_MAX_BYTES};
pub use outbox::OUTBOX_MAX_LINES;
pub use rate::RateLimit;
pub use room::{ROOM_NAME_MAX_BYTES, RoomName, RoomNameError};
pub use sources::{IDS_PER_SOURCE, SOURCES_PER_ROOM};

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use libp2p::{PeerId, gossipsub::MessageAcceptance};
use rand::{Rng, rngs::SmallRng};

use crate::{
    name::clean_name,
    node::Event,
    now::{Now, UnixMillis, earlier},
};
use codec::{Line, Payload};
use outbox::{Outbox, Outgoing};
use rate::Meter;
use sources::Sources;

/// In how many rooms a node takes part at most: as many as a relay follows for one peer.
pub const MAX_ROOMS: usize = 8;

/// One line, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Unique per source.
    pub id: String,
    /// Who said it: the gossip source, proven by its signature.
    pub from: PeerId,
    /// The name its author gave with it, bounded and cleaned; display only.
    pub name: Option<String>,
    /// The text, at most 4 KiB.
    pub text: String,
    /// When its author says it was sent; `None` for plain text from strangers.
    pub sent_at: Option<UnixMillis>,
    /// When we received it, by our wall clock.
    pub received_at: UnixMillis,
    /// Whether we said it.
    pub own: bool,
}

/// How fast lines may come and go, and how long ours are kept while nobody is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatConfig {
    /// How fast one source may speak in one room. What is faster is not shown and not forwarded: a flood from one peer
    /// neither fills the log nor travels. Default: [`ChatConfig::DEFAULT_HEAR`]. More costs memory of the log.
    pub hear: RateLimit,
    /// How fast we may speak in one room. Keep it below what the others hear, or they miss lines. Its burst also bounds
    /// how many lines wait while nobody is there, up to [`OUTBOX_MAX_LINES`]. Default: [`ChatConfig::DEFAULT_SAY`].
    pub say: RateLimit,
    /// How long a line waits for somebody to take it before it is given up. Default:
    /// [`ChatConfig::DEFAULT_PATIENCE`]. More means that old lines surprise those who come late.
    pub patience: Duration,
    /// When a line that nobody took is tried again first; doubled each time, ± 20 %. A new subscriber makes it try at
    /// once. Default: [`ChatConfig::DEFAULT_RETRY_FIRST`]. A try costs no traffic while nobody is there.
    pub retry_first: Duration,
    /// The longest time between two tries. Default: [`ChatConfig::DEFAULT_RETRY_MAX`].
    pub retry_max: Duration,
}

impl ChatConfig {
    /// Faster than a person types, slower than a log scrolls away.
    pub const DEFAULT_HEAR: RateLimit = RateLimit {
        burst: 20,
        every: Duration::from_millis(500),
    };
    /// The same rate with a smaller burst: lines that the network bunches together still pass at the other end.
    pub const DEFAULT_SAY: RateLimit = RateLimit {
        burst: 15,
        every: Duration::from_millis(500),
    };
    /// As long as a row of somebody who has gone is shown.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);
    /// A mesh takes about as long to form.
    pub const DEFAULT_RETRY_FIRST: Duration = Duration::from_secs(1);
    /// Several tries within the default patience.
    pub const DEFAULT_RETRY_MAX: Duration = Duration::from_secs(8);
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            hear: Self::DEFAULT_HEAR,
            say: Self::DEFAULT_SAY,
            patience: Self::DEFAULT_PATIENCE,
            retry_first: Self::DEFAULT_RETRY_FIRST,
            retry_max: Self::DEFAULT_RETRY_MAX,
        }
    }
}

/// What the event loop must do for the rooms.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatAction {
    /// Subscribe to this topic.
    Subscribe {
        /// The room's topic.
        topic: String,
    },
    /// Unsubscribe from this topic.
    Unsubscribe {
        /// The room's topic.
        topic: String,
    },
    /// Publish, then call [`Chat::handle_published`] or [`Chat::handle_publish_failed`] with `room` and `id`.
    Publish {
        /// The room.
        room: RoomName,
        /// The line's id.
        id: String,
        /// The room's topic.
        topic: String,
        /// The payload.
        data: Vec<u8>,
    },
    /// Tell the reader of events.
    Report(Event),
}

/// What became of a message that gossip brought.
#[must_use = "gossipsub waits for the verdict before it forwards a message"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It is shown and may travel on.
    Accepted,
    /// It is not shown; its sender did nothing wrong that could be proven.
    Ignored(IgnoreReason),
    /// It is malformed: whoever forwarded it did not look.
    Rejected(PayloadError),
}

impl MessageOutcome {
    /// The verdict for gossipsub.
    #[must_use]
    pub fn acceptance(self) -> MessageAcceptance {
        match self {
            Self::Accepted => MessageAcceptance::Accept,
            Self::Ignored(_) => MessageAcceptance::Ignore,
            Self::Rejected(_) => MessageAcceptance::Reject,
        }
    }
}

/// Why a well-formed message is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// The topic is that of no room we take part in (any more).
    NotJoined,
    /// It claims to be from us; our own lines are shown when we say them.
    Own,
    /// This source said a line with this id before.
    Duplicate,
    /// This source exceeds [`ChatConfig::hear`].
    TooFast,
}

/// Why a room cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// [`MAX_ROOMS`] are joined already. Leave one first.
    #[error("no more than {MAX_ROOMS} rooms can be joined at once: leave one first")]
    TooManyRooms,
}

/// Why a line cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// The room was not joined. Join it first.
    #[error("this room was not joined")]
    NotJoined,
    /// The text is empty or white space alone.
    #[error("there is nothing to say")]
    Empty,
    /// The text is longer than [`TEXT_MAX_BYTES`], or takes more than [`PAYLOAD_MAX_BYTES`] once it is encoded.
    /// Say it in parts.
    #[error("the text is too long")]
    TooLong,
    /// More than [`ChatConfig::say`] allows, counting the lines that still wait: others would not show it. Wait a moment.
    #[error("too many lines at once: wait a moment")]
    TooFast,
}

/// The rooms of one node.
///
/// Feed it with the methods that take a `now`; after each, drain [`Chat::poll_action`]; call [`Chat::handle_timeout`]
/// at [`Chat::poll_timeout`] or earlier.
#[derive(Debug)]
pub struct Chat {
    local: PeerId,
    config: ChatConfig,
    rng: SmallRng,
    name: Option<String>,
    rooms: BTreeMap<RoomName, Room>,
    actions: VecDeque<ChatAction>,
}

#[derive(Debug)]
struct Room {
    topic: String,
    sources: Sources,
    outbox: Outbox,
    said: Meter,
}

impl Chat {
    /// Takes part in no room yet. `rng` makes ids and jitter.
    #[must_use]
    pub fn new(local: PeerId, config: ChatConfig, rng: SmallRng) -> Self {
        Self {
            local,
            config,
            rng,
            name: None,
            rooms: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes part in a room; nothing happens if it does already.
    pub fn join(&mut self, room: RoomName, _now: Now) -> Result<(), JoinError> {
        if self.rooms.contains_key(&room) {
            return Ok(());
        }
        if self.rooms.len() >= MAX_ROOMS {
            return Err(JoinError::TooManyRooms);
        }
        let topic = room.topic();
        self.rooms.insert(
            room.clone(),
            Room {
                topic: topic.clone(),
                sources: Sources::default(),
                outbox: Outbox::default(),
                said: Meter::default(),
            },
        );
        self.actions.push_back(ChatAction::Subscribe { topic });
        self.report(Event::RoomJoined { room });
        Ok(())
    }

    /// Leaves a room; nothing happens if it was not joined. Lines that still wait there are dropped.
    pub fn leave(&mut self, room: &RoomName, _now: Now) {
        let Some(Room { topic, .. }) = self.rooms.remove(room) else {
            return;
        };
        self.actions.push_back(ChatAction::Unsubscribe { topic });
        self.report(Event::RoomLeft { room: room.clone() });
    }

    /// Says a line: it is shown at once, and sent as soon as somebody is there. Returns its id.
    pub fn say(&mut self, room: &RoomName, text: &str, now: Now) -> Result<String, SayError> {
        let joined = self.rooms.get_mut(room).ok_or(SayError::NotJoined)?;
        let line = Line {
            id: format!("{:032x}", self.rng.random::<u128>()),
            name: self.name.clone(),
            text: text.to_owned(),
            sent_at: Some(now.wall),
        };
        let data = codec::encode(&line).map_err(|error| match error {
            PayloadError::TextEmpty => SayError::Empty,
            PayloadError::TextTooLong | PayloadError::TooLarge | PayloadError::NotText | PayloadError::BadId => {
                SayError::TooLong
            }
        })?;
        let waiting = joined.outbox.len();
        if waiting >= OUTBOX_MAX_LINES || !joined.said.has_room(&self.config.say, waiting, now.mono) {
            return Err(SayError::TooFast);
        }
        joined.outbox.push(Outgoing {
            id: line.id.clone(),
            data,
            said_at: now.mono,
        });
        let id = line.id.clone();
        let message = line.shown(self.local, now, Author::Us);
        self.report(Event::MessageReceived {
            room: room.clone(),
            message,
        });
        self.publish_next(room);
        Ok(id)
    }

    /// Gives this name with every further line, cleaned as by [`clean_name`].
    pub fn set_name(&mut self, name: Option<String>) {
        self.name = name.as_deref().and_then(clean_name);
    }

    /// Gossip brought a message. `sequence` is its gossip sequence number, which names plain text.
    pub fn handle_message(
        &mut self,
        source: PeerId,
        topic: &str,
        sequence: Option<u64>,
        data: &[u8],
        now: Now,
    ) -> MessageOutcome {
        let Some((name, room)) = self.rooms.iter_mut().find(|(_, room)| room.topic == topic) else {
            return MessageOutcome::Ignored(IgnoreReason::NotJoined);
        };
        if source == self.local {
            return MessageOutcome::Ignored(IgnoreReason::Own);
        }
        let line = match codec::decode(data) {
            Ok(Payload::Line(line)) => line,
            Ok(Payload::Plain(text)) => Line {
                id: format!("plain-{:016x}", sequence.unwrap_or_else(|| self.rng.random())),
                name: None,
                text,
                sent_at: None,
            },
            Err(error) => return MessageOutcome::Rejected(error),
        };
        if let Err(reason) = room.sources.admit(source, &line.id, &self.config.hear, now.mono) {
            return MessageOutcome::Ignored(reason);
        }
        let room = name.clone();
        let message = line.shown(source, now, Author::Remote);
        self.report(Event::MessageReceived { room, message });
        MessageOutcome::Accepted
    }

    /// A line left towards at least one peer.
    pub fn handle_published(&mut self, room: &RoomName, id: &str, now: Now) {
        let Some(joined) = self.rooms.get_mut(room) else {
            return;
        };
        if let Some(line) = joined.outbox.settle(id) {
            joined.said.count(&self.config.say, now.mono);
            self.report(Event::MessageSent {
                room: room.clone(),
                id: line.id,
            });
            self.publish_next(room);
        }
    }

    /// A line could not be published, most likely because nobody is there: it is tried again.
    pub fn handle_publish_failed(&mut self, room: &RoomName, id: &str, now: Now) {
        if let Some(joined) = self.rooms.get_mut(room) {
            joined.outbox.postpone(id, &self.config, &mut self.rng, now.mono);
        }
    }

    /// A peer subscribed to a topic: what waits there is tried at once.
    pub fn handle_subscriber(&mut self, topic: &str, _now: Now) {
        let Some((name, room)) = self.rooms.iter_mut().find(|(_, room)| room.topic == topic) else {
            return;
        };
        room.outbox.hurry();
        let name = name.clone();
        self.publish_next(&name);
    }

    /// Tries again what is due and gives up what is too old.
    pub fn handle_timeout(&mut self, now: Now) {
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for name in names {
            while let Some(line) = self.poll_expired(&name, now) {
                self.report(Event::MessageUndelivered {
                    room: name.clone(),
                    id: line.id,
                });
            }
            self.publish_next(&name);
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<ChatAction> {
        self.actions.pop_front()
    }

    /// When [`Chat::handle_timeout`] must be called, on the node's monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.rooms
            .values()
            .fold(None, |at, room| earlier(at, room.outbox.poll_timeout(&self.config)))
    }

    /// The rooms that were joined.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomName> {
        self.rooms.keys()
    }

    fn poll_expired(&mut self, room: &RoomName, now: Now) -> Option<Outgoing> {
        let outbox = &mut self.rooms.get_mut(room)?.outbox;
        outbox.handle_timeout(now.mono);
        outbox.poll_expired(&self.config, now.mono)
    }

    fn publish_next(&mut self, name: &RoomName) {
        if let Some(room) = self.rooms.get_mut(name)
            && let Some(line) = room.outbox.poll_line()
        {
            self.actions.push_back(ChatAction::Publish {
                room: name.clone(),
                id: line.id.clone(),
                topic: room.topic.clone(),
                data: line.data.clone(),
            });
        }
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(ChatAction::Report(event));
    }
}

/// Who said a line.
enum Author {
    Us,
    Remote,
}

impl Line {
    fn shown(self, from: PeerId, now: Now, author: Author) -> ChatMessage {
        ChatMessage {
            id: self.id,
            from,
            name: self.name,
            text: self.text,
            sent_at: self.sent_at,
            received_at: now.wall,
            own: matches!(author, Author::Us),
        }
    }
}
