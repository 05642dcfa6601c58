//! What must be read from and changed in the browser's own session description.

use libp2p_webrtc_utils::Fingerprint;

const SHA256_LENGTH: usize = 32;

/// The offer with the user name and password that the server expects: one string, chosen by the client, for both.
pub(super) fn with_credentials(offer: &str, credential: &str) -> String {
    let mut changed = String::with_capacity(offer.len() + 2 * credential.len());
    for line in offer.lines() {
        match line.split_once(':') {
            Some((name @ ("a=ice-ufrag" | "a=ice-pwd"), _)) => {
                changed.push_str(name);
                changed.push(':');
                changed.push_str(credential);
            }
            Some(_) | None => changed.push_str(line),
        }
        changed.push_str("\r\n");
    }
    changed
}

/// The hash of the browser's certificate, if it is a SHA-256 one (RFC 8122).
pub(super) fn fingerprint(description: &str) -> Option<Fingerprint> {
    let value = description.lines().find_map(|line| {
        let (algorithm, value) = line.strip_prefix("a=fingerprint:")?.split_once(' ')?;
        algorithm.eq_ignore_ascii_case("sha-256").then_some(value)
    })?;
    let bytes: Vec<u8> = value
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    let digest: [u8; SHA256_LENGTH] = bytes.try_into().ok()?;
    Some(Fingerprint::raw(digest))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=setup:actpass\r\n";

    #[wasm_bindgen_test(unsupported = test)]
    fn when_an_offer_gets_credentials_every_other_line_stays() {
        assert_eq!(
            with_credentials(OFFER, "libp2p+webrtc+v1/x"),
            "v=0\r\na=group:BUNDLE 0\r\na=ice-ufrag:libp2p+webrtc+v1/x\r\na=ice-pwd:libp2p+webrtc+v1/x\r\na=setup:actpass\r\n"
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_description_has_a_sha_256_fingerprint_it_is_read() {
        let hex = (0..32).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let expected: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let description = format!("{OFFER}a=fingerprint:sha-256 {hex}\r\n");
        assert_eq!(fingerprint(&description), Some(Fingerprint::raw(expected)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_description_has_no_usable_fingerprint_there_is_none() {
        for line in [
            "",
            "a=fingerprint:",
            "a=fingerprint:sha-1 00:11",
            "a=fingerprint:sha-256 00:11",
            "a=fingerprint:sha-256 zz",
        ] {
            assert_eq!(fingerprint(&format!("{OFFER}{line}\r\n")), None, "{line}");
        }
    }
}
