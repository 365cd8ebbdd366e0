//! The data plane: what arrives is handed to the subtask, and what it asks for is done.

use cutline::defect::Defect;
use cutline::ids::{ChannelId, CheckpointId, InputChannel, OutputChannel, SubtaskId};
use cutline::job::ExecutionGraph;
use cutline::message::{Element, Payload};
use cutline::operator::{Record, TimeEvent};
use cutline::step::Step;
use cutline::storage::changelog::Changelog;
use cutline::task::barrier::Cut;
use cutline::task::subtask::{Back, Frame, Input, Output, Outputs, Subtask};
use cutline::time::{ClockOffset, VirtualTime};

use super::{Link, Member, SnapshotUnderWay, Task, TaskManager};
use crate::engine::{Control, Engine, Report};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::Stream;
use crate::observe::{CutKind, Observation, TaskState};
use crate::world::{Context, LaneId, Note, Observer};

impl TaskManager {
    #[inline]
    pub(super) fn on_lane<O: Observer>(&mut self, lane: LaneId, ctx: &mut Context<'_, Engine, O>) {
        let place = self.place_of_lane[lane.index()];
        let now = ctx.relative_time();
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        task.tell_wall_clock(now, ctx, &mut self.outputs);
        let (machine, mut hands) = task.hands(&self.plan.graph, ctx, &mut self.outputs);
        while let Some((channel, frame)) = hands.ctx.arrival(lane) {
            let channel = self.plan.graph.channels()[channel.index()].input;
            machine.handle(now, Input::Deliver { channel, frame }, &mut hands);
        }
        if machine.next_timeout().is_some_and(|due| due <= now) {
            machine.handle(now, Input::Timeout, &mut hands);
        }
        machine.handle(now, Input::Run, &mut hands);
        task.feel_wall_clock(ctx);
        if !self.outputs.is_empty() {
            self.follow(place, ctx);
        }
        if self.tasks[place as usize].as_ref().is_some_and(|task| task.logs) {
            self.persist_ahead(place, ctx);
        }
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        match task.machine.next_run(now) {
            Some(due) if due <= now => ctx.lane_ready(lane),
            Some(due) => ctx.wake_lane_by_clock(lane, due),
            None => {}
        }
        if let Some(due) = task.machine.next_timeout() {
            ctx.alarm_lane_by_clock(lane, due);
        }
    }

    pub(super) fn on_back<O: Observer>(
        &mut self,
        channel: ChannelId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let edge = self.plan.graph.channels()[channel.index()];
        let Some(place) = self.place_of[edge.from.index()] else { return };
        self.outputs.push(Output::AwaitBack(edge.output));
        self.follow(place, ctx);
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        let lane = task.lane;
        let relative = ctx.relative_time();
        match task.machine.next_run(relative) {
            Some(due) if due <= relative => {
                let now = ctx.now();
                ctx.wake_lane(lane, now);
            }
            Some(due) => ctx.wake_lane_by_clock(lane, due),
            None => {}
        }
    }

    pub(super) fn drive<O: Observer>(
        &mut self,
        place: u32,
        input: Input,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let now = ctx.relative_time();
        task.tell_wall_clock(now, ctx, &mut self.outputs);
        let (machine, mut hands) = task.hands(&self.plan.graph, ctx, &mut self.outputs);
        machine.handle(now, input, &mut hands);
        task.feel_wall_clock(ctx);
        self.follow(place, ctx);
    }

