//! What a process can do while it handles an event, the data plane apart.

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::operator::Effect;
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{Context, Due, Parcel, Receipt};
use crate::kernel::stream::Streams;
use crate::observe::{JobEnd, Observation};
use crate::world::network::Lane;
use crate::world::outside::KnownSnapshot;
use crate::world::{LaneId, Note, Observer, Process, ProcessId};

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// The true time, which no process knows: by it the world's work takes as long as it takes. What
    /// a process waits for, or compares, it takes from its host's clocks.
    #[inline]
    pub fn now(&self) -> VirtualTime {
        self.now
    }

    /// The process that is handling an event.
    pub fn me(&self) -> ProcessId {
        self.me
    }

    /// The random streams, for draws of the process's own (keyed by its own names).
    pub fn streams(&self) -> &Streams {
        &self.core.streams
    }

    /// Reports an observation.
    #[inline(always)]
    pub fn observe(&mut self, observation: Observation) {
        if let Observation::Step { step, checkpoint, subtask } = observation
            && (!self.core.faults.armed.is_empty() || self.core.outside.is_armed())
        {
            self.strike_at(step, checkpoint, subtask);
        }
        self.core.observer.observe(self.now, &observation);
    }

    /// Reports a step of the protocol at a task, so that faults can be anchored to it.
    pub fn step(&mut self, step: Step, checkpoint: Option<CheckpointId>, subtask: SubtaskId) {
        self.observe(Observation::Step { step, checkpoint, subtask: Some(subtask) });
    }

    /// Reports what a sink without transactions has shown to the outside.
    ///
    /// # Panics
    /// On an effect that asks something of the external system: an engine with such operators makes
    /// the request itself, and acts upon the answer.
    pub fn show(&mut self, subtask: SubtaskId, effects: &[Effect]) {
        for effect in effects {
            self.observe(match *effect {
                Effect::Append(record) => Observation::Appended { subtask, record },
                Effect::Upsert(record) => Observation::Upserted { subtask, record },
                Effect::Call { .. }
                | Effect::Begin { .. }
                | Effect::Close { .. }
                | Effect::PreCommit { .. }
                | Effect::Commit { .. }
                | Effect::Apply { .. }
                | Effect::AbortLeftOvers(_) => panic!("{effect:?} is a request, and no output"),
            });
        }
    }

    /// Reports an observation of a task. A task whose execution was replaced while nobody could tell
    /// it may still run, and so may one that was deployed by a job manager whose session was over:
    /// what they do is no part of the job's history. (What reaches the outside is, and is reported by
    /// [`observe`](Self::observe).)
    #[inline(always)]
    pub fn observe_task(
        &mut self,
        (subtask, execution): (SubtaskId, u32),
        observation: Observation,
    ) {
        if execution == self.core.execution_of(subtask) {
            self.observe(observation);
        }
    }

    /// From here on only tasks of this execution make the job's history, until the next one begins.
    pub fn begin_execution(&mut self, execution: u32, from: Option<CheckpointId>) {
        self.core.execution = self.core.execution.max(execution);
        self.core.executions.clear();
        self.core.outside.go_back(from);
    }

    /// The same of some subtasks alone; the others' go on.
    pub fn begin_execution_of(
        &mut self,
        subtasks: &[SubtaskId],
        execution: u32,
        from: Option<CheckpointId>,
    ) {
        let executions = &mut self.core.executions;
        for subtask in subtasks {
            if executions.len() <= subtask.index() {
                executions.resize(subtask.index() + 1, 0);
            }
            executions[subtask.index()] = execution;
        }
        self.core.outside.go_back(from);
    }

    /// Lets something be counted that is no part of the history.
    pub fn note(&mut self, note: Note) {
        self.core.observer.note(self.now, note);
    }

    #[cold]
    #[inline(never)]
    fn strike_at(
        &mut self,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) {
        let named_as = &self.core.config.named_as;
        let subtask = subtask.map(|it| named_as.get(it.index()).copied().unwrap_or(it));
        for (fault, delay) in self.core.faults.reached(step, checkpoint, subtask) {
            self.queue.push(self.now + delay, Due::Fault(fault));
        }
        for (index, delay) in self.core.outside.reached(step, checkpoint, subtask) {
            self.queue.push(self.now + delay, Due::Ask(index));
        }
    }

    /// What people outside have asked for and nobody has taken up, by index in the plan.
    pub fn asked(&self) -> Vec<u32> {
        self.core.outside.open()
    }

    /// What nobody has taken up, whether it was asked for already or not.
    pub fn outstanding(&self) -> impl Iterator<Item = u32> + '_ {
        self.core.outside.outstanding()
    }

    /// Takes something up that was asked for.
    pub fn take_up(&mut self, action: u32) {
        self.core.outside.take(action, self.me);
        self.core.observer.observe(self.now, &Observation::ActionTaken { action });
    }

    /// Answers whoever has asked for something: what snapshot came of it, and whether it was done.
    pub fn answer(&mut self, action: u32, checkpoint: Option<CheckpointId>, done: bool) {
        self.core.outside.answer(action);
        self.observe(Observation::ActionEnded { action, checkpoint, done });
    }

    /// Tells people outside of a complete snapshot.
    pub fn tell(&mut self, snapshot: KnownSnapshot) {
        self.core.outside.tell(snapshot);
    }

    /// Tells people outside that a checkpoint was made obsolete by a newer one.
    pub fn tell_of_subsumed(&mut self, checkpoint: CheckpointId) {
        self.core.outside.tell_of_subsumed(checkpoint);
    }

    /// Whether people outside were ever told of a checkpoint: it is complete.
    pub fn was_told_of(&self, checkpoint: CheckpointId) -> bool {
        self.core.outside.was_told_of(checkpoint)
    }

    /// The snapshots that people outside know of, in the order in which they were told.
    pub fn told(&self) -> &[KnownSnapshot] {
        self.core.outside.told()
    }

    /// Which of the lives of this host the process is, counted from 0: with its id, its address.
    pub fn life(&self) -> u32 {
        self.core.hosts[self.me.index()].life
    }

    /// Sends a control message. It is lost if the receiver dies before it arrives, or if the network
    /// loses it: see [`Process::waits`].
    pub fn send(&mut self, to: ProcessId, message: P::Control) {
        let life = self.core.hosts[to.index()].life;
        self.post((to, life), message, None);
    }

    /// Sends a control message to a process in one of its [lives](Self::life). Whether it was
    /// delivered comes back as the answer to a request: [`Refusal::Unreachable`] from a process
    /// that has died, also where another one has taken its place, and [`Refusal::TimedOut`] where
    /// nobody knows. (Flink: the future that an RPC returns.)
    ///
    /// [`Refusal::Unreachable`]: crate::world::Refusal::Unreachable
    /// [`Refusal::TimedOut`]: crate::world::Refusal::TimedOut
    pub fn call(&mut self, token: u64, (to, life): (ProcessId, u32), message: P::Control) {
        let routine = P::is_routine(&message);
        let receipt = Receipt { life: self.life(), token, routine };
        self.post((to, life), message, Some(receipt));
    }

    fn post(
        &mut self,
        (to, life): (ProcessId, u32),
        message: P::Control,
        receipt: Option<Receipt>,
    ) {
        self.note(Note::Message { from: self.me, to });
        let at = self.core.control_arrival(self.me, to, self.now);
        let ends = (self.me, to);
        // What nobody is there to get is not lost on the way.
        let lost = self.core.lossy
            && self.core.lives(to, life)
            && self.core.loses(ends, self.now, self.queue);
        self.hand_over(to, &message, lost);
        let from_life = self.life();
        if lost {
            let (from, what) = ((self.me, from_life), (message, receipt));
            return self.core.lose(from, (to, life), what, self.now, self.queue);
        }
        let (from, link) = (self.me, self.core.link(self.me, to));
        let again = (self.now < link.repeat_until).then_some(link.repeat_by);
        if let Some((by, message)) = again.zip(P::repeated(&message)) {
            let again = Parcel::Mail { from, from_life, to, life, message, receipt: None };
            let slot = self.core.put_parcel(again);
            self.queue.push(at + by, Due::Mail(slot));
        }
        let mail = Parcel::Mail { from, from_life, to, life, message, receipt };
        let slot = self.core.put_parcel(mail);
        self.queue.push(at, Due::Mail(slot));
    }

    /// Reports that a message tells its receiver of files, if it gets it.
    fn hand_over(&mut self, to: ProcessId, message: &P::Control, lost: bool) {
        let (process, orphaned) = (to.0, lost || !self.core.hosts[to.index()].alive);
        for file in P::files(message).filter_map(|path| self.core.store.file(path)) {
            let handed_over = Observation::FileHandedOver { file, process, orphaned };
            self.core.observer.observe(self.now, &handed_over);
        }
    }

    /// Sets a timer. Timers cannot be cancelled; one that comes late is to be ignored.
    pub fn timer(&mut self, at: VirtualTime, token: u32) {
        let life = self.core.hosts[self.me.index()].life;
        self.queue.push(at.max(self.now), Due::Timer { process: self.me, life, token });
    }

    /// Whether a session is that of the leader, as the HA store knows. A job manager whose session is
    /// over may not know it yet: what becomes of its checkpoints is no part of the job's history.
    pub fn is_in_force(&self, session: u64) -> bool {
        self.core.ha.session == session
    }

    /// Whether the run comes to its end: the job is over.
    pub fn has_ended(&self) -> bool {
        self.core.ended.is_some()
    }

    /// Ends the run: the job is over.
    pub fn end_job(&mut self, end: JobEnd) {
        self.core.ended = Some(end);
    }

    /// Dies, as if by a fault.
    pub fn exit(&mut self) {
        self.core.crash(self.me, self.now, self.queue);
    }

    /// Opens a lane of this process.
    pub fn open_lane(&mut self) -> LaneId {
        let lane = Lane::new(self.me, self.now);
        match self.core.free_lanes.pop() {
            Some(id) => {
                self.core.lanes[id.index()] = lane;
                id
            }
            None => {
                self.core.lanes.push(lane);
                LaneId(self.core.lanes.len() as u32 - 1)
            }
        }
    }

    /// Closes a lane and its ends of the channels given.
    pub fn close_lane(&mut self, lane: LaneId, channels: impl Iterator<Item = ChannelId>) {
        for channel in channels {
            let state = &mut self.core.channels[channel.index()];
            state.from = state.from.filter(|end| end.lane != lane);
            state.to = state.to.filter(|end| end.lane != lane);
        }
        self.core.release(lane);
    }

    /// The lane has more to do as soon as it is free.
    #[inline]
    pub fn lane_ready(&mut self, lane: LaneId) {
        self.core.lanes[lane.index()].ready = true;
    }

    /// Wakes a lane of this process at a time, or later when it becomes free.
    #[inline]
    pub fn wake_lane(&mut self, lane: LaneId, at: VirtualTime) {
        self.core.wake(lane, at.max(self.now), self.queue);
    }

    /// Wakes a lane of this process for a deadline. One deadline at a time: the newest counts.
    #[inline]
    pub fn alarm_lane(&mut self, lane: LaneId, at: VirtualTime) {
        let state = &mut self.core.lanes[lane.index()];
        let at = at.max(self.now);
        if state.alarm_at != at {
            state.alarm_at = at;
            self.queue.push(at, Due::Lane(lane));
        }
    }

    /// Charges processing time to a lane: it is busy for so much longer.
    #[inline]
    pub fn charge(&mut self, lane: LaneId, span: VirtualDuration) {
        let state = &mut self.core.lanes[lane.index()];
        state.busy_until = state.busy_until.max(self.now) + span;
    }

    /// Until when a lane is busy.
    pub fn busy_until(&self, lane: LaneId) -> VirtualTime {
        self.core.lanes[lane.index()].busy_until
    }
}
