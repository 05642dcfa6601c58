//! Stories that cross crates, told with a real relay and real browsers.

mod driver;
