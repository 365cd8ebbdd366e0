//! The world: processes on hosts, the network between them, storage, and what goes wrong.
//!
//! A [`Process`] is what an operating system would call so: a job manager, a task manager with its
//! subtasks, or yours. The world hands it one [`Event`] at a time; what it does about it, it does
//! through its [`Context`]. Nothing here knows of checkpoints: any engine that is written as
//! processes gets the network, the stores and the faults for free.
//!
//! Single-threaded parts of a process (Flink: a task's mailbox thread) are *lanes*: a lane is busy
//! for as long as work was charged to it, and is woken when it is free and something has arrived.
//! Data travels in FIFO *channels* between lanes. A buffer in flight is no event: it waits with its
//! arrival time in its channel and is looked at when the receiving lane becomes free, so that a
//! busy channel costs one pending event, not one a buffer.

mod clock;
mod core;
mod external;
mod faults;
mod network;
mod outside;
mod reorder;
mod services;
mod store;

use std::fmt::Debug;
use std::ops::ControlFlow;

use cutline::ids::{ChannelId, SubtaskId};
use cutline::time::{VirtualDuration, VirtualTime};

pub use self::clock::{HostClock, RIGHT_PACE};
pub use self::core::{Context, Core, Due, World, WorldConfig};
pub use self::external::{ExternalSystem, StoredTransaction, TransactionState};
pub use self::faults::{Command, PlannedFault, PlannedFaultKind, PlannedWhen};
pub use self::network::LinkConfig;
pub use self::outside::KnownSnapshot;
pub use self::services::{
    Adoption, Answer, HaStore, Ownership, Pointer, Purpose, Refusal, Request, Service,
};
pub use self::store::{ObjectStore, StoredObject};

use crate::observe::Observation;
use crate::scenario::model::StorageOperation;

/// A process, numbered from 0; each runs on a host of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

impl ProcessId {
    /// The id as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A single-threaded part of a process. Numbers are reused after `close_lane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

impl LaneId {
    /// The id as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an engine is made of.
pub trait Process: Sized {
    /// Messages of the control plane.
    type Control: Clone + Debug;
    /// What data channels carry.
    type Data: Copy + Debug;
    /// What flows against a data channel: credit, for example.
    type Back: Copy + Debug;

    /// Reacts to an event. Everything it does, it does through `ctx`.
    fn handle<O: Observer>(&mut self, event: Event<Self>, ctx: &mut Context<'_, Self, O>);

    /// The process that takes the place of this one after a crash: nothing of its memory is left.
    fn reborn(&self) -> Self;

    /// A message that may arrive twice, as a client repeats a call whose answer it did not get; most
    /// cannot.
    fn repeated(message: &Self::Control) -> Option<Self::Control> {
        let _ = message;
        None
    }

    /// Who waits for an answer to a message, and is told if none comes. It says nothing of one that is
    /// sent by [`Context::call`].
    fn waits(message: &Self::Control) -> Waits {
        let _ = message;
        Waits::Nobody
    }

    /// The paths of files that a message tells its receiver of, and of which its sender forgets. Who
    /// knows of a file must delete it when it is of no use.
    fn files(message: &Self::Control) -> impl Iterator<Item = &str> {
        let _ = message;
        std::iter::empty()
    }

    /// Whether a message is one of many for as long as processes live, such as a heartbeat: a run whose
    /// job has ended does not wait for the last of them.
    fn is_routine(message: &Self::Control) -> bool {
        let _ = message;
        false
    }

    /// Whether the process has nothing left to do once the job has ended. One that has not heard
    /// of the end yet may have: the run goes on until it has.
    fn is_settled(&self) -> bool {
        true
    }
}

/// Who waits for an answer to a control message, if it, or the answer, can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nobody: a message that is lost is lost. Flink: methods of a gateway that return nothing.
    Nobody,
    /// Its sender, to hear that it has arrived; the world answers. Flink: methods that return an
    /// `Acknowledge`.
    ForReceipt,
    /// Its sender, for another message or for what comes of it.
    ForMessage,
    /// Its receiver: it is the answer to what that has sent.
    Receiver,
}

/// What happens to a process.
#[derive(Debug)]
pub enum Event<P: Process> {
    /// It was started, or started again after a crash.
    Started,
    /// A control message.
    Message {
        /// Who sent it.
        from: ProcessId,
        /// What it says.
        message: P::Control,
    },
    /// Nobody has answered in time: a message is lost, or the answer to it. See [`Process::waits`].
    Unanswered {
        /// The process at the other end.
        peer: ProcessId,
        /// What the process had sent; the answer, if that was to be a message and is lost.
        message: P::Control,
    },
    /// The connection to another process broke: that process died, or it gave up a channel.
    PeerLost {
        /// Which.
        peer: ProcessId,
    },
    /// A lane is free and has something to do.
    Lane(LaneId),
    /// Something that the sender of a data channel was waiting for has arrived.
    Back {
        /// The channel.
        channel: ChannelId,
    },
    /// A timer that it set.
    Timer(u64),
    /// The answer to a request.
    Answered {
        /// The token of the request.
        token: u64,
        /// What came back.
        answer: Result<Answer, Refusal>,
    },
    /// A fault inside the process, such as an exception in a subtask.
    Command(Command),
    /// Somebody outside has asked for something: see [`Context::asked`].
    Asked,
}

/// What is counted of a run but is no part of its history: neither the digest nor a trace has it,
/// and no check may rest on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A control message was sent.
    Message {
        /// Who sent it.
        from: ProcessId,
        /// Who will get it.
        to: ProcessId,
    },
    /// A request was made of the object store.
    Request(StorageOperation),
    /// The synchronous part of a snapshot keeps a subtask from its records for so long.
    Sync {
        /// The subtask.
        subtask: SubtaskId,
        /// How long.
        span: VirtualDuration,
    },
}

/// Where observations go: checks, statistics, digest, trace.
pub trait Observer {
    /// Takes one observation.
    fn observe(&mut self, now: VirtualTime, observation: &Observation);

    /// Takes one note. Most observers need none.
    #[inline]
    fn note(&mut self, now: VirtualTime, note: Note) {
        let _ = (now, note);
    }

    /// Called after each kernel event, before anything else changes: the observer may look at the
    /// stores to judge what it has seen. Says whether the run should end here.
    fn settle(
        &mut self,
        now: VirtualTime,
        store: &ObjectStore,
        ha: &HaStore,
        external: &ExternalSystem,
    ) -> ControlFlow<()> {
        let _ = (now, store, ha, external);
        ControlFlow::Continue(())
    }
}
