//! What the page's port answers over HTTP, and what it does not.

use std::fs;

use crate::support::{TestRelay, exchange, get, request};

const INDEX: &str = "<!doctype html><script type=module>start()</script><p>hello";

async fn relay_with_page() -> TestRelay {
    TestRelay::start_with(|config| {
        let page = config.page.as_deref().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(page.join(name), content).unwrap();
        fs::create_dir(page).unwrap();
        write("index.html", INDEX.as_bytes());
        write("app-0123456789abcdef_bg.wasm", &[0; 50_000]);
        write(
            "app-0123456789abcdef.js",
            "export default 1;\n".repeat(1_000).as_bytes(),
        );
        write("manifest.webmanifest", b"{}");
        write("icon.svg", b"<svg/>");
        config
    })
    .await
}

#[tokio::test]
async fn every_path_has_its_status_type_and_caching() {
    let relay = relay_with_page().await;
    let server = relay.relay.http_addr();
    let immutable = "public, max-age=31536000, immutable";
    for (path, status, content_type, cache) in [
        ("/", 200, "text/html; charset=utf-8", "no-cache"),
        ("/index.html", 200, "text/html; charset=utf-8", "no-cache"),
        ("/?relay=/ip4/1.2.3.4#x", 200, "text/html; charset=utf-8", "no-cache"),
        ("/app-0123456789abcdef_bg.wasm", 200, "application/wasm", immutable),
        (
            "/app-0123456789abcdef.js",
            200,
            "text/javascript; charset=utf-8",
            immutable,
        ),
        ("/manifest.webmanifest", 200, "application/manifest+json", "no-cache"),
        ("/icon.svg", 200, "image/svg+xml", "no-cache"),
        ("/relay.json", 200, "application/json", "no-store"),
        ("/healthz", 200, "text/plain; charset=utf-8", ""),
        ("/readyz", 200, "text/plain; charset=utf-8", ""),
        ("/nowhere", 404, "text/plain; charset=utf-8", "no-cache"),
        ("/../identity.key", 404, "text/plain; charset=utf-8", "no-cache"),
        ("/%2e%2e/identity.key", 404, "text/plain; charset=utf-8", "no-cache"),
        ("//etc/passwd", 404, "text/plain; charset=utf-8", "no-cache"),
    ] {
        let answer = get(server, path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), content_type, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    }
    assert!(get(server, "/nowhere", "").await.body.len() < 100);
}

#[tokio::test]
async fn the_page_allows_its_own_inline_script_and_nothing_else() {
    let relay = relay_with_page().await;
    let answer = get(relay.relay.http_addr(), "/", "").await;
    let policy = answer.header("content-security-policy");
    // printf 'start()' | openssl dgst -sha256 -binary | base64
    let script = "script-src 'self' 'wasm-unsafe-eval' 'sha256-DIm7WJS6ZKDYe5qFLPy+h4JFI9Bol5QmYC57mt3Fb00=';";
    assert!(policy.contains(script), "{policy}");
    for part in [
        "default-src 'none'",
        "style-src 'self'",
        "connect-src 'self' ws: wss:",
        "img-src 'self' data:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(
            policy.split(';').any(|directive| directive.trim() == part),
            "{part} is not in {policy}"
        );
    }
    assert_eq!(answer.text(), INDEX);
}

