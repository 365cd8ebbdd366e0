//! The world's state, and how events reach processes.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};
use std::ops::ControlFlow;

use super::faults::{Faults, PlannedFault, PlannedFaultKind, PlannedWhen};
use super::network::{DataChannel, End, Lane, Link};
use super::outside::{KnownSnapshot, Outside};
use super::services::{
    self, Answer, ExternalSystem, HaStore, Ownership, Pointer, Purpose, Refusal, Request,
};
use super::store::ObjectStore;
use super::{Event, LaneId, Observer, Process, ProcessId};
use crate::kernel::distribution::Distribution;
use crate::kernel::queue::Queue;
use crate::kernel::run::Dispatch;
use crate::kernel::stream::{Stream, Streams};
use crate::observe::{JobEnd, Observation};
use crate::scenario::model::StorageOperation;

/// What a world is made of, besides its processes.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// One name a process; random streams are keyed by it.
    pub process_names: Vec<String>,
    /// Number of data channels.
    pub channels: usize,
    /// One-way latency of data between hosts (none within a host).
    pub data_latency: Distribution,
    /// Bytes a second of one link; 0: unlimited.
    pub bandwidth: u64,
    /// One-way latency of control messages.
    pub control_latency: Distribution,
    /// Time of an object-store request without its bytes.
    pub storage_latency: Distribution,
    /// Nominal bytes a second of one object-store request; 0: unlimited.
    pub storage_bandwidth: u64,
    /// Time until a written object can be read and listed.
    pub storage_visibility: Distribution,
    /// Time of an HA-store request.
    pub ha_latency: Distribution,
    /// Time of a request to the external system.
    pub external_latency: Distribution,
    /// Time from the death of a process to the start of the next one in its place.
    pub process_restart: Distribution,
}

/// A pending event of the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// A lane may be free.
    Lane(LaneId),
    /// The front of a channel's way back.
    Back(ChannelId),
    /// A control message, by its place in the slab.
    Mail(u32),
    /// A request is applied.
    Apply(u32),
    /// An answer arrives.
    Answer(u32),
    /// A timer of a process.
    Timer {
        /// Whose.
        process: ProcessId,
        /// In which of its lives.
        life: u32,
        /// Its name for it.
        token: u32,
    },
    /// A process starts.
    Start(ProcessId),
    /// A paused process goes on.
    Unpause(ProcessId),
    /// A survivor learns that a process died.
    Lost {
        /// Who learns it.
        process: ProcessId,
        /// Who died.
        peer: ProcessId,
    },
    /// A fault of the plan strikes.
    Fault(u32),
    /// Its effect ends.
    Healed(u32),
    /// Somebody outside asks for something, by its index in the plan.
    Ask(u32),
}

#[derive(Debug)]
enum Parcel<C> {
    Empty,
    Mail {
        from: ProcessId,
        to: ProcessId,
        life: u32,
        message: C,
    },
    Request {
        from: ProcessId,
        life: u32,
        session: u64,
        token: u64,
        back: VirtualDuration,
        request: Request,
    },
    Answer {
        to: ProcessId,
        life: u32,
        token: u64,
        answer: Result<Answer, Refusal>,
    },
}

#[derive(Debug)]
struct Host {
    alive: bool,
    /// Counts the processes that lived here; what was meant for a former one is dropped.
    life: u32,
    paused_until: VirtualTime,
    deferred: Vec<Due>,
    /// The leader session its requests to the HA store carry.
    session: u64,
    storage: Stream,
    restart: Stream,
}

/// Everything but the processes themselves.
#[derive(Debug)]
pub struct Core<P: Process, O> {
    /// Where observations go.
    pub observer: O,
    /// The object store.
    pub store: ObjectStore,
    /// The high-availability store.
    pub ha: HaStore,
    /// The external transaction system.
    pub external: ExternalSystem,
    /// The execution that makes the job's history.
    execution: u32,
    config: WorldConfig,
    streams: Streams,
    hosts: Vec<Host>,
    links: Vec<Link>,
    lanes: Vec<Lane>,
    free_lanes: Vec<LaneId>,
    channels: Vec<DataChannel<P::Data, P::Back>>,
    parcels: Vec<Parcel<P::Control>>,
    free_parcels: Vec<u32>,
    faults: Faults,
    outside: Outside,
    /// The process that people outside talk to: the one that led last.
    leader: ProcessId,
    ended: Option<JobEnd>,
}