    /// Does what was put off. Doing it may make the subtask ask for more.
    fn follow<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut next = 0;
        while next < outputs.len() {
            let Some(task) = self.tasks[place as usize].as_mut() else { break };
            let output = std::mem::replace(&mut outputs[next], Output::Running);
            next += 1;
            match output {
                Output::AwaitBack(output) => {
                    let execution = task.execution;
                    let channel = self.plan.graph.outputs(task.tail)[output.index()];
                    while let Some(back) = ctx.take_back(channel, execution) {
                        let input = Input::Back { channel: output, back };
                        task.machine.handle(ctx.relative_time(), input, &mut outputs);
                    }
                    ctx.want_back(channel, execution, task.machine.awaits_back(output));
                }
                Output::Processed { .. }
                | Output::Chained { .. }
                | Output::Read(_)
                | Output::Passed { .. }
                | Output::Sent { .. }
                | Output::Transmit { .. }
                | Output::Recycled { .. }
                | Output::SendBack { .. } => {
                    let (_, mut hands) = task.hands(&self.plan.graph, ctx, &mut self.outputs);
                    let rest = hands.act(output);
                    debug_assert!(rest.is_none(), "these are the things that hands do");
                }
                event => self.on_event_output(place, event, ctx),
            }
        }
        outputs.clear();
        self.outputs = outputs;
    }

    /// What is asked for now and then: about barriers, snapshots and the task's life.
    #[cold]
    #[inline(never)]
    fn on_event_output<O: Observer>(
        &mut self,
        place: u32,
        output: Output,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (subtask, execution, lane) = (task.subtask, task.execution, task.lane);
        let tail = task.tail;
        let attempt = (subtask, execution);
        let graph = &self.plan.graph;
        let chain = graph.chain_of(subtask);
        let input_id = |channel: InputChannel| graph.inputs(subtask)[channel.index()];
        let output_id = |channel: OutputChannel| graph.outputs(tail)[channel.index()];
        let step_of = |subtask, step, checkpoint| Observation::Step {
            step,
            checkpoint: Some(checkpoint),
            subtask: Some(subtask),
        };
        let step = |step, checkpoint| step_of(subtask, step, checkpoint);
        match output {
            Output::BarrierReceived { channel, barrier } => {
                let (channel, checkpoint) = (input_id(channel), barrier.checkpoint);
                ctx.observe_task(attempt, Observation::BarrierReceived { channel, checkpoint });
                ctx.observe_task(attempt, step(Step::B1, checkpoint));
            }
            Output::Blocked(channel) => {
                ctx.observe_task(attempt, Observation::Blocked { channel: input_id(channel) });
            }
            Output::Resumed(channel) => {
                ctx.observe_task(attempt, Observation::Resumed { channel: input_id(channel) });
            }
            Output::Cut { barrier, cut, nominal: _, start_delay } => {
                let checkpoint = barrier.checkpoint;
                let how = match cut {
                    None => {
                        ctx.observe_task(attempt, step(Step::B1, checkpoint));
                        CutKind::Source
                    }
                    Some(Cut::Aligned) => CutKind::Aligned,
                    Some(Cut::Unaligned) => CutKind::Unaligned,
                    Some(Cut::AtLeastOnce) => CutKind::AtLeastOnce,
                };
                let mut sync = task.sync_cost.draw(&mut task.draws);
                for link in &mut task.links {
                    sync += link.sync_cost.draw(&mut link.draws);
                }
                let ready_at = ctx.busy_until(lane).max(ctx.now());
                task.snapshots.push(SnapshotUnderWay {
                    checkpoint,
                    kind: barrier.options.kind,
                    parts: Vec::new(),
                    copies: Vec::new(),
                    uploads: vec![0; task.members.len()],
                    awaited: Vec::new(),
                    cut_at: ready_at + sync,
                    sync,
                    start_delay,
                    alignment: None,
                    ended: task.machine.has_ended(),
                });
                ctx.charge(lane, sync);
                ctx.note(Note::Sync { subtask, span: sync });
                ctx.observe_task(attempt, step(Step::B2, checkpoint));
                ctx.observe_task(attempt, step(Step::B3, checkpoint));
                ctx.observe_task(attempt, Observation::Cut { subtask, checkpoint, how });
                ctx.observe_task(attempt, step(Step::B4, checkpoint));
                for (link, &subtask) in task.links.iter().zip(&chain[1..]) {
                    observe_link_cut(link.channel, (subtask, execution), checkpoint, how, ctx);
                }
            }
            Output::BarrierSent { channel, checkpoint } => {
                let channel = output_id(channel);
                ctx.observe_task(attempt, Observation::BarrierSent { channel, checkpoint });
            }
            Output::Aligned { checkpoint, metrics } => {
                if let Some(snapshot) =
                    task.snapshots.iter_mut().find(|one| one.checkpoint == checkpoint)
                {
                    snapshot.alignment = Some(metrics);
                }
            }
            Output::PersistedInput { channel, checkpoint, record } => {
                let channel = input_id(channel);
                let at_sender = false;
                ctx.observe_task(
                    attempt,
                    Observation::Persisted { channel, checkpoint, record, at_sender },
                );
            }
            Output::PersistedOutput { channel, checkpoint, record } => {
                let channel = output_id(channel);
                let at_sender = true;
                ctx.observe_task(
                    attempt,
                    Observation::Persisted { channel, checkpoint, record, at_sender },
                );
            }
            Output::Recovered { channel, record } => {
                ctx.observe_task(
                    attempt,
                    Observation::Recovered { channel: input_id(channel), record },
                );
            }
            Output::Upload { checkpoint, link, part, bytes, nominal } => {
                let subtask = chain[link as usize];
                ctx.observe_task(attempt, step_of(subtask, Step::B5, checkpoint));
                self.upload(place, checkpoint, (link, part), bytes, nominal, ctx);
            }
            Output::Captured { link, why, state, nominal } => {
                self.on_captured(place, (link, why), (state, nominal), ctx);
            }
            Output::Acknowledge(checkpoint) => {
                for &subtask in chain {
                    ctx.observe_task(attempt, step_of(subtask, Step::B6, checkpoint));
                    ctx.observe_task(attempt, Observation::Acknowledged { subtask, checkpoint });
                }
                let (mut snapshot, copies) = task.take_snapshot(checkpoint, ctx.now());
                task.mark_named(&mut snapshot.parts);
                for (subtask, copy) in copies {
                    let (made_by, copies) = self.copies.entry(subtask).or_default();
                    *made_by = execution;
                    copies.store(checkpoint, copy);
                    if self.plan.defects.has(Defect::D41) {
                        self.empty_directory(subtask, checkpoint);
                    }
                }
                let message = Control::Acknowledge {
                    execution,
                    subtask,
                    checkpoint,
                    snapshot: Box::new(snapshot),
                };
                self.tell(message, ctx);
                self.tell_logs(place, |log| log.on_acknowledged(checkpoint), ctx);
            }
            Output::Decline { checkpoint, reason } => {
                self.give_up_snapshots(place, |_, one| one == checkpoint, ctx);
                ctx.observe_task(attempt, step(Step::B6, checkpoint));
                ctx.observe_task(attempt, Observation::Declined { subtask, checkpoint, reason });
                let message = Control::Decline { execution, subtask, checkpoint, reason };
                self.tell(message, ctx);
            }
            Output::Effect(effect) => self.on_effect(subtask, execution, effect, ctx),
            Output::NotifiedComplete(checkpoint) => {
                for increments in task.increments() {
                    increments.on_complete(checkpoint);
                }
                self.tell_logs(place, |log| log.on_complete(checkpoint), ctx);
                self.give_up_snapshots(place, |machine, one| !machine.is_taking(one), ctx);
                for &subtask in self.plan.graph.chain_of(subtask) {
                    ctx.observe_task(attempt, step_of(subtask, Step::N1, checkpoint));
                    let notified = Observation::NotifiedComplete { subtask, checkpoint };
                    ctx.observe_task(attempt, notified);
                }
            }
            Output::NotifiedAborted(checkpoint) => {
                for increments in task.increments() {
                    increments.on_aborted(checkpoint);
                }
                self.tell_logs(place, |log| log.on_aborted(checkpoint), ctx);
                self.give_up_snapshots(place, |_, one| one == checkpoint, ctx);
                for &subtask in self.plan.graph.chain_of(subtask) {
                    ctx.observe_task(attempt, Observation::NotifiedAborted { subtask, checkpoint });
                }
            }
            Output::BufferSize { gate, bytes } => {
                ctx.observe_task(
                    attempt,
                    Observation::BufferSizeAnnounced { subtask, gate, bytes },
                );
            }
            Output::RequestSplit => {
                self.tell(Control::RequestSplit { execution, subtask }, ctx);
            }
            Output::Time { link, event: TimeEvent::Fired { key, end, records } } => {
                let subtask = chain[link as usize];
                let fired = Observation::WindowFired { subtask, key, end, records };
                ctx.observe_task(attempt, fired);
            }
            Output::Time { link, event: TimeEvent::Late(record) } => {
                let subtask = chain[link as usize];
                ctx.observe_task(attempt, Observation::DroppedLate { subtask, record });
            }
            Output::Running => {
                let checkpoint = task.deployment.restored;
                for &subtask in chain {
                    let (step, of) = (Step::R6, Some(subtask));
                    let step = Observation::Step { step, checkpoint, subtask: of };
                    ctx.observe_task(attempt, step);
                    ctx.observe_task(attempt, Observation::TaskRestored { subtask, checkpoint });
                }
                self.observe_state(subtask, execution, TaskState::Running, ctx);
                self.report(execution, subtask, Report::Running, ctx);
                self.begin_materializing(place, ctx);
            }
            Output::Finished => {
                self.observe_state(subtask, execution, TaskState::Finished, ctx);
                self.tell_logs(place, Changelog::close, ctx);
                self.report(execution, subtask, Report::Finished, ctx);
            }
            Output::RestoreFailed(_) | Output::StopFailed(_) | Output::CommitGivenUp(_) => {
                self.fail(place, ctx);
            }
            Output::CommitLost(_) => self.fail_with(Report::FailedForGood, place, ctx),
            Output::Processed { .. }
            | Output::Chained { .. }
            | Output::Read(_)
            | Output::Passed { .. }
            | Output::Sent { .. }
            | Output::Transmit { .. }
            | Output::Recycled { .. }
            | Output::SendBack { .. }
            | Output::AwaitBack(_) => unreachable!("handled by the caller"),
        }
    }
}

