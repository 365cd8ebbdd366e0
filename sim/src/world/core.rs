//! The world's state.
//!
//! [`routing`] brings events to processes; [`context`] is what a process can do about them, with
//! [`channels`] for data and [`requests`] for what leaves its host otherwise; [`losses`] is what
//! becomes of control messages that do not arrive; [`clocks`] what processes know of the time.

mod channels;
mod client;
mod clocks;
mod context;
mod losses;
mod requests;
mod routing;
mod scheme;

use std::cmp::Reverse;

use cutline::config::Scheme;
use cutline::ids::{ChannelId, SubtaskId};
use cutline::time::{VirtualDuration, VirtualTime};

use self::scheme::PrefixLimits;
use super::clock::Clocks;
use super::external::ExternalSystem;
use super::faults::{Faults, PlannedFault, PlannedWhen};
use super::network::{ChannelStreams, DataChannel, Lane, Link, LinkConfig};
use super::outside::Outside;
use super::reorder::{Flow, Reorder};
use super::services::{Answer, HaStore, Refusal, Request, Service};
use super::store::ObjectStore;
use super::{LaneId, Observer, Process, ProcessId};
use crate::kernel::distribution::Distribution;
use crate::kernel::queue::Queue;
use crate::kernel::stream::{Stream, Streams};
use crate::observe::{JobEnd, Observation};
use crate::scenario::model::{Direction, StorageClient};

/// What a world is made of, besides its processes.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// One name a process; random streams are keyed by it.
    pub process_names: Vec<String>,
    /// Number of data channels.
    pub channels: usize,
    /// By subtask, the one by which the plan of faults and actions names it: subtasks of later
    /// layouts go by the names of the first that has them. Empty: each by its own.
    pub named_as: Vec<SubtaskId>,
    /// What links are like, unless `links` says otherwise.
    pub link: LinkConfig,
    /// Links that differ, both ways.
    pub links: Vec<(ProcessId, ProcessId, LinkConfig)>,
    /// Time of an object-store request without its bytes.
    pub storage_latency: Distribution,
    /// Nominal bytes a second of one object-store request; 0: unlimited.
    pub storage_bandwidth: u64,
    /// Time until a written object can be read and listed.
    pub storage_visibility: Distribution,
    /// What kind of store it is; `None`: a neutral one.
    pub storage_scheme: Option<Scheme>,
    /// Time that a name node takes to answer.
    pub storage_name_node: Distribution,
    /// Requests a second that are answered below one prefix.
    pub storage_requests_per_prefix: u32,
    /// With `s3://`: bytes above which an object is uploaded in parts of so many.
    pub storage_part_size: u64,
    /// After so long a file of the object store is on disk although it was not synced.
    pub storage_write_back: VirtualDuration,
    /// How patient the clients of the stores are.
    pub storage_client: StorageClient,
    /// Time of an HA-store request.
    pub ha_latency: Distribution,
    /// Time of a request to the external system.
    pub external_latency: Distribution,
    /// How long the external system keeps a transaction open; `None`: for ever.
    pub transaction_timeout: Option<VirtualDuration>,
    /// Time from the death of a process to the start of the next one in its place.
    pub process_restart: Distribution,
    /// Time until survivors notice that a process has died, besides the latency of a message.
    pub connection_loss: Distribution,
    /// How long a process waits for an answer that does not come.
    pub ask_timeout: VirtualDuration,
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
    /// The same, where clocks may be wrong: it rings when the clock of its host says so.
    ClockTimer {
        /// Whose.
        process: ProcessId,
        /// In which of its lives.
        life: u32,
        /// Its name for it.
        token: u32,
    },
    /// The clock of a host is set right again.
    SetRight {
        /// Whose host.
        process: ProcessId,
        /// The fault that has made it wrong.
        fault: u32,
    },
    /// A process starts.
    Start {
        /// Which.
        process: ProcessId,
        /// Which of its lives begins: one that a crash cut short before it began never does.
        life: u32,
    },
    /// A paused process goes on.
    Unpause(ProcessId),
    /// A survivor learns that a process died.
    Lost {
        /// Who learns it.
        process: ProcessId,
        /// Who died.
        peer: ProcessId,
    },
    /// A window ends: what was held goes on in the order of priorities.
    Release,
    /// A fault of the plan strikes.
    Fault(u32),
    /// Its effect ends.
    Healed(u32),
    /// Somebody outside asks for something, by its index in the plan.
    Ask(u32),
    /// A transaction has been open for as long as it may, by its place in the external system.
    Expire(u32),
}

