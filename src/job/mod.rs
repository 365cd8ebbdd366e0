//! The job: operators and edges, and what becomes of them when they are spread over subtasks.

mod graph;
pub mod key_groups;

pub use graph::{
    Channel, Edge, EdgeId, ExecutionGraph, Gate, JobGraph, JobGraphError, JobOperator, OutputEdge,
    Partitioner,
};
