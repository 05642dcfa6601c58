//! announcement
