//! What addresses with `/webrtc` look like: how a listener advertises one, how a dial takes one apart, and which
//! addresses a direct connection carries. Text in, text out: it never dials and never judges where an address leads.
//!
//! | | address |
//! |---|---|
//! | a circuit | `<relay…>/p2p/<relay>/p2p-circuit/p2p/<target>` |
//! | advertised and dialled | `<relay…>/p2p/<relay>/p2p-circuit/webrtc/p2p/<target>` |
//! | an outbound direct connection | the one that was dialled: the swarm knows a connection by it |
//! | an inbound direct connection | local `/webrtc`, remote as if it had been dialled over the circuit that signalled it |
//! | one whose circuit is gone already | local `/webrtc`, remote `/webrtc/p2p/<remote>`, as js-libp2p has it |
//!
//! The local address of an inbound connection names no relay, because none carries it: [`ConnectedPoint::is_relayed`] then
//! says the truth. Of an outbound one it does not, since the dialled address leads through a circuit; [`is_direct`] does of
//! both. The remote address does name one: identify tells the other peer that this is how we see it, and js-libp2p gives
//! identify up when what it is told has neither an IP address nor a name in it.

use libp2p_core::{ConnectedPoint, Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// Whom a `/webrtc` address reaches, and over which circuit it is signalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `<relay…>/p2p/<relay>/p2p-circuit/p2p/<target>`: what to dial for signalling.
    pub circuit: Multiaddr,
    /// Who must answer there.
    pub peer: PeerId,
}

/// Why an address was not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// It has no `/webrtc` after a circuit. Another transport may know it.
    #[error("not an address of a browser behind a relay")]
    NotWebRtc,
    /// Nobody is named after `/webrtc`. Ask for the whole address.
    #[error("the address does not say which peer it leads to")]
    NoTarget,
    /// No relay is named in front of `/p2p-circuit`. Ask for the whole address.
    #[error("the address does not say which relay it leads through")]
    NoRelay,
    /// It leads through a circuit inside a circuit, which relays refuse. Use another address.
    #[error("the address leads through more than one relay")]
    NestedCircuit,
    /// Something stands where nothing may: between `/p2p-circuit` and `/webrtc`, or after the target.
    #[error("the address is not of the form <relay>/p2p-circuit/webrtc/p2p/<peer>")]
    Malformed,
}

/// The address at which others reach `local` directly, signalled over this circuit address of its own, with or without
/// the final `/p2p/<local>`. `None`: not a circuit address, through no named or more than one relay, or somebody else's.
#[must_use]
pub fn advertise(circuit: &Multiaddr, local: PeerId) -> Option<Multiaddr> {
    let parts: Vec<Protocol<'_>> = circuit.iter().collect();
    let at = only_circuit(&parts).ok()?;
    match &parts[at + 1..] {
        [] => {}
        [Protocol::P2p(peer)] if *peer == local => {}
        _ => return None,
    }
    let ours = [Protocol::WebRTC, Protocol::P2p(local)];
    Some(parts[..=at].iter().cloned().chain(ours).collect())
}

/// Takes an advertised address apart.
///
/// # Errors
/// See [`SplitError`]. Only [`SplitError::NotWebRtc`] leaves the address to other transports.
pub fn split(address: &Multiaddr) -> Result<Target, SplitError> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    if !parts.contains(&Protocol::WebRTC) {
        return Err(SplitError::NotWebRtc);
    }
    let at = only_circuit(&parts)?;
    let peer = match &parts[at + 1..] {
        [Protocol::WebRTC, Protocol::P2p(peer)] => *peer,
        [Protocol::WebRTC] => return Err(SplitError::NoTarget),
        _ => return Err(SplitError::Malformed),
    };
    let circuit = parts[..=at].iter().cloned().chain([Protocol::P2p(peer)]).collect();
    Ok(Target { circuit, peer })
}

/// Whether a connection with this address is a direct `/webrtc` one: `/webrtc` is its last hop, whatever signalled it.
#[must_use]
pub fn is_direct(address: &Multiaddr) -> bool {
    let mut backwards: Vec<Protocol<'_>> = address.iter().collect();
    if matches!(backwards.last(), Some(Protocol::P2p(_))) {
        backwards.pop();
    }
    backwards.last() == Some(&Protocol::WebRTC)
}

/// [`is_direct`], of a connection.
#[must_use]
pub fn is_direct_endpoint(endpoint: &ConnectedPoint) -> bool {
    is_direct(endpoint.get_remote_address())
}

/// The local address of an inbound direct connection.
#[must_use]
pub fn inbound_local() -> Multiaddr {
    Multiaddr::empty().with(Protocol::WebRTC)
}

/// The remote address of an inbound direct connection whose circuit is gone already.
#[must_use]
pub fn inbound_remote(remote: PeerId) -> Multiaddr {
    inbound_local().with(Protocol::P2p(remote))
}

/// Where `/p2p-circuit` stands: once, directly after `/p2p/<relay>`.
fn only_circuit(parts: &[Protocol<'_>]) -> Result<usize, SplitError> {
    let mut circuits = (0..parts.len()).filter(|at| parts[*at] == Protocol::P2pCircuit);
    let at = circuits.next().ok_or(SplitError::NotWebRtc)?;
    if circuits.next().is_some() {
        return Err(SplitError::NestedCircuit);
    }
    match &parts[..at] {
        [way @ .., Protocol::P2p(_)] if way.contains(&Protocol::WebRTC) => Err(SplitError::Malformed),
        [.., Protocol::P2p(_)] => Ok(at),
        _ => Err(SplitError::NoRelay),
    }
}

#[cfg(test)]
mod tests;
