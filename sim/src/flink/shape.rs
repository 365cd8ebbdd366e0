//! The shape of a job: its vertices, and which of them feed which.
//!
//! Flink: `JsonPlanGenerator`, the answer to `/jobs/:jobid/plan`. A vertex is a chain of operators.
//! `plan` reads that answer.

use std::path::Path;

use super::file::{self, FileError};
use super::plan;
use crate::scenario::Diagnostics;

/// A job's vertices, in an order in which every input comes before what it feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The job's name.
    pub name: String,
    /// The vertices.
    pub vertices: Vec<Vertex>,
}

/// A vertex of the job graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Flink's id of it.
    pub id: String,
    /// Its name, such as `enrich -> sink: Writer`: the operators of the chain.
    pub name: String,
    /// Parallel instances.
    pub parallelism: u32,
    /// Number of key groups, where it is known.
    pub max_parallelism: Option<u32>,
    /// What feeds it.
    pub inputs: Vec<Input>,
}

/// One input of a vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Index of the vertex that it comes from.
    pub from: usize,
    /// How records find their subtask; `None` if nobody said.
    pub strategy: Option<String>,
}

/// Why a plan has no shape.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// The file tells nothing.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no plan, or one that contradicts itself or is too large for a scenario.
    #[error("{0}")]
    Plan(Box<Diagnostics>),
}

impl Shape {
    /// Reads a file with a job's plan: the answer to `/jobs/:jobid/plan`, the part `plan` of it, or
    /// any object with such a part.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn read(path: &Path) -> Result<Self, ShapeError> {
        let bytes = file::bytes(path)?;
        plan::read(&bytes, &path.display().to_string()).map_err(ShapeError::Plan)
    }

    /// Vertices one behind the other, in the order in which they are given: what is left to suppose
    /// where nobody has a plan.
    #[must_use]
    pub fn chain(name: String, vertices: Vec<Vertex>) -> Self {
        let chained = vertices.into_iter().enumerate().map(|(index, vertex)| {
            let inputs = index.checked_sub(1).map(|from| Input { from, strategy: None });
            Vertex { inputs: inputs.into_iter().collect(), ..vertex }
        });
        Self { name, vertices: chained.collect() }
    }

    /// Whether nothing is fed by a vertex.
    #[must_use]
    pub fn is_end(&self, vertex: usize) -> bool {
        !self.vertices.iter().any(|of| of.inputs.iter().any(|input| input.from == vertex))
    }

    /// Exchanges on the longest way to each vertex.
    #[must_use]
    pub fn depths(&self) -> Vec<usize> {
        let mut depths: Vec<usize> = Vec::with_capacity(self.vertices.len());
        for vertex in &self.vertices {
            let deepest = vertex.inputs.iter().map(|input| depths[input.from] + 1).max();
            depths.push(deepest.unwrap_or(0));
        }
        depths
    }
}

impl Vertex {
    /// The operators of the chain, as far as its name tells them apart. Flink: `a -> (b , c)` is an
    /// operator that two others are chained to.
    pub fn operators(&self) -> impl Iterator<Item = &str> {
        let parts = self.name.split(" -> ").flat_map(|part| part.split(" , "));
        parts.map(|part| {
            let part = part.trim().trim_start_matches('(');
            let (opened, closed) = (part.matches('(').count(), part.matches(')').count());
            let beyond = closed.saturating_sub(opened);
            let end =
                part.char_indices().rev().take(beyond).last().map_or(part.len(), |(at, _)| at);
            part[..end].trim()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_of_a_chain_are_told_apart() {
        for (name, expected) in [
            ("count", &["count"][..]),
            ("Source: s -> Filter -> Sink: Writer", &["Source: s", "Filter", "Sink: Writer"]),
            ("a -> (b -> c , d)", &["a", "b", "c", "d"]),
            ("Calc(select=[a, b]) -> Rank(top=(1))", &["Calc(select=[a, b])", "Rank(top=(1))"]),
            ("", &[""]),
        ] {
            let inputs = Vec::new();
            let name = name.to_owned();
            let vertex =
                Vertex { id: String::new(), name, parallelism: 1, max_parallelism: None, inputs };
            assert_eq!(vertex.operators().collect::<Vec<_>>(), expected);
        }
    }
}
