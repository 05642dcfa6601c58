//! A report as OpenMetrics text. Decides what metrics are called, and what their labels are.
//!
//! Names follow Prometheus: a unit in the name, `_total` for what only grows, the usual names for what a process uses. Every
//! label is out of a closed list ([`crate::ledger::labels`]), and every one is there from the start, with 0: a rate that
//! begins with its first event would miss it.

use std::fmt;

use libp2p_metrics::Registry;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    ledger::{
        Counts,
        labels::{Kind, Label, Reason, Topic, Verdict},
        report::Report,
    },
    neighbours::{NeighbourState, NeighbourStatus, SlotState},
    process::Usage,
};

/// What RFC-abiding readers call this format.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Our metrics, those of the process, and what libp2p makes of the same events.
pub(super) fn encode(
    report: Report,
    limits: Vec<(&'static str, u64)>,
    usage: Option<Usage>,
    libp2p: &Registry,
) -> Result<String, fmt::Error> {
    let mut ours = Registry::default();
    ours.sub_registry_with_prefix("peerway_relay")
        .register_collector(Box::new(Relay { report, limits }));
    if let Some(usage) = usage {
        ours.sub_registry_with_prefix("process")
            .register_collector(Box::new(usage));
    }
    let mut encoded = String::new();
    text::encode_registry(&mut encoded, &ours)?;
    text::encode_registry(&mut encoded, libp2p)?;
    text::encode_eof(&mut encoded)?;
    Ok(encoded)
}

#[derive(Debug)]
struct Relay {
    report: Report,
    limits: Vec<(&'static str, u64)>,
}

impl Collector for Relay {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder };
        let build = writer
            .encoder
            .encode_descriptor("build", "The program", None, MetricType::Info);
        build?.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        self.encode_standing(&mut writer)?;
        let counts = &self.report.counts;
        encode_connections(&mut writer, counts)?;
        encode_reservations(&mut writer, counts)?;
        self.encode_circuits(&mut writer, counts)?;
        self.encode_messages(&mut writer, counts)
    }
}

impl Relay {
    fn encode_standing(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let Report { standing, rooms, .. } = &self.report;
        writer.gauge("peers", "Peers that are connected", None, [none(standing.peers as u64)])?;
        let connections = standing.connections.iter();
        let connections = connections.map(|(transport, count)| ([("transport", transport.name())], *count as u64));
        writer.gauge(
            "connections",
            "libp2p connections that are established",
            None,
            connections,
        )?;
        let reservations = [none(standing.reservations as u64)];
        writer.gauge("reservations", "Peers that hold a reservation", None, reservations)?;
        writer.gauge(
            "circuits",
            "Circuits that stand",
            None,
            [none(standing.circuits as u64)],
        )?;
        writer.gauge("rooms", "Rooms that are followed", None, [none(*rooms as u64)])?;
        let relays = NeighbourState::NAMES.map(|state| {
            let so = |relay: &&NeighbourStatus| relay.state.name() == state;
            ([("state", state)], self.report.relays.iter().filter(so).count() as u64)
        });
        writer.gauge(
            "relays",
            "Other relays that were named, by how it stands with them",
            None,
            relays,
        )?;
        let held = |slots: &mut dyn Iterator<Item = &SlotState>| slots.filter(|slot| **slot == SlotState::Held).count();
        let named = held(&mut self.report.relays.iter().map(|relay| &relay.slot)) as u64;
        let unnamed = held(&mut self.report.unnamed.iter().map(|relay| &relay.slot)) as u64;
        let slots = [([("relays", "named")], named), ([("relays", "unnamed")], unnamed)];
        writer.gauge(
            "slots_held",
            "Other relays through which this one can be reached",
            None,
            slots,
        )?;
        let limits = self.limits.iter().map(|(limit, most)| ([("limit", *limit)], *most));
        writer.gauge("limit", "How many there may be, by the name in [limits]", None, limits)
    }

