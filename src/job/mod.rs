//! The job: operators and edges, and what becomes of them when they are spread over subtasks.

pub mod assignment;
mod graph;
pub mod key_groups;
mod layout;
mod regions;
pub mod rescale;

pub use graph::{
    BadFeedback, Channel, Edge, EdgeId, ExecutionGraph, Feedback, Gate, JobGraph, JobGraphError,
    JobOperator, Loop, OutputEdge, Partitioner, Unchainable,
};
pub use layout::Layout;
pub use regions::Regions;
