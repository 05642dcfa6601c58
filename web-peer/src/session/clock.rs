//! Whether the clock of this machine is wrong enough to break reservations. Pure.
//!
//! A reservation ends at a time of day that the relay names; a machine whose clock is minutes off renews too late.

/// Clocks this close are right enough: reservations last an hour and are renewed well before.
const TOLERATED_MILLIS: f64 = 120_000.0;

/// A clock that is wrong, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skew {
    /// Ours shows a later time than the relay's.
    Ahead(u64),
    /// Ours shows an earlier time than the relay's.
    Behind(u64),
}

/// Compares the relay's clock with ours, both in milliseconds since the Unix epoch.
pub(crate) fn skew(server_millis: f64, local_millis: f64) -> Option<Skew> {
    let ahead = local_millis - server_millis;
    // A cast from f64 saturates, and NaN fails the comparison.
    let minutes = (ahead.abs() / 60_000.0).round() as u64;
    if ahead > TOLERATED_MILLIS {
        Some(Skew::Ahead(minutes))
    } else if ahead < -TOLERATED_MILLIS {
        Some(Skew::Behind(minutes))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn clocks_that_differ_by_more_than_two_minutes_are_told_apart() {
        let now = 1_800_000_000_000.0;
        for (local, expected) in [
            (now, None),
            (now + 119_000.0, None),
            (now - 119_000.0, None),
            (now + 180_000.0, Some(Skew::Ahead(3))),
            (now - 600_000.0, Some(Skew::Behind(10))),
            (f64::NAN, None),
            (f64::INFINITY, Some(Skew::Ahead(u64::MAX))),
        ] {
            assert_eq!(skew(now, local), expected, "{local}");
        }
    }
}
