//! A directory of REST answers, one file an endpoint, as `cutline calibrate --print-curl` makes it.
//!
//! | file | answer to | needed |
//! | --- | --- | --- |
//! | `job.json` | `/jobs/:jobid` | yes |
//! | `plan.json` | `/jobs/:jobid/plan` | no: without it and `plan` in `job.json`, vertices are a chain |
//! | `checkpoints.json` | `/jobs/:jobid/checkpoints` | yes |
//! | `checkpoints-config.json` | `/jobs/:jobid/checkpoints/config` | yes |
//! | `jobmanager-config.json` | `/jobmanager/config` | yes |
//! | `exceptions.json` | `/jobs/:jobid/exceptions` | yes |
//! | `details-N.json` | `/jobs/:jobid/checkpoints/details/N` | no: `checkpoints.json` has the last ones |
//! | `details-N-subtasks-V.json` | `…/details/N/subtasks/V` | of one N at least, and then of each vertex |
//! | `backpressure-V.json` | `/jobs/:jobid/vertices/V/backpressure` | of all vertices or of none |
//! | `subtasktimes-V.json` | `/jobs/:jobid/vertices/V/subtasktimes` | of all vertices or of none |
//!
//! `V` is the first eight digits of a vertex's id, or all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::answers::{
    Backpressure, Checkpoint, CheckpointConfig, Checkpoints, ConfigEntry, Exceptions, Job,
    SubtaskTimes, Subtasks,
};
use super::file::{self, FileError};
use super::shape::{Shape, ShapeError, Vertex};

/// All that a dump holds.
#[derive(Clone, Debug)]
pub struct Dump {
    /// The job.
    pub job: Job,
    /// Its vertices and their exchanges.
    pub shape: Shape,
    /// Whether the exchanges come from a plan.
    pub has_plan: bool,
    /// Its checkpoints in numbers, and the last ones.
    pub checkpoints: Checkpoints,
    /// Every checkpoint that a file tells of, by number.
    pub rows: BTreeMap<u64, Checkpoint>,
    /// Its options.
    pub config: CheckpointConfig,
    /// The cluster's options.
    pub cluster: Vec<ConfigEntry>,
    /// Its failures.
    pub exceptions: Exceptions,
    /// By checkpoint and vertex (its index in the shape).
    pub details: BTreeMap<(u64, usize), Subtasks>,
    /// By vertex; empty if nobody asked.
    pub backpressure: BTreeMap<usize, Backpressure>,
    /// By vertex; empty if nobody asked.
    pub times: BTreeMap<usize, SubtaskTimes>,
}

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// No directory, or an unreadable one.
    #[error("cannot read the directory {path}: {error}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Files that a dump must have.
    #[error(
        "{path} is no complete dump:\n{}\n`cutline calibrate --print-curl HOST:PORT` prints the requests that make one",
        listed(missing)
    )]
    Missing {
        /// The directory.
        path: String,
        /// Each file, and the endpoint that answers it.
        missing: Vec<(String, String)>,
    },
    /// A file of another job, or of a vertex that the job does not have.
    #[error("{path}: the job has no vertex whose id begins with \"{vertex}\"; it has {}", known.join(", "))]
    Vertex {
        /// The file.
        path: String,
        /// The vertex in its name.
        vertex: String,
        /// Those of the job, shortened.
        known: Vec<String>,
    },
    /// The plan and the job do not go together.
    #[error("{path}: the plan has vertices that the job does not have, or the other way round")]
    OtherPlan {
        /// The directory.
        path: String,
    },
    /// A job of nothing.
    #[error("{path}: the job has no vertices")]
    NoVertices {
        /// The file.
        path: String,
    },
    /// A vertex of nothing.
    #[error("{path}: vertex \"{vertex}\" has parallelism 0; expected at least 1")]
    NoSubtasks {
        /// The file.
        path: String,
        /// Its id.
        vertex: String,
    },
    /// A plan that cannot be used.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A file that cannot be understood.
    #[error(transparent)]
    File(#[from] FileError),
}