/// Processes and the world around them.
#[derive(Debug)]
pub struct World<P: Process, O> {
    /// The processes, by id.
    pub processes: Vec<P>,
    /// The rest.
    pub core: Core<P, O>,
}

/// What a process can do while it handles an event.
pub struct Context<'a, P: Process, O> {
    core: &'a mut Core<P, O>,
    queue: &'a mut Queue<Due>,
    now: VirtualTime,
    me: ProcessId,
}

impl<P: Process, O: Observer> World<P, O> {
    /// Sets up a world and schedules the start of every process, in order, at time zero.
    /// `channel_names` gives the stable name by which a channel's random stream is keyed.
    pub fn new(
        config: WorldConfig,
        seed: u64,
        processes: Vec<P>,
        channel_names: impl Fn(ChannelId) -> String,
        (faults, asked): (Vec<PlannedFault>, Vec<PlannedWhen>),
        observer: O,
        queue: &mut Queue<Due>,
    ) -> Self {
        let streams = Streams { seed };
        let names = &config.process_names;
        assert_eq!(names.len(), processes.len());
        let host = |name: &String| Host {
            alive: true,
            life: 0,
            paused_until: VirtualTime::ZERO,
            deferred: Vec::new(),
            session: 0,
            storage: streams.stream("requests", name),
            restart: streams.stream("process-restart", name),
        };
        let hosts: Vec<Host> = names.iter().map(host).collect();
        let links = names
            .iter()
            .flat_map(|from| names.iter().map(move |to| (from, to)))
            .map(|(from, to)| Link::new(streams.stream("control", &format!("{from}->{to}"))))
            .collect();
        let channels = (0..config.channels)
            .map(|index| {
                let name = channel_names(ChannelId(index as u32));
                DataChannel::new(streams.stream("latency", &name))
            })
            .collect();
        let (faults, outside) = (Faults::new(faults), Outside::new(asked));
        for (index, fault) in (0..).zip(&faults.plan) {
            if let PlannedWhen::Time(at) = fault.when {
                queue.push(at, Due::Fault(index));
            }
        }
        for (index, when) in (0..).zip(outside.plan()) {
            if let PlannedWhen::Time(at) = *when {
                queue.push(at, Due::Ask(index));
            }
        }
        for index in 0..processes.len() {
            queue.push(VirtualTime::ZERO, Due::Start(ProcessId(index as u32)));
        }
        let core = Core {
            observer,
            store: ObjectStore::default(),
            ha: HaStore::default(),
            external: ExternalSystem::default(),
            execution: 0,
            config,
            streams,
            hosts,
            links,
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            channels,
            parcels: Vec::new(),
            free_parcels: Vec::new(),
            faults,
            outside,
            leader: ProcessId(0),
            ended: None,
        };
        Self { processes, core }
    }

    /// How the job ended, if it has.
    pub fn ended(&self) -> Option<JobEnd> {
        self.core.ended
    }

    fn deliver(
        &mut self,
        to: ProcessId,
        event: Event<P>,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let mut context = Context { core: &mut self.core, queue, now, me: to };
        self.processes[to.index()].handle(event, &mut context);
    }

    fn on_lane(&mut self, lane: LaneId, now: VirtualTime, queue: &mut Queue<Due>) {
        let state = &mut self.core.lanes[lane.index()];
        if state.wake_at != now && state.alarm_at != now {
            // Left over: the lane was woken earlier, or has ended.
            return;
        }
        let Some(owner) = state.owner else { return };
        if state.alarm_at == now {
            state.alarm_at = VirtualTime::MAX;
        }
        if state.wake_at == now {
            state.wake_at = VirtualTime::MAX;
        }
        let free_at = state.busy_until.max(self.core.hosts[owner.index()].paused_until);
        if free_at > now {
            self.core.wake(lane, free_at, queue);
            return;
        }
        state.ready = false;
        self.deliver(owner, Event::Lane(lane), now, queue);
        self.core.rearm(lane, queue);
    }