/// Does at once what a subtask asks for with every record, and puts off the rest.
///
/// Nothing of it depends on the subtask, nor the subtask on it, so that it does not matter whether
/// it is done between two inputs or behind them; the order of what is done does. Hence everything
/// is put off as soon as something is.
pub(super) struct Hands<'a, 'c, O> {
    subtask: SubtaskId,
    execution: u32,
    lane: LaneId,
    inputs: &'a [ChannelId],
    outputs: &'a [ChannelId],
    cost: Distribution,
    draws: &'a mut Stream,
    links: &'a mut [Link],
    ctx: &'a mut Context<'c, Engine, O>,
    put_off: &'a mut Vec<Output>,
    /// What runs in the task, if changes of it are logged.
    logs: Option<&'a mut [Member]>,
}

impl Task {
    /// What the machine is to know of the wall clock of its host, before anything else happens to it.
    #[inline]
    fn tell_wall_clock<O: Observer>(
        &mut self,
        now: VirtualTime,
        ctx: &Context<'_, Engine, O>,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(ahead) = ctx.clock_offset() {
            self.set_wall_clock(now, ahead, outputs);
        }
    }

    #[cold]
    #[inline(never)]
    fn set_wall_clock(&mut self, now: VirtualTime, ahead: ClockOffset, outputs: &mut Vec<Output>) {
        self.machine.handle(now, Input::WallClock(ahead), outputs);
    }

    /// Has the wall clock read if something has come of it.
    #[inline]
    fn feel_wall_clock<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if ctx.clock_offset().is_some() && self.machine.has_read_wall_clock() {
            ctx.absolute_time();
        }
    }

    /// The machine, and who does what it asks for.
    #[inline(always)]
    fn hands<'a, 'c, O: Observer>(
        &'a mut self,
        graph: &'a ExecutionGraph,
        ctx: &'a mut Context<'c, Engine, O>,
        put_off: &'a mut Vec<Output>,
    ) -> (&'a mut Subtask, Hands<'a, 'c, O>) {
        let hands = Hands {
            subtask: self.subtask,
            execution: self.execution,
            lane: self.lane,
            inputs: graph.inputs(self.subtask),
            outputs: graph.outputs(self.tail),
            cost: self.cost,
            draws: &mut self.draws,
            links: &mut self.links,
            ctx,
            put_off,
            logs: self.logs.then_some(&mut self.members[..]),
        };
        (&mut self.machine, hands)
    }
}

