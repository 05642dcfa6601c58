//! temp
use serde::{Deserialize, Serialize};
/// r
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SnapshotRequest {}
/// s
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {}
/// r
pub const MAX_REQUEST_SIZE: usize = 1024;
/// r
pub const MAX_SNAPSHOT_SIZE: usize = 64 * 1024;
