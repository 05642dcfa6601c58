//! `localStorage` and `sessionStorage`, either of which a browser may refuse to hand out.

/// A store that the browser granted.
pub(crate) struct Store(web_sys::Storage);

/// The browser would not keep the value: the quota is used up, or it keeps nothing at all (a private window).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the browser refuses to keep the value")]
pub(crate) struct StorageFull;

impl Store {
    /// Shared by every tab of this origin, kept for good. `None` where storage is blocked.
    pub(crate) fn local() -> Option<Self> {
        super::window().local_storage().ok().flatten().map(Self)
    }

    /// This tab's own; survives a reload, and is *copied* into a duplicated tab.
    pub(crate) fn session() -> Option<Self> {
        super::window().session_storage().ok().flatten().map(Self)
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.0.get_item(key).ok().flatten()
    }

    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), StorageFull> {
        self.0.set_item(key, value).map_err(|_| StorageFull)
    }

    pub(crate) fn remove(&self, key: &str) {
        // Removing fails only where reading does, and then nothing was there.
        let _ = self.0.remove_item(key);
    }

    /// Every key that begins with `prefix`, in order.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let count = self.0.length().unwrap_or(0);
        let mut keys: Vec<String> = (0..count)
            .filter_map(|index| self.0.key(index).ok().flatten())
            .filter(|key| key.starts_with(prefix))
            .collect();
        keys.sort();
        keys
    }
}
