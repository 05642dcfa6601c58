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

/// Whether the user should be told anew: a wrong clock was set right, went wrong, or is wrong by another amount. A minute
/// more or less is rounding, and a notice that was dismissed must not come back for it.
pub(crate) fn is_news(told: Option<Skew>, found: Option<Skew>) -> bool {
    match (told, found) {
        (Some(Skew::Ahead(told)), Some(Skew::Ahead(found))) | (Some(Skew::Behind(told)), Some(Skew::Behind(found))) => {
            told.abs_diff(found) > 1
        }
        (told, found) => told != found,
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

    #[wasm_bindgen_test(unsupported = test)]
    fn when_only_the_rounding_differs_the_user_is_not_told_again() {
        let (ahead, behind) = (
            |minutes| Some(Skew::Ahead(minutes)),
            |minutes| Some(Skew::Behind(minutes)),
        );
        for (told, found, expected) in [
            (None, None, false),
            (None, ahead(10), true),
            (ahead(10), None, true),
            (ahead(10), ahead(11), false),
            (ahead(10), ahead(9), false),
            (ahead(10), ahead(12), true),
            (behind(10), behind(10), false),
            (behind(10), ahead(10), true),
        ] {
            assert_eq!(is_news(told, found), expected, "{told:?} {found:?}");
        }
    }
}
