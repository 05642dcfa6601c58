//! One line of the log for each reservation and each circuit: accepted, denied, timed out, closed. Decides nothing.
//!
//! What a line is about is in its fields, and `reason`, `end` and `outcome` have the names that the ledger counts by. Renewals
//! are routine and stay at DEBUG. Addresses are in none of these lines.

use peerway_hop::{Denial, Event, OpenError, ReservationEnd};

use crate::ledger::labels::{CircuitEnd, Label, Reason, SlotEnd};

/// Writes down what the relay server told.
pub(crate) fn write(event: &Event) {
    match event {
        Event::ReservationAccepted { peer, connection } => {
            tracing::info!(%peer, %connection, "reservation accepted");
        }
        Event::ReservationRenewed { peer, connection } => {
            tracing::debug!(%peer, %connection, "reservation renewed");
        }
        Event::ReservationDenied {
            peer,
            connection,
            denial,
        } => {
            let (reason, told) = (Reason::of_request(denial).name(), denial.refusal());
            tracing::info!(%peer, %connection, reason, %told, %denial, "reservation denied");
        }
        Event::ReservationEnded {
            peer,
            connection,
            end: ReservationEnd::Expired,
        } => tracing::info!(%peer, %connection, "reservation timed out"),
        Event::ReservationEnded { peer, connection, end } => {
            tracing::info!(%peer, %connection, end = SlotEnd::of(*end).name(), "reservation closed");
        }
        Event::CircuitAccepted {
            circuit,
            source,
            destination,
        } => tracing::info!(%circuit, %source, %destination, "circuit accepted"),
        Event::CircuitDenied {
            source,
            destination,
            denial: Denial::Destination(OpenError::TimedOut),
        } => tracing::info!(%source, %destination, "circuit timed out"),
        Event::CircuitDenied {
            source,
            destination,
            denial,
        } => {
            let (reason, told) = (Reason::of_request(denial).name(), denial.refusal());
            tracing::info!(%source, %destination, reason, %told, %denial, "circuit denied");
        }
        Event::CircuitClosed {
            circuit,
            source,
            destination,
            outcome,
            traffic,
            duration,
        } => tracing::info!(
            %circuit,
            %source,
            %destination,
            outcome = CircuitEnd::of(*outcome).name(),
            detail = ?outcome,
            to_destination = traffic.to_destination,
            to_source = traffic.to_source,
            seconds = duration.as_secs_f64(),
            "circuit closed"
        ),
        Event::RequestRejected {
            peer,
            connection,
            refusal,
        } => tracing::debug!(%peer, %connection, %refusal, "what came was no request"),
        // The crate may tell more some day.
        other => tracing::debug!(?other, "relay"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use libp2p::{PeerId, swarm::ConnectionId};
    use peerway_hop::{Bound, Refusal};
    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::access;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn keep(&self, bytes: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(bytes);
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.keep(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn lines_for(events: &[Event]) -> Vec<Value> {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(log, || events.iter().for_each(write));
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn whatever_happens_to_a_reservation_or_a_circuit_is_one_line_with_its_fields() {
        let (peer, other, connection) = (PeerId::random(), PeerId::random(), ConnectionId::new_unchecked(7));
        let slot_denied = |denial| Event::ReservationDenied {
            peer,
            connection,
            denial,
        };
        let slot_ended = |end| Event::ReservationEnded { peer, connection, end };
        let circuit_denied = |denial| Event::CircuitDenied {
            source: peer,
            destination: other,
            denial,
        };
        let events = [
            Event::ReservationAccepted { peer, connection },
            slot_denied(Denial::Full(Bound::ReservationsPerNetwork)),
            slot_ended(ReservationEnd::Expired),
            slot_ended(ReservationEnd::ConnectionClosed),
            circuit_denied(Denial::NoReservation),
            circuit_denied(Denial::Destination(OpenError::TimedOut)),
            slot_denied(Denial::Access {
                refusal: Refusal::PermissionDenied,
                reason: access::Reason::TokenMissing.name().into(),
            }),
            // Routine: at INFO there is nothing of it.
            Event::ReservationRenewed { peer, connection },
        ];
        let lines = lines_for(&events);
        let said: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(
            said,
            [
                "reservation accepted",
                "reservation denied",
                "reservation timed out",
                "reservation closed",
                "circuit denied",
                "circuit timed out",
                "reservation denied",
            ]
        );
        for line in lines[..4].iter().chain(&lines[6..]) {
            assert_eq!(line["peer"], peer.to_string());
            assert_eq!(line["connection"], "7");
        }
        for line in &lines[4..6] {
            assert_eq!(
                (&line["source"], &line["destination"]),
                (&peer.to_string().into(), &other.to_string().into())
            );
        }
        assert_eq!(lines[1]["reason"], "reservations_per_address");
        assert_eq!(lines[1]["told"], "RESERVATION_REFUSED");
        assert_eq!(lines[3]["end"], "connection_closed");
        assert_eq!(lines[4]["reason"], "no_reservation");
        assert_eq!(lines[4]["told"], "NO_RESERVATION");
        assert_eq!(lines[6]["reason"], "token_missing");
        assert_eq!(lines[6]["told"], "PERMISSION_DENIED");
    }
}