#[derive(Debug)]
enum Parcel<C> {
    Empty,
    Mail {
        from: ProcessId,
        from_life: u32,
        to: ProcessId,
        life: u32,
        message: C,
        /// Who sent it wants to know whether it was delivered.
        receipt: Option<Receipt>,
    },
    Request {
        from: ProcessId,
        life: u32,
        session: u64,
        token: u64,
        back: VirtualDuration,
        /// How often it has been made, from 1.
        attempt: u32,
        /// When its last message leaves who makes it: from then on that one may die.
        sent: VirtualTime,
        /// What a crash makes of an object that is being written.
        cut_off: CutOff,
        request: Request,
    },
    /// Somebody has waited for an answer long enough.
    Unanswered {
        to: ProcessId,
        life: u32,
        peer: ProcessId,
        message: C,
    },
    Answer {
        to: ProcessId,
        life: u32,
        token: u64,
        /// That of a routine call: nobody waits for the last one.
        routine: bool,
        answer: Result<Answer, Refusal>,
    },
}

/// Somebody who waits for another leader.
#[derive(Clone, Copy, Debug)]
struct Watcher {
    process: ProcessId,
    life: u32,
    token: u64,
    back: VirtualDuration,
}

/// What a call is answered to.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    /// The life of the caller.
    life: u32,
    /// Its name for the call.
    token: u64,
    /// Whether the call is one of many for as long as processes live.
    routine: bool,
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
    /// Until when each service is out of reach.
    cuts: [Cut; 3],
    storage: Stream,
    name_node: Stream,
    /// How long its clients wait before they ask again.
    retries: Stream,
    restart: Stream,
    connection_loss: Stream,
}

impl Host {
    /// What lies between it and a service.
    fn cut(&mut self, service: Service) -> &mut Cut {
        &mut self.cuts[service as usize]
    }
}

/// Until when nothing passes: what is sent or answered meanwhile passes afterwards.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// Requests.
    there: VirtualTime,
    /// Answers.
    back: VirtualTime,
}

