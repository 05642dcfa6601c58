//! A circuit's ticket: whoever holds it works for the circuit, and when it is gone the circuit is.
//!
//! It goes with the circuit through commands, handlers and futures. Wherever it is dropped — a connection that closed
//! before the command came, a future that nobody polls any more — its end is told to the behaviour. So none can be
//! admitted and not be counted off again. Decides nothing.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

use crate::{CircuitId, OpenError, Outcome, Traffic};

/// How work on a circuit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The destination did not take it.
    NotOpened(OpenError),
    /// It was carried until it ended.
    Closed(Outcome),
    /// The ticket was dropped: the connection that had it is gone.
    Dropped,
}

/// The working side. `#[must_use]`: dropping it ends the circuit.
#[derive(Debug)]
#[must_use = "dropping it ends the circuit"]
pub struct Ticket {
    circuit: CircuitId,
    shared: Arc<Shared>,
    returns: Arc<Returns>,
    ending: Ending,
}

/// The behaviour's side.
#[derive(Debug)]
pub(crate) struct Stub {
    shared: Arc<Shared>,
}

/// Where tickets come back to. Holds at most as many as there are circuits.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    ended: Mutex<Vec<(CircuitId, Ending)>>,
    waker: AtomicWaker,
}

/// What both sides see of a circuit.
#[derive(Debug, Default)]
struct Shared {
    tally: Tally,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

/// Bytes so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) to_destination: AtomicU64,
    pub(crate) to_source: AtomicU64,
}

impl Ticket {
    /// For a circuit that was admitted.
    pub(crate) fn new(circuit: CircuitId, returns: &Arc<Returns>) -> (Self, Stub) {
        let shared = Arc::new(Shared::default());
        let stub = Stub {
            shared: Arc::clone(&shared),
        };
        let ticket = Self {
            circuit,
            shared,
            returns: Arc::clone(returns),
            ending: Ending::Dropped,
        };
        (ticket, stub)
    }

    pub(crate) fn circuit(&self) -> CircuitId {
        self.circuit
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Completes when the circuit shall end.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        if self.shared.is_cut.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.shared.waker.register(cx.waker());
        if self.shared.is_cut.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Gives it back with a reason.
    pub(crate) fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut ended = self.returns.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push((self.circuit, self.ending));
        drop(ended);
        self.returns.waker.wake();
    }
}

impl Stub {
    /// Whoever works on the circuit shall end it.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::Release);
        self.shared.waker.wake();
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            to_destination: self.shared.tally.to_destination.load(Ordering::Acquire),
            to_source: self.shared.tally.to_source.load(Ordering::Acquire),
        }
    }
}

impl Returns {
    /// What has come back; the task is woken when there is more.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Vec<(CircuitId, Ending)> {
        self.waker.register(cx.waker());
        // A list has no half-done state to protect.
        mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::task::{ArcWake, noop_waker, waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn when_a_ticket_is_dropped_anywhere_its_end_is_told() {
        let returns = Arc::new(Returns::default());
        let count = Arc::new(Count::default());
        let waker = waker(Arc::clone(&count));
        assert_eq!(returns.poll(&Context::from_waker(&waker)), []);
        let (ticket, _stub) = Ticket::new(CircuitId(1), &returns);
        let never_run = async move {
            std::future::pending::<()>().await;
            drop(ticket);
        };
        drop(never_run);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the behaviour is woken");
        let (ticket, _stub) = Ticket::new(CircuitId(2), &returns);
        ticket.end(Ending::Closed(Outcome::Finished));
        let ended = returns.poll(&Context::from_waker(&noop_waker()));
        let finished = Ending::Closed(Outcome::Finished);
        assert_eq!(ended, [(CircuitId(1), Ending::Dropped), (CircuitId(2), finished)]);
    }

    #[test]
    fn when_a_circuit_is_cut_whoever_works_for_it_is_woken() {
        let (ticket, stub) = Ticket::new(CircuitId(1), &Arc::default());
        let count = Arc::new(Count::default());
        let waker = waker(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        assert!(ticket.poll_cut(&cx).is_pending());
        stub.cut();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(ticket.poll_cut(&cx).is_ready());
    }
}
