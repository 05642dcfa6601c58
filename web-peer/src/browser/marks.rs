//! Points on the browser's own timeline, for the developer tools and the benchmark.

/// Sets the mark `name` now.
pub(crate) fn mark(name: &str) {
    if let Some(performance) = super::window().performance() {
        let _ = performance.mark(name);
    }
}
