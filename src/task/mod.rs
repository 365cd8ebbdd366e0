//! One task (Flink: `StreamTask`): what stands between its channels and its operators.
//!
//! - [`subtask`]: the machine that a task manager mounts: all of the below, driven one record or
//!   one message at a time;
//! - [`barrier`]: the input side: gates, and the handlers that decide when to block, trigger,
//!   abort and persist;
//! - [`credit`]: who may have how many buffers in flight;
//! - [`router`]: which output channels a record takes;
//! - [`subpartition`]: the output side of one channel: queue, credit, and the buffers that an
//!   unaligned barrier overtakes;
//! - [`snapshots`]: what the snapshots under way still wait for.

pub mod barrier;
pub mod credit;
pub mod debloat;
pub mod router;
pub mod snapshots;
pub mod subpartition;
pub mod subtask;

mod channel_set;
mod commits;
mod gate;
mod pool;
mod prioritized;
mod rounds;
mod turns;
mod valve;
