//! A node: the handle that an application holds, the events it reads, the loop it spawns.

mod command;
mod event;

pub use command::{Command, Nudge, Reach};
pub use event::Event;
