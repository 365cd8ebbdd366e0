//! What a task does besides running its operator.

pub mod router;