    fn on_back(&mut self, channel: ChannelId, now: VirtualTime, queue: &mut Queue<Due>) {
        let state = &mut self.core.channels[channel.index()];
        state.back_scheduled = false;
        let Some(end) = state.from.filter(|_| state.back_wanted) else { return };
        if state.back.front().is_some_and(|(at, _)| *at <= now) {
            self.deliver(end.process, Event::Back { channel }, now, queue);
        }
        self.core.schedule_back(channel, queue);
    }

    fn on_mail(&mut self, slot: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        match self.core.take_parcel(slot) {
            Parcel::Mail { from, to, life, message } => {
                if self.core.lives(to, life) {
                    self.deliver(to, Event::Message { from, message }, now, queue);
                }
            }
            Parcel::Answer { to, life, token, answer } => {
                if self.core.lives(to, life) {
                    if let Ok(Answer::Session(session)) = answer {
                        self.core.hosts[to.index()].session = session;
                    }
                    self.deliver(to, Event::Answered { token, answer }, now, queue);
                }
            }
            Parcel::Request { .. } | Parcel::Empty => unreachable!("parcels are taken once"),
        }
    }

    fn on_start(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) {
        let host = &mut self.core.hosts[process.index()];
        if host.life > 0 {
            self.processes[process.index()] = self.processes[process.index()].reborn();
        }
        host.alive = true;
        self.deliver(process, Event::Started, now, queue);
    }

    fn on_unpause(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) {
        if self.core.hosts[process.index()].paused_until > now {
            return;
        }
        for due in std::mem::take(&mut self.core.hosts[process.index()].deferred) {
            self.route(now, due, queue);
        }
    }

    fn on_fault(&mut self, index: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        let kind = self.core.faults.plan[index as usize].kind;
        if self.strike(kind, now, queue) {
            self.core.observer.observe(now, &Observation::FaultInjected { fault: index });
            let healed = match kind {
                PlannedFaultKind::Pause(_, span)
                | PlannedFaultKind::SlowLink(_, _, _, span)
                | PlannedFaultKind::CutLink(_, _, span)
                | PlannedFaultKind::SlowStorage(_, _, span)
                | PlannedFaultKind::Command(super::Command::Pause(_, span)) => span,
                PlannedFaultKind::Command(super::Command::Throw(_))
                | PlannedFaultKind::Crash(_)
                | PlannedFaultKind::FailStorage(..) => VirtualDuration::ZERO,
            };
            queue.push(now + healed, Due::Healed(index));
        }
    }

    /// Lets a fault act; false if there was nothing to act on.
    fn strike(&mut self, kind: PlannedFaultKind, now: VirtualTime, queue: &mut Queue<Due>) -> bool {
        match kind {
            PlannedFaultKind::Command(command) => {
                for index in 0..self.processes.len() {
                    let process = ProcessId(index as u32);
                    if self.core.hosts[index].alive {
                        self.deliver(process, Event::Command(command), now, queue);
                    }
                }
                true
            }
            PlannedFaultKind::Crash(process) => self.core.crash(process, now, queue),
            PlannedFaultKind::Pause(process, span) => {
                let host = &mut self.core.hosts[process.index()];
                host.paused_until = host.paused_until.max(now + span);
                queue.push(host.paused_until, Due::Unpause(process));
                host.alive
            }
            PlannedFaultKind::SlowLink(a, b, factor, span) => {
                for (from, to) in [(a, b), (b, a)] {
                    let link = self.core.link(from, to);
                    link.slow_factor = factor;
                    link.slow_until = now + span;
                }
                true
            }
            PlannedFaultKind::CutLink(a, b, span) => {
                for (from, to) in [(a, b), (b, a)] {
                    let link = self.core.link(from, to);
                    link.cut_until = link.cut_until.max(now + span);
                }
                true
            }
            PlannedFaultKind::SlowStorage(operation, by, span) => {
                self.core.faults.slow.push((operation, by, now + span));
                true
            }
            PlannedFaultKind::FailStorage(operation, count) => {
                self.core.faults.fail.push((operation, count));
                true
            }
        }
    }
}

impl<P: Process, O: Observer> Dispatch for World<P, O> {
    type Event = Due;