#[tokio::test]
async fn when_a_client_takes_compression_or_has_the_file_it_is_not_sent_whole() {
    let relay = relay_with_page().await;
    let server = relay.relay.http_addr();
    let path = "/app-0123456789abcdef_bg.wasm";
    let plain = get(server, path, "").await;
    assert_eq!((plain.header("content-encoding"), plain.body.len()), ("", 50_000));
    for coding in ["br", "gzip"] {
        let answer = get(server, path, &format!("accept-encoding: {coding}\r\n")).await;
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert!(answer.body.len() < 500, "{} bytes", answer.body.len());
    }
    let known = get(server, path, &format!("if-none-match: {}\r\n", plain.header("etag"))).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let other = get(server, path, "if-none-match: W/\"other\"\r\n").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn relay_json_names_the_relay_and_every_address_to_everybody() {
    let relay = TestRelay::start().await;
    let answer = get(
        relay.relay.http_addr(),
        "/relay.json",
        "origin: https://elsewhere.example\r\n",
    )
    .await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-expose-headers"), "Date");
    assert!(answer.header("date").ends_with("GMT"), "{answer:?}");

    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let peer = relay.relay.peer_id().to_string();
    assert_eq!(json["peerId"], peer);
    assert_eq!(json["topics"], serde_json::json!(["p2p-discovery"]));
    let stun = format!("stun:{}", relay.relay.stun_addrs()[0]);
    assert_eq!(json["stun"], serde_json::json!([stun]));
    assert_eq!(json["relays"], serde_json::json!([]));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let addresses: Vec<_> = json["addrs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| address.as_str().unwrap())
        .collect();
    let port = relay.relay.http_addr().port();
    assert_eq!(addresses[0], format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{peer}"));
    assert!(addresses[1].contains("/webrtc-direct/certhash/uEi"), "{addresses:?}");
    assert!(addresses[2].contains("/quic-v1/"), "{addresses:?}");
    assert!(addresses[3].contains("/tcp/"), "{addresses:?}");
    assert_eq!(addresses.len(), 4);
    assert!(
        addresses
            .iter()
            .all(|address| address.ends_with(&format!("/p2p/{peer}"))),
        "{addresses:?}"
    );
}

#[tokio::test]
async fn when_the_relay_restarts_its_addresses_are_the_same() {
    let first = TestRelay::start().await;
    let config = native_relay::Config {
        http: Some(first.relay.http_addr()),
        listen: first
            .relay
            .listening()
            .iter()
            .filter_map(|address| {
                let without_hash = address
                    .iter()
                    .filter(|part| !matches!(part, libp2p::multiaddr::Protocol::Certhash(_)));
                without_hash.collect::<libp2p::Multiaddr>().to_string().parse().ok()
            })
            .collect(),
        ..native_relay::Config::ephemeral(first.dir.path().to_owned())
    };
    let addresses = first.relay.addresses().to_vec();
    first.relay.shutdown().await;
    let second = native_relay::Relay::start(config).await.unwrap();
    assert_eq!(second.addresses(), addresses);
}

#[tokio::test]
async fn when_there_is_no_page_the_answer_tells_how_to_build_it() {
    let relay = TestRelay::start().await;
    let answer = get(relay.relay.http_addr(), "/", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(
        answer.text().contains("trunk build") && answer.text().contains("--page"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn when_a_request_is_too_large_or_makes_no_sense_it_is_refused() {
    let relay = TestRelay::start().await;
    let server = relay.relay.http_addr();
    let long = "a".repeat(20_000);
    for (what, status, head) in [
        ("a long header", 431, format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n")),
        ("a long path", 431, format!("GET /{long} HTTP/1.1\r\n\r\n")),
        (
            "a large body",
            413,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n".to_owned(),
        ),
        (
            "another method",
            405,
            "DELETE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(),
        ),
        (
            "another upgrade",
            426,
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("no request", 400, "NONSENSE /\r\n\r\n".to_owned()),
    ] {
        assert_eq!(request(server, &head).await.status, status, "{what}");
    }
    assert_eq!(get(server, "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn when_a_later_request_of_a_connection_is_too_large_or_an_upgrade_it_is_refused() {
    let relay = TestRelay::start().await;
    let first = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for (second, status) in [
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(40_000)),
            "HTTP/1.1 431",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_owned(),
            "HTTP/1.1 426",
        ),
    ] {
        let answers = exchange(relay.relay.http_addr(), format!("{first}{second}").as_bytes()).await;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        assert!(
            answers.starts_with("HTTP/1.1 200") && answers.contains(status),
            "{answers}"
        );
    }
}

#[tokio::test]
async fn when_the_first_bytes_are_not_http_the_connection_is_closed_unanswered() {
    let relay = TestRelay::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\x13/multistream/1.0.0\n",
        &[0xff; 100_000],
    ] {
        assert_eq!(exchange(relay.relay.http_addr(), garbage).await, b"");
    }
    assert_eq!(get(relay.relay.http_addr(), "/healthz", "").await.status, 200);
}
