//! What the sinks have shown, and in which histories of the job.

use std::collections::{BTreeMap, VecDeque};

use cutline::ids::CheckpointId;
use cutline::operator::{Fingerprint, JOINED, Record, SplitId, Table, TableKey, mix};

/// Which checkpoints follow from which. A job that is resumed begins a branch; what the last one did
/// behind the snapshot is on another.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Of each job but the first, in order: its first checkpoint can be this one, and it was resumed
    /// from that one.
    pub(super) jobs: Vec<(CheckpointId, CheckpointId)>,
}

impl History {
    /// Whether a checkpoint is on the way to another one.
    pub(super) fn leads(&self, checkpoint: CheckpointId, to: CheckpointId) -> bool {
        let mut to = to;
        for &(first, resumed) in self.jobs.iter().rev() {
            if to < first {
                continue;
            }
            if checkpoint >= first {
                break;
            }
            to = resumed;
        }
        checkpoint <= to
    }

    /// Whether the present job has come by a checkpoint, or may: it is on no branch that was left.
    pub(super) fn passes(&self, checkpoint: CheckpointId) -> bool {
        self.leads(checkpoint, CheckpointId(u64::MAX))
    }
}

/// What one sink operator has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Sink {
    /// Pre-committed transactions, by checkpoint and subtask.
    pub(super) transactions: BTreeMap<(CheckpointId, u32), Held>,
    /// Contents of all committed transactions.
    pub(super) visible: Fingerprint,
    /// Everything up to here was compared with what the checkpoints say.
    pub(super) settled: Option<CheckpointId>,
    /// What was visible then.
    pub(super) visible_settled: Fingerprint,
    /// Durable checkpoints beyond `settled`, and what must be visible with them, if known.
    pub(super) expected: VecDeque<(CheckpointId, Option<Fingerprint>)>,
    /// What was committed on other branches than the present job's: it begins behind them, and
    /// commits the same a second time.
    pub(super) repeated: Fingerprint,
    /// Written identities.
    pub(super) written: Written,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) contents: Fingerprint,
    pub(super) state: TransactionState,
}

impl Held {
    /// Whether it is to be committed, if its checkpoint is decided.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, TransactionState::Open | TransactionState::Expired)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionState {
    /// Pre-committed.
    Open,
    Committed,
    /// Dropped by the external system while nobody ran; right if the restore point is older.
    Aborted,
    /// Open when the job went back behind it: must never be committed.
    Void,
    /// Decided by a job that has ended, and open when another one began in front of it: the last
    /// words of the old job may commit it still, the new one may abort it.
    Left,
    /// Dropped by the external system because it was open for too long. Nothing is lost as long as
    /// nobody goes on as if it had been committed.
    Expired,
}

/// A set of record identities: one bit an offset, for each split and path.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    bits: Table<Lane, Vec<u64>>,
    pub(super) distinct: Fingerprint,
    pub(super) writes: u64,
    /// Joined records are among them.
    pub(super) joined: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lane {
    split: SplitId,
    path: u64,
}

impl TableKey for Lane {
    #[inline]
    fn table_hash(&self) -> u64 {
        mix(self.path, u64::from(self.split.0))
    }
}

impl Written {
    #[inline]
    pub(super) fn insert(&mut self, record: &Record) {
        self.writes += 1;
        self.joined |= record.split.source() == JOINED;
        let words = self.bits.entry(Lane { split: record.split, path: record.path });
        let (word, bit) = ((record.offset / 64) as usize, 1_u64 << (record.offset % 64));
        if word >= words.len() {
            words.resize((word + 1).next_power_of_two(), 0);
        }
        if words[word] & bit == 0 {
            words[word] |= bit;
            self.distinct += Fingerprint::of(record.identity());
        }
    }
}

impl Sink {
    /// What is settled holds no open transaction.
    pub(super) fn first_unsettled(&self) -> CheckpointId {
        self.settled.map_or(CheckpointId(0), |settled| CheckpointId(settled.0 + 1))
    }

    /// A new job begins from a snapshot: what is not on the way there is none of its. The last one
    /// had decided up to `decided`.
    pub(super) fn branch_off(
        &mut self,
        snapshot: CheckpointId,
        decided: Option<CheckpointId>,
        history: &History,
    ) {
        self.repeated = Fingerprint::EMPTY;
        for ((checkpoint, _), held) in &mut self.transactions {
            let elsewhere = !history.leads(*checkpoint, snapshot);
            match held.state {
                TransactionState::Committed if elsewhere => self.repeated += held.contents,
                TransactionState::Open if elsewhere && Some(*checkpoint) <= decided => {
                    held.state = TransactionState::Left;
                }
                // What was settled was judged.
                TransactionState::Aborted if elsewhere || Some(*checkpoint) <= self.settled => {
                    held.state = TransactionState::Void;
                }
                _ => {}
            }
        }
        self.expected.retain(|(checkpoint, _)| history.leads(*checkpoint, snapshot));
        if self.settled.is_some_and(|settled| !history.leads(settled, snapshot)) {
            (self.settled, self.visible_settled) = (None, Fingerprint::EMPTY);
        }
    }

    /// The transactions beyond what is settled, up to a checkpoint.
    pub(super) fn unsettled(
        &self,
        up_to: CheckpointId,
    ) -> impl Iterator<Item = (&(CheckpointId, u32), &Held)> {
        let all = self.transactions.range((self.first_unsettled(), 0)..);
        all.take_while(move |((checkpoint, _), _)| *checkpoint <= up_to)
    }
}