    #[inline]
    fn dispatch(&mut self, now: VirtualTime, due: Due, queue: &mut Queue<Due>) -> ControlFlow<()> {
        self.route(now, due, queue);
        let Core { observer, store, ha, ended, .. } = &mut self.core;
        observer.settle(now, store, ha)?;
        // A job that has ended is over when nothing is under way any more.
        if ended.is_some() && self.core.parcels.len() == self.core.free_parcels.len() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl<P: Process, O: Observer> World<P, O> {
    #[inline]
    fn route(&mut self, now: VirtualTime, due: Due, queue: &mut Queue<Due>) {
        if let Due::Lane(lane) = due {
            self.on_lane(lane, now, queue);
            return;
        }
        if let Some(process) = self.core.addressee(due) {
            let host = &mut self.core.hosts[process.index()];
            if host.paused_until > now {
                host.deferred.push(due);
                return;
            }
        }
        match due {
            Due::Lane(_) => unreachable!("lanes were served above"),
            Due::Back(channel) => self.on_back(channel, now, queue),
            Due::Mail(slot) | Due::Answer(slot) => self.on_mail(slot, now, queue),
            Due::Apply(slot) => self.core.apply(slot, now, queue),
            Due::Timer { process, life, token } => {
                if self.core.lives(process, life) {
                    self.deliver(process, Event::Timer(u64::from(token)), now, queue);
                }
            }
            Due::Start(process) => self.on_start(process, now, queue),
            Due::Unpause(process) => self.on_unpause(process, now, queue),
            Due::Lost { process, peer } => {
                if self.core.hosts[process.index()].alive {
                    self.deliver(process, Event::PeerLost { peer }, now, queue);
                }
            }
            Due::Fault(index) => self.on_fault(index, now, queue),
            Due::Healed(fault) => {
                self.core.observer.observe(now, &Observation::FaultHealed { fault });
            }
            Due::Ask(index) => {
                self.core.outside.ask(index);
                let leader = self.core.leader;
                if self.core.hosts[leader.index()].alive {
                    self.deliver(leader, Event::Asked, now, queue);
                }
            }
        }
    }
}

impl<P: Process, O: Observer> Core<P, O> {
    /// The process that would handle an event, if it can be paused. A lane is not served by an
    /// event of its own while its process is paused: it is woken again afterwards.
    fn addressee(&self, due: Due) -> Option<ProcessId> {
        match due {
            Due::Timer { process, .. } | Due::Lost { process, .. } => Some(process),
            Due::Ask(_) => Some(self.leader),
            Due::Mail(slot) | Due::Answer(slot) => match &self.parcels[slot as usize] {
                Parcel::Mail { to, .. } | Parcel::Answer { to, .. } => Some(*to),
                Parcel::Request { .. } | Parcel::Empty => None,
            },
            Due::Back(channel) => self.channels[channel.index()].from.map(|end| end.process),
            Due::Lane(_)
            | Due::Apply(_)
            | Due::Start(_)
            | Due::Unpause(_)
            | Due::Fault(_)
            | Due::Healed(_) => None,
        }
    }

    fn lives(&self, process: ProcessId, life: u32) -> bool {
        let host = &self.hosts[process.index()];
        host.alive && host.life == life
    }

    fn link(&mut self, from: ProcessId, to: ProcessId) -> &mut Link {
        &mut self.links[from.index() * self.hosts.len() + to.index()]
    }

    fn crash(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) -> bool {
        let host = &mut self.hosts[process.index()];
        if !host.alive {
            return false;
        }
        self.observer.observe(now, &Observation::ProcessLost { process: process.0 });
        host.alive = false;
        host.life += 1;
        host.deferred.clear();
        host.paused_until = now;
        let restart = self.config.process_restart.draw(&mut host.restart);
        queue.push(now + restart, Due::Start(process));
        for channel in &mut self.channels {
            channel.from = channel.from.filter(|end| end.process != process);
            channel.to = channel.to.filter(|end| end.process != process);
        }
        for index in 0..self.lanes.len() {
            if self.lanes[index].owner == Some(process) {
                self.release(LaneId(index as u32));
            }
        }
        for index in 0..self.hosts.len() {
            let peer = ProcessId(index as u32);
            if peer != process {
                let at = self.control_arrival(process, peer, now);
                queue.push(at, Due::Lost { process: peer, peer: process });
            }
        }
        true
    }

    fn control_arrival(&mut self, from: ProcessId, to: ProcessId, now: VirtualTime) -> VirtualTime {
        let latency = self.config.control_latency;
        let link = self.link(from, to);
        let latency = latency.draw(&mut link.control);
        let at = link.arrival(now, latency).max(link.last_control);
        link.last_control = at;
        at
    }

    fn put_parcel(&mut self, parcel: Parcel<P::Control>) -> u32 {
        match self.free_parcels.pop() {
            Some(slot) => {
                self.parcels[slot as usize] = parcel;
                slot
            }
            None => {
                self.parcels.push(parcel);
                self.parcels.len() as u32 - 1
            }
        }
    }

    fn take_parcel(&mut self, slot: u32) -> Parcel<P::Control> {
        self.free_parcels.push(slot);
        std::mem::replace(&mut self.parcels[slot as usize], Parcel::Empty)
    }

    /// Wakes a lane at a time, or when it becomes free.
    #[inline]
    fn wake(&mut self, lane: LaneId, at: VirtualTime, queue: &mut Queue<Due>) {
        let state = &mut self.lanes[lane.index()];
        let at = at.max(state.busy_until).max(queue.now());
        if at < state.wake_at {
            state.wake_at = at;
            queue.push(at, Due::Lane(lane));
        }
    }

    /// After a lane was served: when must it be looked at next?
    #[inline]
    fn rearm(&mut self, lane: LaneId, queue: &mut Queue<Due>) {
        let state = &self.lanes[lane.index()];
        if state.owner.is_none() {
            return;
        }
        if state.ready {
            let at = state.busy_until;
            self.wake(lane, at, queue);
        } else if let Some(Reverse((at, _))) = state.arrivals.peek() {
            let at = *at;
            self.wake(lane, at, queue);
        }
    }

    fn release(&mut self, lane: LaneId) {
        let state = &mut self.lanes[lane.index()];
        state.owner = None;
        state.wake_at = VirtualTime::MAX;
        state.alarm_at = VirtualTime::MAX;
        state.arrivals.clear();
        self.free_lanes.push(lane);
    }

    fn schedule_back(&mut self, channel: ChannelId, queue: &mut Queue<Due>) {
        let state = &mut self.channels[channel.index()];
        if state.back_wanted
            && !state.back_scheduled
            && let Some((at, _)) = state.back.front()
        {
            state.back_scheduled = true;
            queue.push((*at).max(queue.now()), Due::Back(channel));
        }
    }

    fn apply(&mut self, slot: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        let Parcel::Request { from, life, session, token, back, request } = self.take_parcel(slot)
        else {
            unreachable!("only requests are applied");
        };
        let operation = operation_of(&request);
        let failed = operation.is_some_and(|operation| self.faults.fails(operation));
        let answer = if failed {
            Err(Refusal::Failed)
        } else {
            self.apply_request(request, (from, session), !self.lives(from, life), now)
        };
        let slot = self.put_parcel(Parcel::Answer { to: from, life, token, answer });
        queue.push(now + back, Due::Answer(slot));
    }

    fn apply_request(
        &mut self,
        request: Request,
        (from, session): (ProcessId, u64),
        orphaned: bool,
        now: VirtualTime,
    ) -> Result<Answer, Refusal> {
        let fenced = session < self.ha.session;
        match request {
            Request::Put { path, bytes, nominal, purpose: _ } => {
                let stream = &mut self.hosts[0].storage;
                let visible = now + self.config.storage_visibility.draw(stream);
                let file = self.store.put(path, bytes, nominal, visible);
                self.observer
                    .observe(now, &Observation::FileWritten { file, bytes: nominal, orphaned });
                Ok(Answer::Done)
            }
            Request::Get { path } => match self.store.get(&path) {
                Some(object) if object.visible_at <= now => {
                    Ok(Answer::Object { bytes: object.bytes.clone() })
                }
                Some(_) | None => Err(Refusal::NotFound),
            },
            Request::Delete { path } => {
                if let Some(object) = self.store.delete(&path) {
                    self.observer.observe(now, &Observation::FileDeleted { file: object.file });
                }
                Ok(Answer::Done)
            }
            Request::List { prefix } => {
                let visible =
                    self.store.list(&prefix).filter(|(_, object)| object.visible_at <= now);
                Ok(Answer::Paths(visible.map(|(path, _)| path.to_owned()).collect()))
            }
            Request::Lead => {
                self.ha.session += 1;
                self.leader = from;
                let session = self.ha.session;
                self.observer.observe(now, &Observation::LeaderElected { session });
                Ok(Answer::Session(session))
            }
            Request::ReadPointers => Ok(Answer::Pointers {
                pointers: self.ha.pointers.iter().map(|(id, path)| (*id, path.clone())).collect(),
                ended: self.ha.ended,
            }),
            Request::NextCheckpointId
            | Request::AddPointer { .. }
            | Request::Adopt(_)
            | Request::RemovePointer { .. }
            | Request::StoreJobResult(_)
                if fenced =>
            {
                Err(Refusal::Fenced)
            }
            Request::NextCheckpointId => {
                self.ha.counter += 1;
                Ok(Answer::CheckpointId(CheckpointId(self.ha.counter)))
            }
            Request::AddPointer { checkpoint, metadata } => {
                let pointer = Pointer { metadata, ownership: Ownership::Taker };
                self.ha.pointers.insert(checkpoint, pointer);
                self.observer.observe(now, &Observation::Durable { checkpoint });
                Ok(Answer::Done)
            }
            Request::Adopt(adoption) => {
                let services::Adoption { action, checkpoint, pointer } = adoption;
                let claimed = pointer.ownership == Ownership::Claimed;
                // Another job: what the last one has left here is none of its business.
                self.ha.ended = None;
                self.ha.pointers.clear();
                self.ha.pointers.insert(checkpoint, pointer);
                self.outside.take(action);
                self.observer.observe(now, &Observation::ActionTaken { action });
                self.observer.observe(now, &Observation::Adopted { checkpoint, claimed });
                Ok(Answer::Done)
            }
            Request::RemovePointer { checkpoint } => {
                self.ha.pointers.remove(&checkpoint);
                Ok(Answer::Done)
            }
            Request::StoreJobResult(end) => {
                if self.ha.ended.replace(end).is_none() {
                    self.observer.observe(now, &Observation::JobEnded { end });
                }
                Ok(Answer::Done)
            }
            Request::PreCommit { transaction, checkpoint, contents } => {
                if !self.external.pre_commit(transaction, checkpoint, contents) {
                    return Err(Refusal::UnknownTransaction);
                }
                let stored = self.external.transactions[&transaction];
                let transaction = services::observed(transaction, &stored);
                self.observer.observe(now, &Observation::PreCommitted { transaction, contents });
                Ok(Answer::Done)
            }
            Request::Commit { transaction } => {
                if let Some(stored) = self.external.commit(transaction)? {
                    let transaction = services::observed(transaction, &stored);
                    let contents = stored.contents;
                    self.observer.observe(now, &Observation::Committed { transaction, contents });
                }
                Ok(Answer::Done)
            }
            Request::AbortLeftOvers(left_overs) => {
                for (transaction, stored) in self.external.abort_left_overs(&left_overs) {
                    let transaction = services::observed(transaction, &stored);
                    self.observer.observe(now, &Observation::TransactionAborted { transaction });
                }
                Ok(Answer::Done)
            }
        }
    }
}

/// Which storage faults concern a request; none concern the external system.
fn operation_of(request: &Request) -> Option<StorageOperation> {
    match request {
        Request::Put { purpose: Purpose::State, .. } => Some(StorageOperation::WriteState),
        Request::Put { purpose: Purpose::Metadata, .. } => Some(StorageOperation::WriteMetadata),
        Request::Get { .. } | Request::List { .. } => Some(StorageOperation::Read),
        Request::Delete { .. } => Some(StorageOperation::Delete),
        Request::AddPointer { .. } | Request::Adopt(_) | Request::RemovePointer { .. } => {
            Some(StorageOperation::WritePointer)
        }
        Request::NextCheckpointId
        | Request::ReadPointers
        | Request::Lead
        | Request::StoreJobResult(_)
        | Request::PreCommit { .. }
        | Request::Commit { .. }
        | Request::AbortLeftOvers(_) => None,
    }
}

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// The present.
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

    /// Reports an observation of a task. A task whose execution was replaced while nobody could tell
    /// it may still run: what it does is no part of the job's history. (What reaches the outside
    /// is, and is reported by [`observe`](Self::observe).)
    #[inline(always)]
    pub fn observe_task(&mut self, execution: u32, observation: Observation) {
        if execution >= self.core.execution {
            self.observe(observation);
        }
    }

    /// From here on only tasks of this execution, or of later ones, make the job's history.
    pub fn begin_execution(&mut self, execution: u32, from: Option<CheckpointId>) {
        self.core.execution = self.core.execution.max(execution);
        self.core.outside.go_back(from);
    }

    #[cold]
    #[inline(never)]
    fn strike_at(
        &mut self,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) {
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
        self.core.outside.take(action);
        self.core.observer.observe(self.now, &Observation::ActionTaken { action });
    }

    /// Tells people outside of a complete snapshot.
    pub fn tell(&mut self, snapshot: KnownSnapshot) {
        self.core.outside.tell(snapshot);
    }

    /// The snapshots that people outside know of, in the order in which they were told.
    pub fn told(&self) -> &[KnownSnapshot] {
        self.core.outside.told()
    }

    /// Sends a control message. It is lost if the receiver dies before it arrives.
    pub fn send(&mut self, to: ProcessId, message: P::Control) {
        let at = self.core.control_arrival(self.me, to, self.now);
        let life = self.core.hosts[to.index()].life;
        let slot = self.core.put_parcel(Parcel::Mail { from: self.me, to, life, message });
        self.queue.push(at, Due::Mail(slot));
    }

    /// Sets a timer. Timers cannot be cancelled; one that comes late is to be ignored.
    pub fn timer(&mut self, at: VirtualTime, token: u32) {
        let life = self.core.hosts[self.me.index()].life;
        self.queue.push(at.max(self.now), Due::Timer { process: self.me, life, token });
    }

    /// Sends a request to a store or service; the answer comes back with the token.
    pub fn request(&mut self, token: u64, request: Request) {
        let config = &self.core.config;
        let host = &mut self.core.hosts[self.me.index()];
        let (latency, nominal) = match &request {
            Request::Put { nominal, .. } => (config.storage_latency, *nominal),
            Request::Get { path } => {
                let nominal = self.core.store.get(path).map_or(0, |object| object.nominal);
                (config.storage_latency, nominal)
            }
            Request::Delete { .. } | Request::List { .. } => (config.storage_latency, 0),
            Request::NextCheckpointId
            | Request::AddPointer { .. }
            | Request::Adopt(_)
            | Request::RemovePointer { .. }
            | Request::ReadPointers
            | Request::Lead
            | Request::StoreJobResult(_) => (config.ha_latency, 0),
            Request::PreCommit { .. } | Request::Commit { .. } | Request::AbortLeftOvers(_) => {
                (config.external_latency, 0)
            }
        };
        let mut span =
            latency.draw(&mut host.storage) + transfer(nominal, config.storage_bandwidth);
        if let Some(operation) = operation_of(&request) {
            span += self.core.faults.delay(operation, self.now);
        }
        // The last quarter is the way of the answer.
        let back = VirtualDuration(span.as_nanos() / 4);
        let (life, session) = (host.life, host.session);
        let parcel = Parcel::Request { from: self.me, life, session, token, back, request };
        let slot = self.core.put_parcel(parcel);
        self.queue.push(self.now + span.saturating_sub(back), Due::Apply(slot));
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

    /// Attaches a lane as the sender of a channel in an execution (`epoch`). False if the channel
    /// belongs to a newer execution.
    pub fn attach_sender(&mut self, channel: ChannelId, epoch: u32, lane: LaneId) -> bool {
        self.attach(channel, epoch, |state, end| state.from = Some(end), lane)
    }

    /// Attaches a lane as the receiver of a channel in an execution (`epoch`).
    pub fn attach_receiver(&mut self, channel: ChannelId, epoch: u32, lane: LaneId) -> bool {
        self.attach(channel, epoch, |state, end| state.to = Some(end), lane)
    }

    fn attach(
        &mut self,
        channel: ChannelId,
        epoch: u32,
        set: impl FnOnce(&mut DataChannel<P::Data, P::Back>, End),
        lane: LaneId,
    ) -> bool {
        let state = &mut self.core.channels[channel.index()];
        if epoch > state.epoch {
            state.renew(epoch);
        }
        if epoch < state.epoch {
            return false;
        }
        set(state, End { lane, process: self.me });
        true
    }

    /// Sends an element over a channel. Lost without a word if the channel is another execution's
    /// by now, or if nobody receives.
    #[inline]
    pub fn transmit(&mut self, channel: ChannelId, epoch: u32, data: P::Data, bytes: u64) {
        let core = &mut *self.core;
        let state = &mut core.channels[channel.index()];
        let Some(to) = state.to.filter(|_| state.epoch == epoch) else { return };
        let mut at = self.now;
        if to.process != self.me {
            let hosts = core.hosts.len();
            let link = &mut core.links[self.me.index() * hosts + to.process.index()];
            if core.config.bandwidth > 0 {
                link.free_at = link.free_at.max(at) + transfer(bytes, core.config.bandwidth);
                at = link.free_at;
            }
            at = link.arrival(at, core.config.data_latency.draw(&mut state.latency));
        }
        at = at.max(state.last_arrival);
        state.last_arrival = at;
        let first = state.flight.is_empty();
        state.flight.push_back((at, data));
        if first {
            core.lanes[to.lane.index()].arrivals.push(Reverse((at, channel)));
            core.wake(to.lane, at, self.queue);
        }
    }

    /// The next element that has arrived for a lane, in order of arrival.
    #[inline]
    pub fn arrival(&mut self, lane: LaneId) -> Option<(ChannelId, P::Data)> {
        let core = &mut *self.core;
        let arrivals = &mut core.lanes[lane.index()].arrivals;
        loop {
            let mut head = arrivals.peek_mut()?;
            let Reverse((at, channel)) = *head;
            if at > self.now {
                return None;
            }
            let state = &mut core.channels[channel.index()];
            let mine = state.to.is_some_and(|end| end.lane == lane);
            let Some((_, data)) = (if mine { state.flight.pop_front() } else { None }) else {
                // The channel was renewed for a newer execution since.
                PeekMut::pop(head);
                continue;
            };
            match state.flight.front() {
                Some((next, _)) => *head = Reverse((*next, channel)),
                None => {
                    PeekMut::pop(head);
                }
            }
            return Some((channel, data));
        }
    }

    /// Sends something back to the sender of a channel.
    #[inline]
    pub fn send_back(&mut self, channel: ChannelId, epoch: u32, back: P::Back) {
        let core = &mut *self.core;
        let state = &mut core.channels[channel.index()];
        if state.epoch != epoch {
            return;
        }
        let mut at = self.now;
        let from = state.from.map(|end| end.process);
        if from != Some(self.me) {
            // The way back has the same latency as the way there, as the draw of the channel.
            at += core.config.data_latency.draw(&mut state.latency);
        }
        at = at.max(state.last_back);
        state.last_back = at;
        state.back.push_back((at, back));
        if state.back_wanted {
            core.schedule_back(channel, self.queue);
        }
    }

    /// Takes what has come back on a channel, oldest first.
    #[inline]
    pub fn take_back(&mut self, channel: ChannelId, epoch: u32) -> Option<P::Back> {
        let state = &mut self.core.channels[channel.index()];
        if state.epoch != epoch || state.back.front().is_none_or(|(at, _)| *at > self.now) {
            return None;
        }
        state.back.pop_front().map(|(_, back)| back)
    }

    /// Says whether the sender waits for something to come back: only then is there an event.
    #[inline]
    pub fn want_back(&mut self, channel: ChannelId, epoch: u32, wanted: bool) {
        let state = &mut self.core.channels[channel.index()];
        if state.epoch != epoch || state.back_wanted == wanted {
            return;
        }
        state.back_wanted = wanted;
        if wanted {
            self.core.schedule_back(channel, self.queue);
        }
    }
}

/// Time that so many bytes take; bandwidth 0 is unlimited.
#[inline]
fn transfer(bytes: u64, bandwidth: u64) -> VirtualDuration {
    if bandwidth == 0 {
        return VirtualDuration::ZERO;
    }
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bandwidth);
    VirtualDuration(u64::try_from(nanos).unwrap_or(u64::MAX))
}
