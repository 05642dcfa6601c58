//! peer_book
