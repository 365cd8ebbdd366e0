//! Jobs whose changes of keyed state are logged: what Flink's changelog does not do.

use cutline::message::SnapshotKind;

use super::diagnostic::{Diagnostic, Sink};
use super::model::{ActionKind, Scenario};
use super::read::Node;

const FLINK: &str = "StreamTask#checkForcedFullSnapshotSupport: \"Configured state backend … does \
                     not support enforcing a full snapshot\"";

/// Refuses what would need a checkpoint that refers to nothing of others.
pub(super) fn check(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let empty = Node::default();
    let full = |kind: SnapshotKind| kind == SnapshotKind::FullCheckpoint;
    let by_hand = scenario.manual.iter().any(|trigger| full(trigger.kind));
    if scenario.logs_changes() && by_hand {
        let checkpointing = root.object("checkpointing").unwrap_or(&empty);
        let message = "a checkpoint of logged changes is never full";
        sink.push(
            Diagnostic::error("refused-by-flink", checkpointing.place("manual"), message)
                .expected("`\"kind\": \"checkpoint\"`, or no changelog")
                .flink(FLINK),
        );
    }
    let resumes = root.list("actions").iter().filter(|node| node.variant == "resume");
    let wanted = scenario.actions.iter().filter_map(|action| match &action.what {
        ActionKind::Resume { claims, changelog, .. } => {
            let logs = changelog.unwrap_or(scenario.checkpointing.changelog.enabled);
            Some((*claims, logs))
        }
        ActionKind::Savepoint | ActionKind::StopWithSavepoint { .. } | ActionKind::Cancel => None,
    });
    if scenario.logs_changes() && scenario.checkpointing.max_concurrent > 1 {
        refuse_concurrent(root, sink);
    }
    // One that was refused before is missing here; then the others are not told apart.
    if resumes.clone().count() != wanted.clone().count() {
        return;
    }
    for (node, _) in resumes.zip(wanted).filter(|(_, (claims, logs))| *logs && !claims) {
        let message = "a job whose changes are logged owns the snapshot that it is resumed from";
        sink.push(
            Diagnostic::error("refused-by-flink", node.place("claim_mode"), message)
                .expected("`\"claim_mode\": \"claim\"`, or `\"changelog\": false`")
                .flink(FLINK),
        );
    }
}

/// Flink's documentation advises against it, and its code does not look.
fn refuse_concurrent(root: &Node, sink: &mut Sink) {
    let empty = Node::default();
    let checkpointing = root.object("checkpointing").unwrap_or(&empty);
    let message = "concurrent checkpoints of logged changes are not modelled";
    sink.push(
        Diagnostic::error("not-modelled", checkpointing.place("max_concurrent"), message)
            .expected("1"),
    );
}
