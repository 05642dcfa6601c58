//! One line of the log for each reservation and each circuit: accepted, denied, ended. Decides nothing.
//!
//! Renewals are routine and stay at DEBUG. Addresses are in none of these lines.

use peerway_hop::Event;

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
        } => tracing::info!(%peer, %connection, %denial, "reservation denied"),
        Event::ReservationEnded { peer, connection, end } => {
            tracing::info!(%peer, %connection, ?end, "reservation ended");
        }
        Event::CircuitAccepted {
            circuit,
            source,
            destination,
        } => tracing::info!(%circuit, %source, %destination, "circuit accepted"),
        Event::CircuitDenied {
            source,
            destination,
            denial,
        } => tracing::info!(%source, %destination, %denial, "circuit denied"),
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
            ?outcome,
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