fn listed(missing: &[(String, String)]) -> String {
    let lines = missing.iter().map(|(file, endpoint)| format!("  {file} is missing ({endpoint})"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The files that every dump has.
const NEEDED: [(&str, &str); 5] = [
    ("job.json", "/jobs/:jobid"),
    ("checkpoints.json", "/jobs/:jobid/checkpoints"),
    ("checkpoints-config.json", "/jobs/:jobid/checkpoints/config"),
    ("jobmanager-config.json", "/jobmanager/config"),
    ("exceptions.json", "/jobs/:jobid/exceptions"),
];

/// Digits of a vertex's id in the name of a file.
const ID_SHOWN: usize = 8;

impl Dump {
    /// The value of one of the cluster's options.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.cluster.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    /// Reads a directory.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub fn read(path: &Path) -> Result<Self, DumpError> {
        let names = names(path)?;
        let directory = Directory { path, names: &names };
        directory.refuse_missing(NEEDED.iter().filter(|(name, _)| !directory.has(name)))?;
        let job: Job = directory.read("job.json", NEEDED[0].1)?;
        let checkpoints: Checkpoints = directory.read("checkpoints.json", NEEDED[1].1)?;
        let (shape, has_plan) = directory.shape(&job)?;
        let details = directory.details(&shape)?;
        Ok(Self {
            rows: directory.rows(&checkpoints)?,
            config: directory.read("checkpoints-config.json", NEEDED[2].1)?,
            cluster: directory.read("jobmanager-config.json", NEEDED[3].1)?,
            exceptions: directory.read("exceptions.json", NEEDED[4].1)?,
            backpressure: directory.by_vertex("backpressure", &shape)?,
            times: directory.by_vertex("subtasktimes", &shape)?,
            job,
            shape,
            has_plan,
            checkpoints,
            details,
        })
    }
}

/// The JSON files of a directory, sorted.
fn names(path: &Path) -> Result<Vec<String>, DumpError> {
    let fail = |error| DumpError::Directory { path: path.display().to_string(), error };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        names.extend(name.into_string().ok().filter(|name| name.ends_with(".json")));
    }
    names.sort();
    Ok(names)
}

struct Directory<'a> {
    path: &'a Path,
    names: &'a [String],
}

