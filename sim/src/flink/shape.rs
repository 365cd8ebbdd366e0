//! The shape of a job: its vertices, and which of them feed which.
//!
//! Flink: `JsonPlanGenerator`, the answer to `/jobs/:jobid/plan`. A vertex is a chain of operators.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::file::{self, FileError};

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
    /// Its name, such as `enrich -> sink: Writer`.
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
    /// The plan contradicts itself.
    #[error("{path}: {problem}")]
    Plan {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: PlanError,
    },
}

/// What a plan can get wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No vertex at all.
    #[error("the plan has no nodes; expected the answer to /jobs/:jobid/plan")]
    Empty,
    /// Two vertices with one id.
    #[error("two nodes have the id \"{0}\"")]
    Twins(String),
    /// An input from nowhere.
    #[error("node \"{node}\" has an input from \"{id}\", and no node has that id")]
    Unknown {
        /// The node.
        node: String,
        /// The id.
        id: String,
    },
    /// No subtasks.
    #[error("node \"{0}\" has parallelism 0; expected at least 1")]
    Parallelism(String),
    /// A loop; plans of Flink 2 have none.
    #[error("the nodes {} feed each other in a circle", .0.join(", "))]
    Cycle(Vec<String>),
    /// A batch job takes no checkpoints.
    #[error("the job is of type {0}; only STREAMING jobs take checkpoints")]
    Batch(String),
}

/// The answer to `/jobs/:jobid/plan`, or the part `plan` of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Wrapped { plan: Plan },
    Bare(Plan),
}

/// A plan.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
struct Node {
    id: String,
    parallelism: u32,
    #[serde(default)]
    description: String,
    #[serde(default)]
    inputs: Vec<NodeInput>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeInput {
    #[serde(default)]
    num: u32,
    id: String,
    ship_strategy: Option<String>,
}

impl Shape {
    /// Reads a file with a job's plan.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn read(path: &Path) -> Result<Self, ShapeError> {
        let answer: Answer = file::read(path, "the answer to /jobs/:jobid/plan")?;
        let (Answer::Wrapped { plan } | Answer::Bare(plan)) = answer;
        let path = path.display().to_string();
        Self::of(plan).map_err(|problem| ShapeError::Plan { path, problem })
    }

    /// The shape of a plan.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn of(plan: Plan) -> Result<Self, PlanError> {
        if let Some(kind) = plan.kind.filter(|kind| kind != "STREAMING") {
            return Err(PlanError::Batch(kind));
        }
        if plan.nodes.is_empty() {
            return Err(PlanError::Empty);
        }
        let nodes = sorted(plan.nodes)?;
        let place: BTreeMap<&str, usize> =
            nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
        let vertex = |node: &Node| {
            if node.parallelism == 0 {
                return Err(PlanError::Parallelism(node.id.clone()));
            }
            let mut inputs: Vec<&NodeInput> = node.inputs.iter().collect();
            inputs.sort_by_key(|input| input.num);
            let inputs = inputs.iter().map(|input| Input {
                from: place[input.id.as_str()],
                strategy: input.ship_strategy.clone(),
            });
            Ok(Vertex {
                id: node.id.clone(),
                name: plain(&node.description),
                parallelism: node.parallelism,
                max_parallelism: None,
                inputs: inputs.collect(),
            })
        };
        let vertices = nodes.iter().map(vertex).collect::<Result<_, _>>()?;
        Ok(Self { name: plan.name, vertices })
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

/// Inputs first; nodes that could go either way keep their order.
fn sorted(nodes: Vec<Node>) -> Result<Vec<Node>, PlanError> {
    let mut ids = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if ids.insert(node.id.clone(), index).is_some() {
            return Err(PlanError::Twins(node.id.clone()));
        }
    }
    for node in &nodes {
        if let Some(input) = node.inputs.iter().find(|input| !ids.contains_key(&input.id)) {
            let (node, id) = (node.id.clone(), input.id.clone());
            return Err(PlanError::Unknown { node, id });
        }
    }
    let mut left = nodes;
    let mut done: Vec<Node> = Vec::with_capacity(left.len());
    let mut placed = std::collections::BTreeSet::new();
    while !left.is_empty() {
        let ready = |node: &Node| node.inputs.iter().all(|input| placed.contains(&input.id));
        let (now, later): (Vec<Node>, Vec<Node>) = left.into_iter().partition(ready);
        if now.is_empty() {
            return Err(PlanError::Cycle(later.into_iter().map(|node| node.id).collect()));
        }
        placed.extend(now.iter().map(|node| node.id.clone()));
        done.extend(now);
        left = later;
    }
    Ok(done)
}

/// A description without what `JsonPlanGenerator` does for browsers.
fn plain(description: &str) -> String {
    let mut text = description.replace("<br/>", " ");
    for (entity, sign) in
        [("&gt;", ">"), ("&lt;", "<"), ("&quot;", "\""), ("&#92;", "\\"), ("&amp;", "&")]
    {
        text = text.replace(entity, sign);
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: &str) -> Result<Shape, PlanError> {
        let text = format!(r#"{{"name": "job", "type": "STREAMING", "nodes": {nodes}}}"#);
        Shape::of(serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn inputs_come_first_and_names_are_plain() {
        let shape = of(r#"[
            {"id": "c", "parallelism": 2, "description": "a -&gt; b<br/>", "inputs": [{"num": 0, "id": "s", "ship_strategy": "HASH"}]},
            {"id": "s", "parallelism": 1, "description": "Source: s"}
        ]"#)
        .expect("a plan");
        let names: Vec<&str> = shape.vertices.iter().map(|of| of.name.as_str()).collect();
        assert_eq!(names, ["Source: s", "a -> b"]);
        assert_eq!(
            shape.vertices[1].inputs,
            [Input { from: 0, strategy: Some("HASH".to_owned()) }]
        );
        assert_eq!(shape.depths(), [0, 1]);
        assert!(shape.is_end(1) && !shape.is_end(0));
    }

    #[test]
    fn what_a_plan_gets_wrong_is_named() {
        let node = |id: &str, input: &str| {
            format!(r#"{{"id": "{id}", "parallelism": 1, "inputs": [{{"id": "{input}"}}]}}"#)
        };
        let circle = ["a".to_owned(), "b".to_owned()];
        for (nodes, error) in [
            ("[]".to_owned(), PlanError::Empty),
            (
                format!("[{}]", node("a", "x")),
                PlanError::Unknown { node: "a".to_owned(), id: "x".to_owned() },
            ),
            (
                format!("[{}, {}]", node("a", "b"), node("b", "a")),
                PlanError::Cycle(circle.to_vec()),
            ),
            (
                r#"[{"id": "a", "parallelism": 1}, {"id": "a", "parallelism": 1}]"#.to_owned(),
                PlanError::Twins("a".to_owned()),
            ),
            (
                r#"[{"id": "a", "parallelism": 0}]"#.to_owned(),
                PlanError::Parallelism("a".to_owned()),
            ),
        ] {
            assert_eq!(of(&nodes), Err(error), "{nodes}");
        }
    }
}
