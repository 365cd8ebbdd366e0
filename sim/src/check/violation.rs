//! What a check says when something is wrong, and where it says it.
//!
//! Nothing is formatted unless a violation is kept, and one signature is kept once: a broken
//! channel of a million records is one line with a number behind it.

use std::fmt;

use cutline::ids::{ChannelId, CheckpointId, OperatorId, SubtaskId};
use cutline::operator::SplitId;
use cutline::time::VirtualTime;
use serde::{Deserialize, Serialize};

use crate::observe::FileId;

/// What kind of harm was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Something that happened has no effect any more.
    #[serde(rename = "loss")]
    Loss,
    /// Something that happened once has its effect twice.
    #[serde(rename = "duplication")]
    Duplication,
    /// State and positions of a checkpoint are of different times.
    #[serde(rename = "inconsistent cut")]
    InconsistentCut,
    /// A completed checkpoint cannot be restored.
    #[serde(rename = "unusable checkpoint")]
    UnusableCheckpoint,
    /// A file was deleted that a retained checkpoint refers to.
    #[serde(rename = "premature delete")]
    PrematureDelete,
    /// At quiescence something is left that nothing refers to.
    #[serde(rename = "leak")]
    Leak,
    /// Job, checkpoint, recovery or request makes no progress.
    #[serde(rename = "stuck")]
    Stuck,
    /// Committed ahead of the decision, against it, or not at all.
    #[serde(rename = "wrong commit")]
    WrongCommit,
    /// The order of a channel was broken.
    #[serde(rename = "order")]
    Order,
    /// Trigger or failure policy differs from its definition.
    #[serde(rename = "policy")]
    Policy,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 10] = [
        Self::Loss,
        Self::Duplication,
        Self::InconsistentCut,
        Self::UnusableCheckpoint,
        Self::PrematureDelete,
        Self::Leak,
        Self::Stuck,
        Self::WrongCommit,
        Self::Order,
        Self::Policy,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplication => "duplication",
            Self::InconsistentCut => "inconsistent cut",
            Self::UnusableCheckpoint => "unusable checkpoint",
            Self::PrematureDelete => "premature delete",
            Self::Leak => "leak",
            Self::Stuck => "stuck",
            Self::WrongCommit => "wrong commit",
            Self::Order => "order",
            Self::Policy => "policy",
        }
    }

    /// Whether something that should happen did not, as opposed to something that must not happen.
    pub fn is_liveness(self) -> bool {
        self == Self::Stuck
    }

    /// What a difference of two counts means: fewer than there should be, or more.
    pub(super) fn of_counts(is: u64, should: u64, equal: Self) -> Self {
        match is.cmp(&should) {
            std::cmp::Ordering::Less => Self::Loss,
            std::cmp::Ordering::Equal => equal,
            std::cmp::Ordering::Greater => Self::Duplication,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a violation is about, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The operator.
    pub operator: Option<OperatorId>,
    /// The subtask.
    pub subtask: Option<SubtaskId>,
    /// The channel.
    pub channel: Option<ChannelId>,
    /// The checkpoint.
    pub checkpoint: Option<CheckpointId>,
    /// The file.
    pub file: Option<FileId>,
    /// The record, by split and offset.
    pub record: Option<(SplitId, u64)>,
}

impl Subject {
    /// Of a checkpoint as a whole.
    pub fn checkpoint(checkpoint: CheckpointId) -> Self {
        Self { checkpoint: Some(checkpoint), ..Self::default() }
    }

    /// Of an operator as a whole.
    pub fn operator(operator: OperatorId) -> Self {
        Self { operator: Some(operator), ..Self::default() }
    }

    /// Of a subtask.
    pub fn subtask(subtask: SubtaskId) -> Self {
        Self { subtask: Some(subtask), ..Self::default() }
    }

    /// Of a channel.
    pub fn channel(channel: ChannelId) -> Self {
        Self { channel: Some(channel), ..Self::default() }
    }

    /// Of a file.
    pub fn file(file: FileId) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// The same, and about a file.
    pub fn with_file(self, file: FileId) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The same, and about the record at an offset of a split.
    pub fn with_record(self, split: SplitId, offset: u64) -> Self {
        Self { record: Some((split, offset)), ..self }
    }

    /// The same, at a checkpoint.
    pub fn at(self, checkpoint: CheckpointId) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check that found it.
    pub check: &'static str,
    /// What harm was done.
    pub class: Class,
    /// Which of the check's questions was answered wrongly, in a few constant words.
    pub rule: &'static str,
    /// When it became known (the first time).
    pub at: VirtualTime,
    /// What it is about (the first time).
    pub subject: Subject,
    /// A sentence with names and numbers (of the first time).
    pub message: String,
    /// How often it was seen, the first time included.
    pub times: u64,
}

impl Violation {
    /// What groups failures of different runs: check, class and rule, free of ids, times and
    /// seeds.
    pub fn signature(&self) -> String {
        format!("{}/{}/{}", self.check, self.class, self.rule)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] at {}: {}", self.class, self.check, self.at, self.message)?;
        if self.times > 1 {
            write!(f, " ({} times in all)", self.times)?;
        }
        Ok(())
    }
}

/// Where checks put what they find.
#[derive(Clone, Debug, Default)]
pub struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Notes a violation. The message is made only if check, class and rule are new together.
    #[cold]
    #[inline(never)]
    pub fn add(
        &mut self,
        (check, class, rule): (&'static str, Class, &'static str),
        at: VirtualTime,
        subject: Subject,
        message: impl FnOnce() -> String,
    ) {
        let same =
            |known: &&mut Violation| (known.check, known.class, known.rule) == (check, class, rule);
        if let Some(known) = self.violations.iter_mut().find(same) {
            known.times += 1;
            return;
        }
        let message = message();
        self.violations.push(Violation { check, class, rule, at, subject, message, times: 1 });
    }

    /// What was found, in the order of first sight.
    #[inline]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_signature_is_one_violation() {
        let mut report = Report::default();
        for (at, channel) in [(1, 4), (2, 5)] {
            let subject = Subject::channel(ChannelId(channel));
            let what = ("order", Class::Order, "fifo");
            report.add(what, VirtualTime(at), subject, || format!("on {channel}"));
        }
        let what = ("order", Class::Loss, "fifo");
        report.add(what, VirtualTime(3), Subject::default(), String::new);
        let [first, second] = report.violations() else { panic!("{report:?}") };
        assert_eq!((first.times, first.message.as_str(), first.at.0), (2, "on 4", 1));
        assert_eq!(first.signature(), "order/order/fifo");
        assert_eq!(second.class, Class::Loss);
    }

    #[test]
    fn serde_writes_the_names_of_display() {
        for class in Class::ALL {
            let text = serde_json::to_string(&class).expect("a unit variant is a string");
            assert_eq!(text, format!("\"{class}\""));
            assert_eq!(serde_json::from_str::<Class>(&text).ok(), Some(class));
        }
    }
}
