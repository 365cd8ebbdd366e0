//! The protocol against what a real Flink did, and in simulated worlds: all tests of it in one
//! binary, which is linked once.

mod backpressure;
mod chains;
mod changelog;
mod clocks;
mod event_time;
mod failover;
mod forced_aligned;
mod hot_keys;
mod leadership;
mod list_state;
mod local_recovery;
mod loops;
mod lost_messages;
mod model_tables;
mod operators;
mod options;
mod partitions;
mod policies;
mod properties;
mod random_topologies;
mod regressions;
mod rescaling;
mod savepoints;
mod sinks;
mod start_position;
mod storage;
mod support;
mod vectors_barrier;
mod vectors_coordinator;