impl Cut {
    fn cut(&mut self, direction: Direction, until: VirtualTime) {
        let (there, back) = direction.ways();
        if there {
            self.there = self.there.max(until);
        }
        if back {
            self.back = self.back.max(until);
        }
    }
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
    /// The execution that makes the job's history: the last of all subtasks.
    execution: u32,
    /// By subtask, the number of an execution that has replaced it there alone; as long as needed.
    executions: Vec<u32>,
    config: WorldConfig,
    streams: Streams,
    hosts: Vec<Host>,
    links: Vec<Link>,
    lanes: Vec<Lane>,
    free_lanes: Vec<LaneId>,
    channels: Vec<DataChannel<P::Data, P::Back>>,
    channel_streams: ChannelStreams,
    parcels: Vec<Parcel<P::Control>>,
    free_parcels: Vec<u32>,
    faults: Faults,
    reorder: Option<Reorder<Due>>,
    limits: PrefixLimits,
    /// Until then the object store answers nobody.
    storage_back_at: VirtualTime,
    outside: Outside,
    /// `None`: no clock is ever wrong.
    clocks: Option<Box<Clocks>>,
    /// Who waits for another leader.
    watchers: Vec<Watcher>,
    /// Some link loses control messages, or has done so.
    lossy: bool,
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
        channel_names: impl Fn(ChannelId) -> String + 'static,
        (faults, asked): (Vec<PlannedFault>, Vec<PlannedWhen>),
        observer: O,
        queue: &mut Queue<Due>,
    ) -> Self {
        let streams = Streams { seed };
        let names = &config.process_names;
        assert_eq!(names.len(), processes.len());
        let wrong = |fault: &PlannedFault| fault.kind.concerns_clocks();
        let clocks = faults.iter().any(wrong).then(|| Box::new(Clocks::new(names.len())));
        let host = |name: &String| Host {
            alive: true,
            life: 0,
            paused_until: VirtualTime::ZERO,
            deferred: Vec::new(),
            session: 0,
            cuts: [Cut::default(); 3],
            storage: streams.stream("requests", name),
            name_node: streams.stream("name-node", name),
            retries: streams.stream("retries", name),
            restart: streams.stream("process-restart", name),
            connection_loss: streams.stream("connection-loss", name),
        };
        let hosts: Vec<Host> = names.iter().map(host).collect();
        let links = names
            .iter()
            .flat_map(|from| names.iter().map(move |to| (from, to)))
            .map(|(from, to)| {
                Link::new(config.link, streams.stream("control", &format!("{from}->{to}")))
            })
            .collect();
        let links = with_differing_links(links, names.len(), &config.links);
        let channels = (0..config.channels).map(|_| DataChannel::new()).collect();
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
            let process = ProcessId(index as u32);
            queue.push(VirtualTime::ZERO, Due::Start { process, life: 0 });
        }
        let core = Core {
            observer,
            store: ObjectStore::default(),
            ha: HaStore::default(),
            external: ExternalSystem::new(config.transaction_timeout),
            execution: 0,
            executions: Vec::new(),
            config,
            streams,
            hosts,
            links,
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            channels,
            channel_streams: ChannelStreams::new(streams, Box::new(channel_names)),
            parcels: Vec::new(),
            free_parcels: Vec::new(),
            faults,
            reorder: None,
            limits: PrefixLimits::default(),
            storage_back_at: VirtualTime::ZERO,
            outside,
            clocks,
            watchers: Vec::new(),
            lossy: false,
            ended: None,
        };
        Self { processes, core }
    }

    /// Lets a fault strike that was to be [announced](PlannedWhen::Announced).
    pub fn strike_at(&mut self, at: VirtualTime, fault: u32, queue: &mut Queue<Due>) {
        debug_assert_eq!(self.core.faults.plan[fault as usize].when, PlannedWhen::Announced);
        queue.push(at, Due::Fault(fault));
    }

    /// Lets somebody do something to a process between two events, at an instant that is not
    /// before the last one.
    pub fn visit<R>(
        &mut self,
        process: ProcessId,
        now: VirtualTime,
        queue: &mut Queue<Due>,
        visitor: impl FnOnce(&mut P, &mut Context<'_, P, O>) -> R,
    ) -> R {
        let mut context = Context { core: &mut self.core, queue, now, me: process };
        visitor(&mut self.processes[process.index()], &mut context)
    }

    /// How the job ended, if it has.
    pub fn ended(&self) -> Option<JobEnd> {
        self.core.ended
    }
}

/// What a crash makes of an object that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutOff {
    /// Nothing.
    No,
    /// The host of the store has crashed; who writes is answered.
    ByStore,
    /// The process that writes has died.
    ByWriter {
        /// The store had begun with it, and may keep the half of it.
        half: bool,
    },
}

impl<P: Process, O: Observer> Core<P, O> {
    fn lives(&self, process: ProcessId, life: u32) -> bool {
        let host = &self.hosts[process.index()];
        host.alive && host.life == life
    }

    /// Whether a message, a request or an answer is under way.
    pub fn is_under_way(&self) -> bool {
        self.parcels.len() > self.free_parcels.len()
    }

    /// The execution of a subtask that makes the job's history.
    #[inline]
    fn execution_of(&self, subtask: SubtaskId) -> u32 {
        self.executions.get(subtask.index()).map_or(self.execution, |it| self.execution.max(*it))
    }

    /// The process that people outside talk to: the one that led last.
    fn leader(&self) -> ProcessId {
        self.ha.leader.unwrap_or(ProcessId(0))
    }

    fn link(&mut self, from: ProcessId, to: ProcessId) -> &mut Link {
        &mut self.links[from.index() * self.hosts.len() + to.index()]
    }

    /// Nobody will answer what a process had taken up that has died.
    fn forget_actions(&mut self, process: ProcessId, now: VirtualTime) {
        for action in self.outside.forget(process) {
            self.observer.observe(now, &Observation::ActionForgotten { action });
        }
    }

