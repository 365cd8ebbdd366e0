//! The face of a coordinator towards its engine, so that another one can take its place.
//!
//! [`Coordinator`] is one implementation. A user's own may wrap it and change a decision, or start
//! from nothing: whoever takes in [`Input`]s and answers with [`Output`]s is mounted, faulted and
//! checked like the built-in one.

use std::fmt;

use crate::coordinator::Coordinator;
use crate::coordinator::completed::Retained;
use crate::coordinator::io::{Input, Output};
use crate::storage::handle::FileHandle;
use crate::time::VirtualTime;

/// Decides when a checkpoint is taken, when it is complete, and what a job starts from.
///
/// The contract of [`Input`] and [`Output`] is that of the built-in machine: every
/// [`Output`] with a token is answered by one input with that token, in any order and perhaps
/// never; an input that comes late or twice must do no harm.
pub trait Coordinate<P>: fmt::Debug {
    /// Takes one input in and appends what follows from it to `out`.
    fn handle(&mut self, now: VirtualTime, input: Input<P>, out: &mut Vec<Output<P>>);

    /// When [`Input::Timeout`] is due. It fires one timer; the engine asks again after it.
    fn next_timeout(&self) -> Option<VirtualTime>;

    /// Completed checkpoints that are kept, oldest first.
    fn retained(&self) -> Box<dyn Iterator<Item = &Retained<P>> + '_>;

    /// Whether it was shut down: it looks at no acknowledgement any more.
    fn is_shut_down(&self) -> bool;

    /// Whether a file is part of a checkpoint that is pending, completed or outlives the job.
    fn refers_to(&self, file: &FileHandle) -> bool;

    /// Between two checkpoints, with nothing under way: when the last one completed, and when the
    /// next periodic one is due. Time is never leapt over with a coordinator that does not say.
    fn idle(&self) -> Option<(VirtualTime, VirtualTime)> {
        None
    }

    /// Whether something has come of the wall clock since this was asked last; one that does not say
    /// may have looked at it.
    fn has_read_wall_clock(&mut self) -> bool {
        true
    }
}

impl<P: fmt::Debug> Coordinate<P> for Coordinator<P> {
    fn handle(&mut self, now: VirtualTime, input: Input<P>, out: &mut Vec<Output<P>>) {
        Self::handle(self, now, input, out);
    }

    fn next_timeout(&self) -> Option<VirtualTime> {
        Self::next_timeout(self)
    }

    fn retained(&self) -> Box<dyn Iterator<Item = &Retained<P>> + '_> {
        Box::new(Self::retained(self))
    }

    fn is_shut_down(&self) -> bool {
        Self::is_shut_down(self)
    }

    fn refers_to(&self, file: &FileHandle) -> bool {
        Self::refers_to(self, file)
    }

    fn idle(&self) -> Option<(VirtualTime, VirtualTime)> {
        self.last_completion().zip(self.idle_until())
    }

    fn has_read_wall_clock(&mut self) -> bool {
        Self::has_read_wall_clock(self)
    }
}
