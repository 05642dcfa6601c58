//! The bounded channel of events: a slow reader loses events and is told so, the node never waits for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{StreamExt, channel::mpsc};

use super::Event;

/// The events of a node, in order. Ends when the node has stopped.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl futures::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_next_unpin(cx)
    }
}

/// The node's end.
pub(super) struct EventSender {
    sender: mpsc::Sender<Event>,
    missed: u64,
}

pub(super) fn channel(capacity: usize) -> (EventSender, Events) {
    let (sender, receiver) = mpsc::channel(capacity);
    (EventSender { sender, missed: 0 }, Events { receiver })
}

impl EventSender {
    pub(super) fn send(&mut self, event: Event) {
        if self.missed > 0 && self.sender.try_send(Event::Lagged { missed: self.missed }).is_ok() {
            self.missed = 0;
        }
        if self.missed > 0 || self.sender.try_send(event).is_err() {
            // Also when nobody reads any more: then nobody misses anything.
            self.missed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_reader_is_slow_it_is_told_how_much_it_missed() {
        let (mut sender, mut events) = channel(1);
        // A channel of capacity 1 with one sender holds two.
        for _ in 0..5 {
            sender.send(Event::Stopped);
        }
        assert_eq!(events.next().now_or_never(), Some(Some(Event::Stopped)));
        assert_eq!(events.next().now_or_never(), Some(Some(Event::Stopped)));
        sender.send(Event::Stopped);
        assert_eq!(events.next().now_or_never(), Some(Some(Event::Lagged { missed: 3 })));
        assert_eq!(events.next().now_or_never(), Some(Some(Event::Stopped)));
    }
}
