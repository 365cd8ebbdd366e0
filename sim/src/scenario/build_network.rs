//! The network: links that differ from the others, and the ends of links in general.

use super::diagnostic::{Diagnostic, Sink};
use super::model::{Endpoint, Link, Network};
use super::read::Node;

/// The network of a scenario. `cluster`: how many job managers and task managers there are, if that
/// is known.
pub(super) fn network(node: &Node, cluster: Option<(u32, u32)>, sink: &mut Sink) -> Network {
    let mut network = Network {
        latency: super::build::span(node, "latency"),
        bandwidth: node.integer("bandwidth").unwrap_or(0),
        control_latency: super::build::span(node, "control_latency"),
        links: Vec::new(),
    };
    let mut places: Vec<(&Node, Link)> = Vec::new();
    for node in node.list("links") {
        let Some((from, to)) = ends(node, cluster, sink) else { continue };
        let link = Link {
            from,
            to,
            latency: node.distribution("latency").unwrap_or(network.latency),
            bandwidth: node.integer("bandwidth").unwrap_or(network.bandwidth),
            control_latency: node
                .distribution("control_latency")
                .unwrap_or(network.control_latency),
        };
        if let Some((first, _)) = places.iter().find(|(_, other)| other.joins(from, to)) {
            let message = "these two processes have one link, and it was described before";
            let error = Diagnostic::error("duplicate-link", node.place("from"), message);
            sink.push(error.expected("each pair once").also(first.place("from"), "the first"));
            continue;
        }
        places.push((node, link));
    }
    network.links = places.into_iter().map(|(_, link)| link).collect();
    network
}

/// The fields `from` and `to`: two different processes that exist.
pub(super) fn ends(
    node: &Node,
    cluster: Option<(u32, u32)>,
    sink: &mut Sink,
) -> Option<(Endpoint, Endpoint)> {
    let [from, to] = ["from", "to"].map(|field| end(node, field, cluster, sink));
    let ends = (from?, to?);
    if ends.0 == ends.1 {
        let message = "a process has no link to itself";
        let error = Diagnostic::error("bad-link", node.place("to"), message);
        sink.push(error.expected("another process").also(node.place("from"), "the same"));
        return None;
    }
    Some(ends)
}

/// A process that exists, as far as it is known how many job managers and task managers there are.
pub(super) fn end(
    node: &Node,
    field: &str,
    cluster: Option<(u32, u32)>,
    sink: &mut Sink,
) -> Option<Endpoint> {
    let end = node.endpoint(field)?;
    let exists = match end {
        Endpoint::TaskManager(index) => {
            task_manager(node, field, index, cluster.map(|(_, count)| count), sink)
        }
        Endpoint::Candidate(index) => {
            let count = cluster.map(|(count, _)| count).filter(|count| index >= *count);
            if let Some(count) = count {
                let message = format!("there are {count} job managers, counted from 0");
                let error = Diagnostic::error("unknown-job-manager", node.place(field), message);
                sink.push(error.expected("one that `cluster.job_managers` has"));
            }
            count.is_none()
        }
        Endpoint::JobManager => true,
    };
    exists.then_some(end)
}

/// Whether a task manager exists, as far as it is known how many there are.
pub(super) fn task_manager(
    node: &Node,
    field: &str,
    index: u32,
    task_managers: Option<u32>,
    sink: &mut Sink,
) -> bool {
    let Some(count) = task_managers.filter(|count| index >= *count) else { return true };
    let message = format!("there are {count} task managers, counted from 0");
    let error = Diagnostic::error("unknown-task-manager", node.place(field), message);
    sink.push(error.expected(format!("0 to {}", count - 1)));
    false
}