    fn crash(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) -> bool {
        let host = &mut self.hosts[process.index()];
        if !host.alive {
            return false;
        }
        self.observer.observe(now, &Observation::ProcessLost { process: process.0 });
        self.forget_actions(process, now);
        if process == self.leader() {
            self.lose_memory(now);
        }
        self.cut_uploads_off(process, now);
        let host = &mut self.hosts[process.index()];
        host.alive = false;
        host.life += 1;
        let deferred = std::mem::take(&mut host.deferred);
        host.paused_until = now;
        if let Some(clocks) = &mut self.clocks {
            clocks.forget_timers(process);
        }
        let restart = self.config.process_restart.draw(&mut host.restart);
        queue.push(now + restart, Due::Start { process, life: host.life });
        for due in deferred {
            if let Due::Mail(slot) | Due::Answer(slot) = due
                && let Parcel::Mail { from, to, receipt: Some(receipt), .. } =
                    self.take_parcel(slot)
            {
                self.answer_call((from, to), receipt, false, now, queue);
            }
        }
        for channel in &mut self.channels {
            if channel.from.is_some_and(|end| end.process == process) && !channel.ended {
                channel.broken = true;
            }
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
                let stream = &mut self.hosts[process.index()].connection_loss;
                let noticed = now + self.config.connection_loss.draw(stream);
                let at = self.control_arrival(process, peer, noticed);
                queue.push(at, Due::Lost { process: peer, peer: process });
            }
        }
        true
    }

    /// Holds an event back until the end of the window that it comes in, if there are windows now.
    #[cold]
    fn hold(&mut self, due: Due, now: VirtualTime, queue: &mut Queue<Due>) -> bool {
        let end = self.reorder.as_ref().and_then(|reorder| reorder.end_of_window(now));
        let Some((end, flow)) = end.and_then(|end| Some((end, self.flow(due)?))) else {
            return false;
        };
        let reorder = self.reorder.as_mut().expect("it has a window");
        if reorder.hold(due, flow, (&self.config.process_names, &self.streams)) {
            queue.push(end, Due::Release);
        }
        true
    }

    /// What an event must not overtake, nor be overtaken by.
    fn flow(&self, due: Due) -> Option<Flow> {
        match due {
            Due::Mail(slot) | Due::Apply(slot) | Due::Answer(slot) => {
                match self.parcels[slot as usize] {
                    Parcel::Mail { from, to, .. } => Some(Flow::Link(from, to)),
                    Parcel::Request { from, .. } => Some(Flow::Requests(from)),
                    Parcel::Answer { to, .. } => Some(Flow::Answers(to)),
                    // Nothing comes: that is no earlier or later than anything else.
                    Parcel::Unanswered { .. } | Parcel::Empty => None,
                }
            }
            Due::Lost { process, peer } => Some(Flow::Link(peer, process)),
            Due::Lane(_)
            | Due::Back(_)
            | Due::Timer { .. }
            | Due::ClockTimer { .. }
            | Due::SetRight { .. }
            | Due::Start { .. }
            | Due::Unpause(_)
            | Due::Release
            | Due::Fault(_)
            | Due::Healed(_)
            | Due::Ask(_)
            | Due::Expire(_) => None,
        }
    }

    fn control_arrival(&mut self, from: ProcessId, to: ProcessId, now: VirtualTime) -> VirtualTime {
        let link = self.link(from, to);
        let latency = link.config.control_latency.draw(&mut link.control);
        let at = link.arrival(now, latency).max(link.last_control);
        link.last_control = at;
        at
    }

    /// Tells a caller whether its message was delivered.
    fn answer_call(
        &mut self,
        (from, to): (ProcessId, ProcessId),
        Receipt { life, token, routine }: Receipt,
        delivered: bool,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let answer = if delivered { Ok(Answer::Done) } else { Err(Refusal::Unreachable) };
        let at = self.control_arrival(to, from, now);
        let slot = self.put_parcel(Parcel::Answer { to: from, life, token, routine, answer });
        queue.push(at, Due::Answer(slot));
    }

    fn answer(
        &mut self,
        (to, life, token): (ProcessId, u32, u64),
        answer: Result<Answer, Refusal>,
        at: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let slot = self.put_parcel(Parcel::Answer { to, life, token, routine: false, answer });
        queue.push(at, Due::Answer(slot));
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
}

fn with_differing_links(
    mut links: Vec<Link>,
    hosts: usize,
    differing: &[(ProcessId, ProcessId, LinkConfig)],
) -> Vec<Link> {
    for (a, b, config) in differing {
        for (from, to) in [(a, b), (b, a)] {
            links[from.index() * hosts + to.index()].config = *config;
        }
    }
    links
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