impl<O: Observer> Outputs for Hands<'_, '_, O> {
    #[inline(always)]
    fn push(&mut self, output: Output) {
        let rest = if self.put_off.is_empty() { self.act(output) } else { Some(output) };
        if let Some(output) = rest {
            self.put_off(output);
        }
    }

    #[inline]
    fn take_back(&mut self, channel: OutputChannel) -> Option<Back> {
        self.ctx.take_back(self.outputs[channel.index()], self.execution)
    }
}

impl<O: Observer> Hands<'_, '_, O> {
    /// Does one thing, unless it is of those that are put off.
    #[inline(always)]
    fn act(&mut self, output: Output) -> Option<Output> {
        match output {
            Output::Processed { channel, record } => {
                let channel = self.inputs[channel.index()];
                self.observe(Observation::Processed { channel, record });
                self.charge(&record);
                self.log(0, &record);
            }
            Output::Chained { link, record } => self.hand_on(link, record),
            Output::Read(record) => {
                let (subtask, Record { split, offset, .. }) = (self.subtask, record);
                self.observe(Observation::SourceEmitted { subtask, split, offset });
                self.charge(&record);
            }
            Output::Passed { channel, record } => {
                let channel = self.outputs[channel.index()];
                self.observe(Observation::Sent { channel, record });
                let element = Element::Buffer(record);
                let frame = Frame { element, priority: false, backlog: 0 };
                self.ctx.transmit(channel, self.execution, frame, record.bytes());
            }
            Output::Sent { channel, record } => {
                let channel = self.outputs[channel.index()];
                self.observe(Observation::Sent { channel, record });
            }
            Output::Transmit { channel, frame } => {
                let channel = self.outputs[channel.index()];
                self.ctx.transmit(channel, self.execution, frame, wire_bytes(&frame));
                if frame.element == Element::EndOfPartition {
                    self.ctx.end_channel(channel, self.execution);
                }
            }
            Output::SendBack { channel, back } => {
                let now = self.ctx.now();
                self.ctx.send_back(self.inputs[channel.index()], self.execution, back, now);
            }
            Output::Recycled { channel, credit } => {
                let free = self.ctx.busy_until(self.lane);
                let back = Back::Credit(credit);
                self.ctx.send_back(self.inputs[channel.index()], self.execution, back, free);
            }
            other => return Some(other),
        }
        None
    }

