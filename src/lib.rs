//! The checkpointing protocol of modern stream processors (Apache Flink's, in its 2.x form) as
//! sans-IO state machines: no clock, no thread, no socket, no randomness inside.
//!
//! Every machine has an `Input` enum, an `Output` enum, `handle(now, input, &mut outputs)` and,
//! where it waits for time, `next_timeout()`. The simulated world that drives them is the crate
//! `cutline-sim`.

pub mod codec;
pub mod config;
pub mod coordinator;
pub mod defect;
pub mod ids;
pub mod job;
pub mod message;
pub mod operator;
pub mod restart;
pub mod step;
pub mod storage;
pub mod task;
pub mod time;
pub mod trigger;
