//! Clocks: the operating system's, and an engine time that never runs backwards.
//!
//! Everything below the engine takes time as an argument. Only [`SystemClock`] reads the clocks of
//! the operating system (a lint bans the calls elsewhere).

mod engine_time;
mod source;
mod system;

pub use engine_time::{ClockRules, EngineTime, Observer, START_STEP_MAX, Standing};
pub use source::Clock;
pub use system::{BUILD_DATE, SystemClock};