impl Directory<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|has| has == name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<T, DumpError> {
        Ok(file::read(&self.file(name), expected)?)
    }

    fn refuse_missing<'n>(
        &self,
        missing: impl Iterator<Item = &'n (&'n str, &'n str)>,
    ) -> Result<(), DumpError> {
        let missing = missing.map(|(file, endpoint)| ((*file).to_owned(), (*endpoint).to_owned()));
        self.refuse(missing.collect())
    }

    fn refuse(&self, missing: Vec<(String, String)>) -> Result<(), DumpError> {
        let path = self.path.display().to_string();
        if missing.is_empty() { Ok(()) } else { Err(DumpError::Missing { path, missing }) }
    }

    /// The shape, with its vertices in the order of the plan, and whether a plan gave it.
    fn shape(&self, job: &Job) -> Result<(Shape, bool), DumpError> {
        let planned = match (&job.plan, self.has("plan.json")) {
            (_, true) => Some(Shape::read(&self.file("plan.json"))?),
            (Some(_), false) => Some(Shape::read(&self.file("job.json"))?),
            (None, false) => None,
        };
        let Some(mut shape) = planned else {
            let vertices = job.vertices.iter().map(|of| Vertex {
                id: of.id.clone(),
                name: of.name.clone(),
                parallelism: of.parallelism,
                max_parallelism: of.max_parallelism,
                inputs: Vec::new(),
            });
            let vertices: Vec<Vertex> = vertices.collect();
            let path = || self.file("job.json").display().to_string();
            if vertices.is_empty() {
                return Err(DumpError::NoVertices { path: path() });
            }
            if let Some(idle) = vertices.iter().find(|vertex| vertex.parallelism == 0) {
                return Err(DumpError::NoSubtasks { path: path(), vertex: idle.id.clone() });
            }
            return Ok((Shape::chain(job.name.clone(), vertices), false));
        };
        if shape.vertices.len() != job.vertices.len() {
            return Err(DumpError::OtherPlan { path: self.path.display().to_string() });
        }
        for vertex in &mut shape.vertices {
            let Some(of) = job.vertices.iter().find(|of| of.id == vertex.id) else {
                return Err(DumpError::OtherPlan { path: self.path.display().to_string() });
            };
            vertex.name.clone_from(&of.name);
            vertex.max_parallelism = of.max_parallelism;
        }
        Ok((Shape { name: job.name.clone(), ..shape }, true))
    }

    /// Checkpoints of the history, and those that files of their own tell of.
    fn rows(&self, checkpoints: &Checkpoints) -> Result<BTreeMap<u64, Checkpoint>, DumpError> {
        let history = checkpoints.history.iter().map(|row| (row.id, row.clone()));
        let mut rows: BTreeMap<u64, Checkpoint> = history.collect();
        for name in self.names {
            let number = name.strip_prefix("details-").and_then(|rest| rest.strip_suffix(".json"));
            let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            let row: Checkpoint =
                self.read(name, "/jobs/:jobid/checkpoints/details/:checkpointid")?;
            rows.entry(number).or_insert(row);
        }
        Ok(rows)
    }

    /// What each subtask did for some checkpoints.
    fn details(&self, shape: &Shape) -> Result<BTreeMap<(u64, usize), Subtasks>, DumpError> {
        let mut details = BTreeMap::new();
        for name in self.names {
            let parts = name.strip_prefix("details-").and_then(|rest| rest.strip_suffix(".json"));
            let Some((number, vertex)) = parts.and_then(|parts| parts.split_once("-subtasks-"))
            else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else { continue };
            let vertex = self.vertex(name, vertex, shape)?;
            let subtasks: Subtasks =
                self.read(name, "…/checkpoints/details/:checkpointid/subtasks/:vertexid")?;
            details.insert((number, vertex), subtasks);
        }
        let mut numbers: Vec<u64> = details.keys().map(|(number, _)| *number).collect();
        numbers.dedup();
        let mut missing = Vec::new();
        let endpoint = |number: &str, vertex: &str| {
            format!("/jobs/:jobid/checkpoints/details/{number}/subtasks/{vertex}")
        };
        if numbers.is_empty() {
            let name = "details-N-subtasks-V.json of each vertex V, for one checkpoint N at least";
            missing.push((name.to_owned(), endpoint(":checkpointid", ":vertexid")));
        }
        for number in numbers {
            for (index, vertex) in shape.vertices.iter().enumerate() {
                if !details.contains_key(&(number, index)) {
                    let name = format!("details-{number}-subtasks-{}.json", shown(&vertex.id));
                    missing.push((name, endpoint(&number.to_string(), &vertex.id)));
                }
            }
        }
        self.refuse(missing)?;
        Ok(details)
    }

    /// Answers about vertices: of all of them or of none.
    fn by_vertex<T: DeserializeOwned>(
        &self,
        of: &'static str,
        shape: &Shape,
    ) -> Result<BTreeMap<usize, T>, DumpError> {
        let mut answers = BTreeMap::new();
        for name in self.names {
            let vertex = name.strip_prefix(of).and_then(|rest| rest.strip_prefix('-'));
            let Some(vertex) = vertex.and_then(|rest| rest.strip_suffix(".json")) else { continue };
            let vertex = self.vertex(name, vertex, shape)?;
            answers.insert(vertex, self.read(name, "/jobs/:jobid/vertices/:vertexid/…")?);
        }
        let others = shape.vertices.iter().enumerate();
        let others =
            others.filter(|(index, _)| !answers.is_empty() && !answers.contains_key(index));
        let missing = others.map(|(_, vertex)| {
            let file = format!("{of}-{}.json", shown(&vertex.id));
            (file, format!("/jobs/:jobid/vertices/{}/{of}", vertex.id))
        });
        self.refuse(missing.collect())?;
        Ok(answers)
    }

    fn vertex(&self, name: &str, prefix: &str, shape: &Shape) -> Result<usize, DumpError> {
        let mut those =
            shape.vertices.iter().enumerate().filter(|(_, of)| of.id.starts_with(prefix));
        match (those.next(), those.next()) {
            (Some((index, _)), None) if !prefix.is_empty() => Ok(index),
            _ => Err(DumpError::Vertex {
                path: self.file(name).display().to_string(),
                vertex: prefix.to_owned(),
                known: shape.vertices.iter().map(|of| shown(&of.id).to_owned()).collect(),
            }),
        }
    }
}

/// The part of a vertex's id that names of files have.
fn shown(id: &str) -> &str {
    id.get(..ID_SHOWN).unwrap_or(id)
}
