//! Integer names of everything the protocol speaks about.
//!
//! Ids are dense and start at 0 (checkpoint ids at 1, as Flink's `StandaloneCheckpointIDCounter`),
//! so that state lives in flat vectors. Whatever must survive a change of the topology (random
//! streams, files of a shrunk case) is keyed by a name, never by one of these.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id as an index into a flat vector.
            #[inline]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id! {
    /// A checkpoint or savepoint; drawn from one counter, never reused, growing across leaders.
    CheckpointId(u64), "chk-"
}
id! {
    /// An operator of the job graph (Flink: a job vertex, as long as nothing is chained).
    OperatorId(u32), "op-"
}
id! {
    /// One parallel instance of an operator, numbered through the whole execution graph.
    SubtaskId(u32), "subtask-"
}
id! {
    /// One way to spread the job over subtasks: its parallelism, which a rescaling changes.
    LayoutId(u32), "layout-"
}
id! {
    /// A failover region of one layout, numbered through the whole execution graph.
    RegionId(u32), "region-"
}
id! {
    /// A FIFO edge between two subtasks, numbered through the whole execution graph.
    ChannelId(u32), "channel-"
}
id! {
    /// An input channel of one subtask, numbered through its gates, gate after gate, from 0.
    InputChannel(u32), "in-"
}
id! {
    /// An output channel (Flink: result subpartition) of one subtask, numbered from 0.
    OutputChannel(u32), "out-"
}
id! {
    /// An input gate of one subtask: all channels of one input edge.
    GateId(u32), "gate-"
}
id! {
    /// One execution of a subtask; grows by one with every deployment.
    Attempt(u32), "attempt-"
}
id! {
    /// A key group: the unit by which keyed state is divided among subtasks.
    KeyGroup(u16), "key-group-"
}