    fn encode_circuits(&self, writer: &mut Writer<'_>, counts: &Counts) -> fmt::Result {
        let accepted = [none(counts.circuits_accepted)];
        writer.counter("circuits_accepted", "Circuits that both ends agreed to", None, accepted)?;
        let closed = counts
            .circuits_closed
            .iter()
            .map(|(end, count)| ([("outcome", end)], count));
        writer.counter("circuits_closed", "Circuits that have ended", None, closed)?;
        let traffic = self.report.traffic;
        let bytes = [
            ([("direction", "to_destination")], traffic.to_destination),
            ([("direction", "to_source")], traffic.to_source),
        ];
        let help = "Carried by circuits, those included that stand";
        writer.counter("circuit", help, Some(&Unit::Bytes), bytes)?;
        let durations = &counts.circuit_durations;
        let buckets: Vec<_> = durations.buckets().collect();
        let help = "How long circuits stood that have ended";
        let encoder = &mut writer.encoder;
        let mut histogram =
            encoder.encode_descriptor("circuit_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        histogram.encode_histogram::<NoLabelSet>(durations.seconds(), durations.count(), &buckets, None)
    }

    fn encode_messages(&self, writer: &mut Writer<'_>, counts: &Counts) -> fmt::Result {
        let denials = Kind::ALL.iter().flat_map(|kind| {
            kind.reasons().iter().map(|reason| {
                let labels = [("kind", kind.name()), ("reason", reason.name())];
                (labels, counts.denials.get((*kind, *reason)))
            })
        });
        writer.counter("denials", "What was asked for and denied", None, denials)?;
        let rejected = [none(counts.requests_rejected)];
        let help = "What came as a request for a reservation or a circuit and was none";
        writer.counter("requests_rejected", help, None, rejected)?;
        let gossip = Topic::ALL.iter().flat_map(|topic| {
            Verdict::ALL.iter().map(|verdict| {
                let labels = [("topic", topic.name()), ("outcome", verdict.name())];
                (labels, counts.gossip.get((*topic, *verdict)))
            })
        });
        writer.counter("gossip_messages", "Gossip messages with a good signature", None, gossip)?;
        let tokens = counts
            .tokens
            .iter()
            .map(|(outcome, count)| ([("outcome", outcome)], count));
        writer.counter("tokens", "Access tokens that were presented", None, tokens)?;
        let withdrawn =
            Reason::access().map(|reason| ([("reason", reason.name())], counts.access_withdrawn.get(reason)));
        let help = "Connections that were closed because their peers may not be here any longer";
        writer.counter("access_withdrawn", help, None, withdrawn)?;
        let stun = self
            .report
            .stun
            .iter()
            .map(|(outcome, count)| ([("outcome", outcome)], count));
        writer.counter("stun_datagrams", "Datagrams at STUN sockets", None, stun)
    }
}

fn encode_connections(writer: &mut Writer<'_>, counts: &Counts) -> fmt::Result {
    for (name, help, tally) in [
        (
            "connections_opened",
            "Connections that were established",
            &counts.connections_opened,
        ),
        (
            "connections_closed",
            "Established connections that have ended",
            &counts.connections_closed,
        ),
        (
            "connections_refused",
            "Incoming connections that were denied",
            &counts.connections_refused,
        ),
        (
            "connections_failed",
            "Incoming connections that came to nothing",
            &counts.connections_failed,
        ),
    ] {
        let samples = tally
            .iter()
            .map(|(transport, count)| ([("transport", transport)], count));
        writer.counter(name, help, None, samples)?;
    }
    Ok(())
}

fn encode_reservations(writer: &mut Writer<'_>, counts: &Counts) -> fmt::Result {
    let accepted = [none(counts.reservations_accepted)];
    writer.counter(
        "reservations_accepted",
        "Connections that got a reservation",
        None,
        accepted,
    )?;
    let renewed = [none(counts.reservations_renewed)];
    writer.counter("reservations_renewed", "Renewals of reservations", None, renewed)?;
    let ended = counts
        .reservations_ended
        .iter()
        .map(|(end, count)| ([("reason", end)], count));
    writer.counter(
        "reservations_ended",
        "Connections that lost their reservation",
        None,
        ended,
    )
}

impl Collector for Usage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder };
        let resident = [none(self.resident)];
        writer.gauge("resident_memory", "Resident memory size", Some(&Unit::Bytes), resident)?;
        writer.gauge("open_fds", "Open file descriptors", None, [none(self.descriptors)])?;
        if let Some(most) = self.max_descriptors {
            writer.gauge("max_fds", "Open file descriptors at most", None, [none(most)])?;
        }
        let started = [none(self.started)];
        writer.gauge("start_time", "Start time in Unix time", Some(&Unit::Seconds), started)?;
        let encoder = &mut writer.encoder;
        let cpu = encoder.encode_descriptor("cpu", "Processor time", Some(&Unit::Seconds), MetricType::Counter);
        ConstCounter::new(self.cpu_seconds).encode(cpu?)
    }
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A sample without labels.
fn none<V>(value: V) -> (Labels<0>, V) {
    ([], value)
}

struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    fn gauge<const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<N>, V)>,
    ) -> fmt::Result {
        self.family(name, help, unit, samples, ConstGauge::new)
    }

    fn counter<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, unit, samples, ConstCounter::new)
    }

    fn family<const N: usize, V, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<N>, V)>,
        metric: impl Fn(V) -> M,
    ) -> fmt::Result {
        let mut samples = samples
            .into_iter()
            .map(|(labels, value)| (labels, metric(value)))
            .peekable();
        let Some((_, first)) = samples.peek() else {
            return Ok(());
        };
        let kind = first.metric_type();
        let mut family = self.encoder.encode_descriptor(name, help, unit, kind)?;
        for (labels, metric) in samples {
            if labels.is_empty() {
                return metric.encode(family);
            }
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
