//! Defects: bugs of real stream processors that can be planted in the protocol, one at a time.
//!
//! A checker is worth what it finds. Each defect is a switch at the one place of the protocol
//! where the bug sat (or its nearest equivalent here), off unless it is planted, and compiled in
//! only with the cargo feature `defects`. Without the feature [`Defects`] has no size and
//! [`Defects::has`] is `false` for the compiler, so that nothing of a site is left.
//!
//! A site is one legible line with the id: `if self.defects.has(Defect::D47) { … }`.

use std::fmt;
use std::str::FromStr;

macro_rules! defects {
    ($($name:ident $title:literal),+ $(,)?) => {
        /// A bug that can be planted. The ids are those of the design's list, which has more: the
        /// others need a part of the protocol that is not built yet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect { $(#[doc = $title] $name),+ }

        impl Defect {
            /// All of them, by id.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The id: `D47`.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// What is wrong, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

defects! {
    D01 "Participants are told \"complete\" before the decision is durable",
    D02 "State of a late ack is not discarded",
    D03 "Repeated ack of a completed checkpoint discards its files",
    D04 "Asynchronous discard works on a list that has already been emptied",
    D05 "Completion does not wait for the operator coordinator's part",
    D06 "Abort is still possible while the checkpoint is being finalized",
    D07 "The checkpoint completed last is taken as the newest one",
    D08 "Expired checkpoints do not count as failures",
    D09 "Ack is awaited from a task that finished before the barrier reached it",
    D10 "A failed worker counts as having delivered its part",
    D11 "Recovery picks checkpoint n-1 while n is being finalized and committed",
    D12 "Pending checkpoint survives a regional restart",
    D13 "A regional restart resets shared coordinators",
    D14 "A restored savepoint is mistaken for a running stop",
    D15 "Checkpoint is created after the coordinator was stopped",
    D16 "Acks that arrive before the pending checkpoint is registered are lost",
    D17 "Lost trigger message is neither repeated nor expired",
    D18 "Stored checkpoints are ordered by name as text",
    D20 "Unreadable checkpoints are skipped silently during recovery",
    D21 "Operators emit before the restored output buffers have been sent",
    D22 "A checkpoint is taken before the restored channel state has been consumed",
    D24 "A finished job is executed again after a coordinator failover",
    D25 "A coordinator that loses leadership cleans up as if the job had ended",
    D26 "Old leader can still complete and publish a checkpoint",
    D29 "Workers restore from a view that is older than the chosen checkpoint",
    D30 "Old checkpoint is deleted before the new one is safely published",
    D31 "Checkpoints of the previous coordinator are not in the new one's list",
    D32 "Increment base advances at upload time, not at confirmation",
    D33 "Two different uploads of the same local file share one registry key",
    D34 "Recovered checkpoints are not registered again",
    D35 "A savepoint subsumes the checkpoint that later increments build on",
    D36 "Committed file is not flushed to stable storage",
    D38 "File name of a snapshot part does not contain the attempt",
    D40 "A short read is taken for the end of the header",
    D41 "Two stateful operators of one task share a local directory",
    D42 "Progress file is written with the end position although restoring was interrupted",
    D43 "No cancellation marker follows a declined checkpoint",
    D44 "After the switch, components still see an aligned checkpoint",
    D45 "A forced-aligned edge is switched by the timeout",
    D46 "Barriers are counted without looking at their id",
    D47 "A channel that ends during alignment is still waited for",
    D48 "Channels are not blocked during alignment although exactly-once is set",
    D49 "Records on a feedback edge are not part of the snapshot",
    D50 "An aligned barrier overtakes output data",
    D51 "Barrier overtakes the commit handles on the way to the committer",
    D52 "In-flight data is persisted only for the channels of the first gate",
    D53 "Records behind the barrier are processed before the snapshot runs",
    D55 "Unaligned snapshots of broadcast edges",
    D56 "A watermark moves across the barrier when inputs are merged",
    D57 "The asynchronous upload reads the live state",
    D59 "Elements buffered inside an operator are not part of its snapshot",
    D60 "Input position is read after the state was flushed",
    D61 "Source emits between capturing its position and emitting the barrier",
    D62 "\"Start at the latest position\" is evaluated again after a restore",
    D64 "Event channel closed for a checkpoint is not opened again after its abort",
    D66 "A lost assignment event does not stop the checkpoint",
    D67 "Checkpoint completes before the coordinator has handled a subtask failure",
    D68 "Events of the split coordinator cross the checkpoint",
    D69 "Transaction is committed at the barrier",
    D70 "Transaction of an aborted checkpoint is rolled back while the job goes on",
    D71 "Open transaction is flushed and committed when the sink is closed after a failure",
    D72 "A commit that fails because the transaction has expired counts as done",
    D73 "Snapshot does not wait for outstanding asynchronous writes",
    D74 "Key for \"already committed\" contains an identifier that changes at restart",
    D75 "\"Epoch already applied\" is tested per record instead of per epoch",
    D76 "notify-complete commits only the transaction of exactly that id",
    D77 "Transaction ids are chosen at random for each attempt",
    D78 "Pre-committed transactions of the restored checkpoint are not committed",
    D79 "Second recovered commit handle of a subtask overwrites or rejects the first",
    D80 "Left-over transactions of subtasks that no longer exist are never aborted",
    D81 "A non-empty transaction is stored as empty",
    D82 "A task failure clears commit handles that belong to a completed checkpoint",
    D83 "Aborted stop-savepoint leaves the tasks suspended",
    D84 "Failure while committing the stop-savepoint restarts from the previous checkpoint",
    D85 "Tasks ended by a stop without drain are stored as finished",
    D86 "End-of-input logic runs on a stop without drain",
    D87 "A checkpoint that was already running is taken for the final one",
    D88 "No checkpoint is taken any more once a source has finished",
    D90 "Operators stored as finished run again after a restore",
    D92 "Processing-time timers are restored but not armed",
    D93 "Keyed state of operators behind the head of a chain is not redistributed",
    D94 "Channel state is not redistributed because the operator's own parallelism is unchanged",
    D95 "Empty restored state is taken for a first start",
    D96 "Range of key groups is computed with inconsistent rounding",
    D97 "Operators without state are left out of the metadata",
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// An id that is no defect's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no defect that can be planted is called {0:?}")]
pub struct UnknownDefect(pub String);

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        let mut all = Self::ALL.iter().copied();
        all.find(|defect| defect.id() == text).ok_or_else(|| UnknownDefect(text.to_owned()))
    }
}

/// This build cannot plant defects: it was made without the feature `defects`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be planted: this build was made without the feature `defects`")]
pub struct NotCompiledIn(pub Defect);

/// What is planted: nothing, or one defect. Machines carry it by value.
#[cfg(feature = "defects")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Defects(Option<Defect>);

/// What is planted: nothing, in this build.
#[cfg(not(feature = "defects"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Defects(());

#[cfg(feature = "defects")]
impl Defects {
    /// The protocol as it should be.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Plants a defect.
    ///
    /// # Errors
    /// The build has none to plant; this one has.
    pub const fn plant(defect: Defect) -> Result<Self, NotCompiledIn> {
        Ok(Self(Some(defect)))
    }

    /// What is planted.
    pub const fn planted(self) -> Option<Defect> {
        self.0
    }

    /// Whether this defect is planted.
    #[inline]
    pub fn has(self, defect: Defect) -> bool {
        self.0 == Some(defect)
    }
}

#[cfg(not(feature = "defects"))]
impl Defects {
    /// The protocol as it should be.
    pub const fn none() -> Self {
        Self(())
    }

    /// Plants a defect.
    ///
    /// # Errors
    /// Always, in this build.
    pub const fn plant(defect: Defect) -> Result<Self, NotCompiledIn> {
        Err(NotCompiledIn(defect))
    }

    /// What is planted.
    pub const fn planted(self) -> Option<Defect> {
        None
    }

    /// Whether this defect is planted.
    #[inline(always)]
    pub const fn has(self, _defect: Defect) -> bool {
        false
    }
}

/// Something that a defect puts off to a later step; no size without the feature.
#[cfg(feature = "defects")]
#[derive(Clone, Debug, Default)]
pub(crate) struct PutOff<T>(Option<T>);

#[cfg(feature = "defects")]
impl<T> PutOff<T> {
    pub(crate) fn put(&mut self, later: T) {
        self.0 = Some(later);
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

/// Something that a defect puts off to a later step; no size without the feature.
#[cfg(not(feature = "defects"))]
#[derive(Clone, Debug, Default)]
pub(crate) struct PutOff<T>(std::marker::PhantomData<T>);

#[cfg(not(feature = "defects"))]
impl<T> PutOff<T> {
    pub(crate) fn put(&mut self, _later: T) {
        unreachable!("nothing is planted in this build");
    }

    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<T> {
        None
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_and_grows() {
        for defect in Defect::ALL {
            assert_eq!(defect.id().parse(), Ok(*defect));
        }
        assert!(Defect::ALL.is_sorted_by_key(|defect| defect.id()));
        assert!("D00".parse::<Defect>().is_err());
    }

    #[test]
    fn one_is_planted_at_a_time_and_none_by_default() {
        assert_eq!(Defects::default(), Defects::none());
        for &defect in Defect::ALL {
            assert!(!Defects::none().has(defect));
            match Defects::plant(defect) {
                Ok(defects) => {
                    let has: Vec<_> = Defect::ALL.iter().filter(|it| defects.has(**it)).collect();
                    assert_eq!((has, defects.planted()), (vec![&defect], Some(defect)));
                }
                Err(NotCompiledIn(refused)) => {
                    assert_eq!(refused, defect);
                    assert_eq!(size_of::<Defects>(), 0);
                }
            }
        }
    }
}
