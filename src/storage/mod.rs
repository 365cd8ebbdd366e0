//! What is stored, under which name, in which bytes, and which files may be deleted. In Flink:
//! `runtime.checkpoint.metadata`, `runtime.state.filesystem`, `SharedStateRegistry`.

pub mod changelog;
pub mod channel_state;
pub mod handle;
pub mod increment;
pub mod layout;
pub mod local;
pub mod metadata;
pub mod orphans;
pub mod registry;
mod sync;

pub use sync::SyncPolicy;