    #[inline(always)]
    fn observe(&mut self, observation: Observation) {
        self.ctx.observe_task((self.subtask, self.execution), observation);
    }

    #[inline(always)]
    fn charge(&mut self, record: &Record) {
        let span = self.cost.draw(self.draws) * u64::from(record.weight);
        self.ctx.charge(self.lane, span);
    }

    /// A record was sent and processed in one, by call; it costs what it costs its receiver.
    fn hand_on(&mut self, link: u32, record: Record) {
        let Link { channel, cost, draws, .. } = &mut self.links[link as usize - 1];
        let channel = *channel;
        let span = cost.draw(draws) * u64::from(record.weight);
        self.observe(Observation::Sent { channel, record });
        self.observe(Observation::Processed { channel, record });
        self.ctx.charge(self.lane, span);
        self.log(link, &record);
    }

    /// A record changes the state of its key. Deviation: one update each, whatever the operator does.
    #[inline(always)]
    fn log(&mut self, link: u32, record: &Record) {
        if let Some(members) = &mut self.logs
            && record.is_data()
            && let Some(log) = &mut members[link as usize].changelog
        {
            log.append(u64::from(record.weight));
        }
    }

    #[cold]
    #[inline(never)]
    fn put_off(&mut self, output: Output) {
        self.put_off.push(output);
    }
}

/// The barrier has gone through a chain: it comes to each operator by call, and is behind all that the
/// one before has emitted.
fn observe_link_cut<O: Observer>(
    channel: ChannelId,
    (subtask, execution): (SubtaskId, u32),
    checkpoint: CheckpointId,
    head: CutKind,
    ctx: &mut Context<'_, Engine, O>,
) {
    let attempt = (subtask, execution);
    let how = match head {
        CutKind::Source | CutKind::Aligned | CutKind::Unaligned => CutKind::Aligned,
        CutKind::AtLeastOnce => CutKind::AtLeastOnce,
    };
    let step =
        |step| Observation::Step { step, checkpoint: Some(checkpoint), subtask: Some(subtask) };
    ctx.observe_task(attempt, Observation::BarrierSent { channel, checkpoint });
    ctx.observe_task(attempt, Observation::BarrierReceived { channel, checkpoint });
    for taken in [Step::B1, Step::B2, Step::B3] {
        ctx.observe_task(attempt, step(taken));
    }
    ctx.observe_task(attempt, Observation::Cut { subtask, checkpoint, how });
    ctx.observe_task(attempt, step(Step::B4));
}

/// Bytes of an element on the wire; events are small.
#[inline]
fn wire_bytes(frame: &Frame) -> u64 {
    match frame.element {
        Element::Buffer(record) => record.bytes(),
        Element::Barrier(_)
        | Element::CancelMarker(_)
        | Element::EpochWatermark { .. }
        | Element::EndOfData
        | Element::EndOfPartition => 64,
    }
}
