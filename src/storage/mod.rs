//! What is stored, under which name, in which bytes. In Flink: `runtime.checkpoint.metadata`,
//! `runtime.state.filesystem`.

pub mod channel_state;
pub mod layout;
pub mod metadata;
