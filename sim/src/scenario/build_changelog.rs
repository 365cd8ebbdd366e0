//! Jobs whose changes of keyed state are logged: what Flink's changelog does not do.

use cutline::message::SnapshotKind;

use super::build_rescaling::resumes;
use super::diagnostic::{Diagnostic, Sink};
use super::model::Scenario;
use super::read::Node;

const FLINK: &str = "StreamTask#checkForcedFullSnapshotSupport: \"Configured state backend … does \
                     not support enforcing a full snapshot\"";

/// Refuses what would need a checkpoint that refers to nothing of others.
pub(super) fn check(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let empty = Node::default();
    let checkpointing = root.object("checkpointing").unwrap_or(&empty);
    let full = |kind: SnapshotKind| kind == SnapshotKind::FullCheckpoint;
    let by_hand = scenario.manual.iter().any(|trigger| full(trigger.kind));
    if scenario.logs_changes() && by_hand {
        let message = "a checkpoint of logged changes is never full";
        sink.push(
            Diagnostic::error("refused-by-flink", checkpointing.place("manual"), message)
                .expected("`\"kind\": \"checkpoint\"`, or no changelog")
                .flink(FLINK),
        );
    }
    if scenario.logs_changes() && scenario.checkpointing.max_concurrent > 1 {
        // Flink's documentation advises against it, and its code does not look.
        let message = "concurrent checkpoints of logged changes are not modelled";
        sink.push(
            Diagnostic::error("not-modelled", checkpointing.place("max_concurrent"), message)
                .expected("1"),
        );
    }
    let resumes = resumes(root.list("actions"), &scenario.actions, scenario);
    for (node, resume) in resumes.unwrap_or_default() {
        if resume.claims || !resume.layout.changelog {
            continue;
        }
        let message = "a job whose changes are logged owns the snapshot that it is resumed from";
        sink.push(
            Diagnostic::error("refused-by-flink", node.place("claim_mode"), message)
                .expected("`\"claim_mode\": \"claim\"`, or `\"changelog\": false`")
                .flink(FLINK),
        );
    }
}
