//! A stream over one data channel: [`machine`] with the channel on one side and the application on the other.
//!
//! Decides how much may wait to be sent. Messages are taken as they arrive, whether or not somebody reads: an
//! acknowledgement must not wait for a reader.

mod frame;
mod machine;

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use send_wrapper::SendWrapper;

use self::machine::{Machine, Read};
use crate::rtc::{Channel, ChannelEvents, ChannelState, RawChannel};

pub(crate) use machine::Acks;

/// No more is handed to the browser while this much waits there.
const WAITING_HIGH: usize = 1024 * 1024;
/// Writing goes on when no more than this waits.
const WAITING_LOW: usize = 512 * 1024;
/// What all streams of a connection together hold unread: four slow readers at their bound.
const MAX_UNREAD_OF_ALL: usize = 4 * machine::MAX_UNREAD;

/// A stream of a [`Connection`](crate::Connection).
///
/// Closing it closes its writing half; what the other side still sends can be read. Dropping one that was not closed
/// resets it.
pub struct Stream {
    /// Never leaves the browser's one thread.
    shared: SendWrapper<Rc<Shared>>,
}

impl Stream {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self {
            shared: SendWrapper::new(shared),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_write(cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The browser sends by itself; nothing waits here.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll_close(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.on_dropped();
    }
}

/// What the streams of one connection have in common.
#[derive(Debug)]
pub(crate) struct Hub {
    acks: Cell<Acks>,
    unread: Cell<usize>,
    /// Who cleans up after streams; woken when there may be something to do.
    sweeper: RefCell<Option<Waker>>,
}

impl Hub {
    pub(crate) fn new(acks: Acks) -> Self {
        Self {
            acks: Cell::new(acks),
            unread: Cell::new(0),
            sweeper: RefCell::new(None),
        }
    }

    pub(crate) fn register_sweeper(&self, cx: &Context<'_>) {
        *self.sweeper.borrow_mut() = Some(cx.waker().clone());
    }

    pub(crate) fn wake_sweeper(&self) {
        wake(&self.sweeper);
    }
}

/// A stream as the browser's callbacks and its connection see it.
pub(crate) struct Shared {
    hub: Rc<Hub>,
    machine: RefCell<Machine>,
    /// `None` once the connection has cleaned up.
    channel: RefCell<Option<Channel>>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
    owner: Cell<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Application,
    /// The application let go of it.
    Nobody,
}

impl Shared {
    pub(crate) fn attach(channel: RawChannel, hub: Rc<Hub>) -> Rc<Self> {
        Rc::new_cyclic(|weak: &Weak<Self>| Self {
            hub,
            machine: RefCell::new(Machine::new()),
            channel: RefCell::new(Some(channel.attach(WAITING_LOW, weak.clone()))),
            reader: RefCell::new(None),
            writer: RefCell::new(None),
            owner: Cell::new(Owner::Application),
        })
    }

    /// Whether nobody, neither here nor there, has any use for the channel.
    pub(crate) fn is_over(&self) -> bool {
        self.is_dropped() && self.machine.borrow().is_over()
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.owner.get() == Owner::Nobody
    }

    /// Whether something that the application wrote may not have arrived yet.
    pub(crate) fn has_unsent(&self) -> bool {
        let waits = |channel: &Channel| channel.state() == ChannelState::Open && channel.buffered_amount() > 0;
        self.machine.borrow().is_finishing() || self.channel.borrow().as_ref().is_some_and(waits)
    }

    /// The connection is gone, or has waited long enough for the other side to finish.
    pub(crate) fn abandon(&self) {
        // Dropping the channel closes it; the machine then answers whoever still holds the stream.
        *self.channel.borrow_mut() = None;
        self.on_closed();
    }

    fn poll_read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.with_machine(|machine| machine.read(buffer));
        Poll::Ready(match read {
            Ok(Read::Data(count)) => Ok(count),
            Ok(Read::End) => Ok(0),
            Ok(Read::Pending) => {
                *self.reader.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Err(fault) => Err(fault.into()),
        })
    }

    fn poll_write(&self, cx: &Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.machine.borrow().check_write()?;
        if self.poll_open(cx).is_pending() {
            return Poll::Pending;
        }
        // Opening may have ended it.
        self.machine.borrow().check_write()?;
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let channel = self.channel.borrow();
        let Some(channel) = channel.as_ref() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if channel.buffered_amount() >= WAITING_HIGH {
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let data = &buffer[..buffer.len().min(frame::MAX_DATA)];
        match channel.send(&frame::encode_data(data)) {
            Ok(()) => Poll::Ready(Ok(data.len())),
            Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, error))),
        }
    }

    fn poll_close(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_open(cx).is_pending() {
            return Poll::Pending;
        }
        let acks = self.hub.acks.get();
        let closed = self.with_machine(|machine| machine.close_write(acks));
        self.send_flags();
        Poll::Ready(closed)
    }

    /// Ready when the channel's state will not change for the better.
    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let state = self.channel.borrow().as_ref().map(Channel::state);
        match state {
            Some(ChannelState::Connecting) => {
                *self.writer.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(ChannelState::Open) => {}
            Some(ChannelState::Closed) | None => self.on_closed(),
        }
        Poll::Ready(())
    }

    fn on_dropped(&self) {
        self.owner.set(Owner::Nobody);
        let acks = self.hub.acks.get();
        self.with_machine(|machine| machine.handle_dropped(acks));
        self.send_flags();
        self.hub.wake_sweeper();
    }

    /// Keeps the connection's account of what is unread.
    fn with_machine<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.borrow_mut();
        let before = machine.unread();
        let result = act(&mut machine);
        let others = self.hub.unread.get().saturating_sub(before);
        self.hub.unread.set(others + machine.unread());
        result
    }

    fn send_flags(&self) {
        let channel = self.channel.borrow();
        let Some(channel) = channel.as_ref() else { return };
        if channel.state() != ChannelState::Open {
            return;
        }
        let mut machine = self.machine.borrow_mut();
        while let Some(flag) = machine.next_flag() {
            if let Err(error) = channel.send(&frame::encode_flag(flag)) {
                tracing::debug!(?flag, %error, "a flag could not be sent");
            }
        }
    }
}

impl ChannelEvents for Shared {
    fn on_open(&self) {
        self.send_flags();
        wake(&self.writer);
    }

    fn on_message(&self, message: Bytes) {
        let room = MAX_UNREAD_OF_ALL.saturating_sub(self.hub.unread.get());
        let acks = self.hub.acks.get();
        let (heard_ack, can_write) = self.with_machine(|machine| {
            machine.handle_message(message, room, acks);
            (machine.has_heard_ack(), machine.check_write().is_ok())
        });
        if heard_ack {
            self.hub.acks.set(Acks::Spoken);
        }
        self.send_flags();
        wake(&self.reader);
        if !can_write {
            wake(&self.writer);
            self.hub.wake_sweeper();
        }
    }

    fn on_writable(&self) {
        wake(&self.writer);
    }

    fn on_closed(&self) {
        self.with_machine(Machine::handle_channel_closed);
        wake(&self.reader);
        wake(&self.writer);
        self.hub.wake_sweeper();
    }
}

/// A page's executor runs what is woken from a microtask, never inside this call.
pub(crate) fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}
