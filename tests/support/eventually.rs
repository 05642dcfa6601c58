//! Waiting for something to become true, within a bound, and saying what was seen when it did not.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// How often a wait looks again. Short against every bound in the stories, long against one look.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A wait ran out of time.
#[derive(Debug)]
pub struct NotInTime {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub within: Duration,
    /// What the last look saw.
    pub last_seen: String,
}

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not within {:?}: {}\n  last seen: {}",
            self.within, self.what, self.last_seen
        )
    }
}

impl std::error::Error for NotInTime {}

/// What one look saw.
pub enum Look<T> {
    /// It is there.
    There(T),
    /// Not yet; this is what is there instead.
    NotYet(String),
}

/// Looks again and again until `look` finds what it waits for, fails, or `within` has passed.
///
/// There is always at least one look, and one begins no later than `within`.
///
/// # Errors
/// [`NotInTime`] with the last sight, or the error of `look` itself, which ends the wait at once.
pub async fn eventually<T>(
    within: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        let last_seen = match look().await? {
            Look::There(found) => return Ok(found),
            Look::NotYet(seen) => seen,
        };
        if began.elapsed() >= within {
            return Err(NotInTime {
                what: what.to_owned(),
                within,
                last_seen,
            }
            .into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_it_never_comes_the_error_says_what_was_seen_last() {
        let mut looks = 0;
        let error = eventually(Duration::from_millis(120), "the moon", async || {
            looks += 1;
            Ok(Look::<()>::NotYet(format!("cloud {looks}")))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(looks >= 2, "{looks}");
        assert!(
            error.contains("the moon") && error.contains(&format!("cloud {looks}")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn when_it_comes_late_it_is_returned() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            Ok(if looks == 3 {
                Look::There(looks)
            } else {
                Look::NotYet(looks.to_string())
            })
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }

    #[tokio::test]
    async fn when_a_look_fails_the_wait_ends_at_once() {
        let began = Instant::now();
        let error = eventually(Duration::from_secs(60), "nothing", async || {
            Err::<Look<()>, _>(anyhow::anyhow!("the window is gone"))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "the window is gone");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
