//! Which STUN servers the page asks: those of its relay, or those that the user names as `?stun=`. Pure.
//!
//! A server learns our address and that we are about to connect to somebody, so nobody else's is asked. The rule for
//! hosts is that of relay addresses: a page asks nothing nearer to the user's machine than itself.

use super::{Host, PageOrigin, RelayDocument};

/// Servers asked for each connection; browsers warn when there are five.
const MAX_SERVERS: usize = 4;
/// The longest URI that is looked at: a host name has at most 253 characters.
const MAX_URI_BYTES: usize = 280;

/// The servers of the relay that serves the page: of those at the page's own host, the first ones.
pub(crate) fn from_document(origin: &PageOrigin, document: &RelayDocument) -> Vec<String> {
    let fits = |uri: &&String| host_of(uri).is_some_and(|host| may_ask(origin, &host));
    let mut servers: Vec<&String> = document.stun.iter().filter(fits).collect();
    // Stable: among equals the relay's own order stands.
    servers.sort_by_key(|uri| host_of(uri).as_ref() != Some(&origin.host));
    servers.into_iter().take(MAX_SERVERS).cloned().collect()
}

/// The servers that the values name, `stun:` in front or not, and those values that name none.
pub(crate) fn from_parameters(values: &[String]) -> (Vec<String>, Vec<String>) {
    let mut servers = Vec::new();
    let mut unusable = Vec::new();
    for value in values {
        let value = value.trim();
        let uri = if value.starts_with("stun:") {
            value.to_owned()
        } else {
            format!("stun:{value}")
        };
        if servers.len() < MAX_SERVERS && host_of(&uri).is_some() {
            servers.push(uri);
        } else {
            unusable.push(value.to_owned());
        }
    }
    unusable.truncate(MAX_SERVERS);
    (servers, unusable)
}

fn may_ask(origin: &PageOrigin, host: &Host) -> bool {
    host.scope() <= origin.host.scope()
}

/// The host of `stun:HOST[:PORT]` (RFC 7064). `None` if it is no such URI: browsers refuse every connection for a bad one.
fn host_of(uri: &str) -> Option<Host> {
    let rest = uri.strip_prefix("stun:").filter(|_| uri.len() <= MAX_URI_BYTES)?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(six) => {
            let (host, port) = six.split_once(']')?;
            let number = host.parse::<std::net::Ipv6Addr>().ok()?;
            (Host::Ip(number.into()), port)
        }
        None => {
            let at = rest.find(':').unwrap_or(rest.len());
            let (host, port) = rest.split_at(at);
            let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            if host.is_empty() || !host.chars().all(is_host) {
                return None;
            }
            (Host::parse(host)?, port)
        }
    };
    let port_fits = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let fits = port.is_empty() || port.strip_prefix(':').is_some_and(port_fits);
    fits.then_some(host)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{super::Reach, *};

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn asked(page: &str, stun: &[&str]) -> Vec<String> {
        let origin = PageOrigin::new("http", page, 80).unwrap();
        let document = RelayDocument {
            peer: RELAY.parse().unwrap(),
            addrs: Vec::new(),
            stun: stun.iter().map(|&uri| uri.to_owned()).collect(),
            relays: Vec::new(),
            reach: Reach::Direct,
        };
        from_document(&origin, &document)
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_relay_lists_servers_those_of_the_pages_own_host_come_first() {
        let listed = ["stun:203.0.113.9:3478", "stun:[2001:db8::1]:3478", "stun:relay.example"];
        let own_first = ["stun:relay.example", "stun:203.0.113.9:3478", "stun:[2001:db8::1]:3478"];
        assert_eq!(asked("relay.example", &listed), own_first);
        assert_eq!(asked("[2001:db8::1]", &listed)[0], "stun:[2001:db8::1]:3478");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_server_is_nearer_than_the_page_it_is_not_asked() {
        let listed = ["stun:127.0.0.1:3478", "stun:192.168.1.9:3478", "stun:203.0.113.9:3478"];
        assert_eq!(asked("203.0.113.1", &listed).len(), 1);
        assert_eq!(asked("192.168.1.1", &listed).len(), 2);
        assert_eq!(asked("127.0.0.1", &listed).len(), 3);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_there_are_many_the_first_few_are_asked() {
        let many: Vec<String> = (1..20).map(|port| format!("stun:203.0.113.9:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(asked("203.0.113.9", &many).len(), MAX_SERVERS);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_value_names_no_server_it_is_said() {
        let values = [
            "stun:203.0.113.9",
            "relay.example:3478",
            "[2001:db8::1]:1",
            "",
            "a b",
            "turn:x",
            "stun:x:0",
            "[::1",
        ];
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let (servers, unusable) = from_parameters(&values);
        assert_eq!(
            servers,
            ["stun:203.0.113.9", "stun:relay.example:3478", "stun:[2001:db8::1]:1"]
        );
        assert_eq!(unusable, ["", "a b", "turn:x", "stun:x:0"]);
    }
}
