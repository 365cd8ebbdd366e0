//! Requests to the stores and to the external system: how long they take, and what they do.

use cutline::config::Scheme;
use cutline::ids::CheckpointId;
use cutline::operator::TransactionId;
use cutline::time::{VirtualDuration, VirtualTime};

use super::client::Disturbed;
use super::{Context, Core, CutOff, Due, Parcel, Watcher, scheme, transfer};
use crate::kernel::queue::Queue;
use crate::observe::{Observation, Transaction};
use crate::scenario::model::{ExternalOperation, StorageOperation};
use crate::world::external;
use crate::world::faults::Applied;
use crate::world::services::{
    Adoption, Answer, JobStart, Ownership, Pointer, Purpose, Refusal, Request, Service,
};
use crate::world::{Note, Observer, Process, ProcessId};

/// The session of a request that names none: later than all.
const UNFENCED: u64 = u64::MAX;

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// Sends a request to a store or service; the answer comes back with the token.
    pub fn request(&mut self, token: u64, request: Request) {
        let session = self.core.hosts[self.me.index()].session;
        self.request_in(session, token, request);
    }

    /// Sends a request that carries no fencing token: the HA store cannot tell that it comes from a
    /// former leader.
    pub fn request_unfenced(&mut self, token: u64, request: Request) {
        self.request_in(UNFENCED, token, request);
    }

    fn request_in(&mut self, session: u64, token: u64, request: Request) {
        let in_memory = self.core.is_in_memory(&request);
        let config = &self.core.config;
        let host = &mut self.core.hosts[self.me.index()];
        let service = request.service();
        let latency = match service {
            Service::ObjectStore => config.storage_latency,
            Service::HaStore => config.ha_latency,
            Service::External => config.external_latency,
        };
        let nominal = if let Request::Put { nominal, .. } = &request {
            *nominal
        } else if let Request::Get { path } = &request {
            self.core.store.get(path).map_or(0, |object| object.nominal)
        } else {
            0
        };
        let carried = transfer(nominal, config.storage_bandwidth);
        let (mut span, carried) = match in_memory {
            true => (VirtualDuration::ZERO, VirtualDuration::ZERO),
            false => {
                let calls = scheme::calls(&request, config);
                let waits = (0..calls)
                    .fold(VirtualDuration::ZERO, |sum, _| sum + latency.draw(&mut host.storage));
                (waits + carried, carried)
            }
        };
        let rounds = scheme::rounds(&request);
        if config.storage_scheme == Some(Scheme::Hdfs) {
            for _ in 0..rounds {
                span += config.storage_name_node.draw(&mut host.name_node);
            }
        }
        if let Some(operation) = operation_of(&request) {
            self.core.observer.note(self.now, Note::Request(operation));
            span += self.core.faults.delay(operation, self.now);
        }
        if let Some(operation) = external_operation_of(&request) {
            span += self.core.faults.external.delay(operation, self.now);
        }
        let held = self.core.hosts[self.me.index()].cut(service).there.since(self.now);
        // The last quarter is the way of the answer.
        let back = VirtualDuration(span.as_nanos() / 4);
        let life = self.core.hosts[self.me.index()].life;
        let (from, attempt, cut_off) = (self.me, 1, CutOff::No);
        let at = self.now + held + span.saturating_sub(back);
        // An object is there when its writer has said that it is complete, behind all of its bytes. That
        // message is on its way for a quarter of the time that messages alone take.
        let way = VirtualDuration(span.saturating_sub(carried).as_nanos() / 4);
        let sent = self.now.max(at - way);
        let parcel =
            Parcel::Request { from, life, session, token, back, attempt, sent, cut_off, request };
        let slot = self.core.put_parcel(parcel);
        self.queue.push(at, Due::Apply(slot));
    }
}

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// The first write of a transaction, which nobody waits for: what is wrong with it is learnt at
    /// the flush. (Kafka: `Producer#send`.)
    pub fn begin_transaction(&mut self, transaction: TransactionId) {
        let cut = self.core.hosts[self.me.index()].cut(Service::External).there;
        // It arrives with the flush, or not at all.
        if cut <= self.now
            && let Some((due, place)) = self.core.external.begin(transaction, self.now)
        {
            self.queue.push(due, Due::Expire(place));
        }
    }
}

impl<P: Process, O: Observer> Core<P, O> {
    pub(super) fn expire(&mut self, place: u32, now: VirtualTime) {
        if let Some((transaction, stored)) = self.external.expire(place) {
            let transaction = external::observed(transaction, &stored);
            self.observer.observe(now, &Observation::TransactionExpired { transaction });
        }
    }

    pub(super) fn apply(&mut self, slot: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        if now < self.storage_back_at && self.is_of_storage(slot) {
            self.put_off(slot);
            return queue.push(self.storage_back_at, Due::Apply(slot));
        }
        let Parcel::Request { from, life, session, token, back, attempt, cut_off, request, .. } =
            self.take_parcel(slot)
        else {
            unreachable!("only requests are applied");
        };
        if let Request::AwaitLeader { after } = request
            && self.ha.session <= after
        {
            self.watchers.push(Watcher { process: from, life, token, back });
            return;
        }
        let asker = (from, session, !self.lives(from, life));
        if let CutOff::ByWriter { half } = cut_off {
            if half && self.leaves_parts(&request, now) {
                return;
            }
            if half {
                // Nobody is there to be told.
                let _ = self.tear(request, asker, now, queue);
            }
            return;
        }
        let operation = operation_of(&request);
        let external = external_operation_of(&request);
        let service = request.service();
        let fails = match (operation, external) {
            (Some(operation), _) => self.faults.fails(operation).then_some(Applied::No),
            (None, Some(operation)) => self.faults.external.fails(operation),
            (None, None) => None,
        };
        let answer = if let Some(applied) = fails {
            if applied == Applied::Yes {
                // Done all the same; whoever asked does not learn it.
                let _ = self.apply_request(request, asker, now, queue);
            }
            Err(Refusal::Failed)
        } else if let Some((operation, how)) =
            self.disturbance((&request, operation), cut_off == CutOff::ByStore, now)
        {
            self.observer.observe(now, &Observation::StorageDisturbed { operation, how });
            match self.disturb(how, (request, attempt), asker, now, queue) {
                Disturbed::Answered(answer) => answer,
                // A process that has died asks no more, and nobody is to be answered.
                Disturbed::AskedAgain(..) if asker.2 => return,
                Disturbed::AskedAgain(at, request) => {
                    // Before it is made again, nothing of it is on its way.
                    let (attempt, sent, cut_off) = (attempt + 1, at, CutOff::No);
                    let parcel = Parcel::Request {
                        from,
                        life,
                        session,
                        token,
                        back,
                        attempt,
                        sent,
                        cut_off,
                        request,
                    };
                    let slot = self.put_parcel(parcel);
                    queue.push(at, Due::Apply(slot));
                    return;
                }
            }
        } else {
            self.apply_request(request, asker, now, queue)
        };
        let held = self.hosts[from.index()].cut(service).back.since(now);
        self.answer((from, life, token), answer, now + back + held, queue);
    }

    /// The host of the store is down: what is asked of it is asked again until it is back.
    fn put_off(&mut self, slot: u32) {
        let back_at = self.storage_back_at;
        if let Parcel::Request { sent, .. } = &mut self.parcels[slot as usize] {
            *sent = back_at;
        }
    }

    fn is_of_storage(&self, slot: u32) -> bool {
        match &self.parcels[slot as usize] {
            Parcel::Request { request, .. } => request.service() == Service::ObjectStore,
            Parcel::Mail { .. }
            | Parcel::Answer { .. }
            | Parcel::Unanswered { .. }
            | Parcel::Empty => false,
        }
    }

    fn is_led_by_lease(&self) -> bool {
        self.ha.lease_until > VirtualTime::ZERO
    }

    /// A new leader: those who have waited for one learn of it.
    fn elect(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) -> u64 {
        self.ha.session += 1;
        self.ha.leader = Some(process);
        let session = self.ha.session;
        self.observer.observe(now, &Observation::LeaderElected { session });
        for watcher in std::mem::take(&mut self.watchers) {
            let Watcher { process: to, life, token, back } = watcher;
            let held = self.hosts[to.index()].cut(Service::HaStore).back.since(now);
            let answer = Ok(Answer::Leader { process, session });
            self.answer((to, life, token), answer, now + back + held, queue);
        }
        session
    }

    /// Elects a candidate, or renews a lease. Kubernetes: `LeaderElector#tryAcquireOrRenew`.
    ///
    /// The leader writes into the lease when it has renewed it, by its wall clock, and a candidate
    /// compares that with its own (`LeaderElector#canBecomeLeader`). So a lease protects the leader only
    /// as far as clocks are less than `lease-duration` less the time between two renewals apart: a
    /// candidate that is further ahead takes the lease over while it runs, and one that is behind waits
    /// for longer. Nobody leads wrongly because of it: the write is conditional on the lease that was
    /// read, and what a former leader writes is refused.
    ///
    /// Deviation: clocks are read when the request arrives, not when it is made.
    fn campaign(
        &mut self,
        (from, lease, renews): (ProcessId, VirtualDuration, Option<u64>),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> Result<Answer, Refusal> {
        let wall = self.absolute_time(from, now, queue);
        let session = match (renews, self.ha.leader) {
            (Some(renewed), _) if renewed == self.ha.session => renewed,
            (Some(_), _) => return Err(Refusal::Fenced),
            (None, Some(process)) if process != from && wall < self.ha.lease_until => {
                return Ok(Answer::Leader { process, session: self.ha.session });
            }
            (None, _) => self.elect(from, now, queue),
        };
        self.ha.lease_until = wall + lease;
        Ok(Answer::Session(session))
    }

    pub(super) fn apply_request(
        &mut self,
        request: Request,
        (from, session, orphaned): (ProcessId, u64, bool),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> Result<Answer, Refusal> {
        let fenced = session < self.ha.session;
        let process = from.0;
        let told = session != UNFENCED;
        if told && !fenced && self.is_led_by_lease() && is_leaders_write(&request) {
            self.observer.observe(now, &Observation::LeaderWrote { process, session });
        }
        match request {
            Request::Put { nominal, .. } if self.is_too_large(nominal) => Err(Refusal::Failed),
            Request::Put { path, if_absent: true, .. } if self.store.get(&path).is_some() => {
                Err(Refusal::Exists)
            }
            Request::Put { path, bytes, nominal, purpose, synced, if_absent: _ } => {
                let stream = &mut self.hosts[0].storage;
                let visible = now + self.config.storage_visibility.draw(stream);
                let has_host = self.config.storage_scheme.is_none_or(Scheme::has_host);
                let durable = match has_host && !synced {
                    true => now + self.config.storage_write_back,
                    false => now,
                };
                let file = self.store.put(path, (bytes, nominal, purpose), (visible, durable));
                let bytes = nominal;
                let written = Observation::FileWritten { file, bytes, process, orphaned };
                self.observer.observe(now, &written);
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
            Request::ListUploads { prefix } => {
                let uploads = self.store.uploads().filter(|path| path.starts_with(&prefix));
                Ok(Answer::Paths(uploads.map(str::to_owned).collect()))
            }
            Request::AbortUpload { path } => {
                if let Some(bytes) = self.store.abort_upload(&path) {
                    self.observer.observe(now, &Observation::UploadAborted { bytes });
                }
                Ok(Answer::Done)
            }
            Request::Lead => Ok(Answer::Session(self.elect(from, now, queue))),
            Request::Campaign { lease, renews } => self.campaign((from, lease, renews), now, queue),
            Request::AwaitLeader { .. } => {
                let process = self.ha.leader.expect("there is a session, so somebody was elected");
                Ok(Answer::Leader { process, session: self.ha.session })
            }
            Request::ReadPointers => Ok(Answer::Pointers {
                pointers: self.ha.pointers.iter().map(|(id, path)| (*id, path.clone())).collect(),
                ended: self.ha.ended,
                layout: self.ha.layout,
                first: self.ha.first,
            }),
            ref request if fenced && is_leaders_write(request) => {
                if self.is_led_by_lease() {
                    self.observer.observe(now, &Observation::FencedOff { process, session });
                }
                Err(Refusal::Fenced)
            }
            Request::NextCheckpointId => {
                self.ha.counter += 1;
                Ok(Answer::CheckpointId(CheckpointId(self.ha.counter)))
            }
            Request::AddPointer { checkpoint, metadata, bytes } => {
                let (bytes, ownership) = (Some(bytes), Ownership::Taker);
                let pointer = Pointer { metadata, bytes, ownership };
                // Somebody who got no answer asks twice; it is decided once.
                if self.ha.pointers.insert(checkpoint, pointer).is_none() {
                    self.observer.observe(now, &Observation::Durable { checkpoint });
                }
                Ok(Answer::Done)
            }
            Request::Adopt(adoption) => {
                let Adoption { action, checkpoint, pointer, layout, first_execution } = adoption;
                let claimed = pointer.ownership == Ownership::Claimed;
                let is_done =
                    self.ha.ended.is_none() && self.ha.pointers.get(&checkpoint) == Some(&pointer);
                if is_done {
                    return Ok(Answer::Done); // Asked twice by somebody who got no answer.
                }
                // Another job: what the last one has left here is none of its business.
                self.ha.ended = None;
                self.ha.pointers.clear();
                self.ha.pointers.insert(checkpoint, pointer);
                let first = CheckpointId(self.ha.counter + 1);
                self.ha.first = JobStart { execution: first_execution, checkpoint: first };
                self.outside.take(action, from);
                self.observer.observe(now, &Observation::ActionTaken { action });
                if orphaned {
                    self.forget_actions(from, now);
                }
                self.observer.observe(now, &Observation::Adopted { checkpoint, claimed });
                if std::mem::replace(&mut self.ha.layout, layout) != layout {
                    self.observer.observe(now, &Observation::Rescaled { layout });
                }
                Ok(Answer::Done)
            }
            Request::RemovePointer { checkpoint } => {
                if self.ha.pointers.remove(&checkpoint).is_some() {
                    let removed = Observation::PointerRemoved { checkpoint, process, orphaned };
                    self.observer.observe(now, &removed);
                }
                Ok(Answer::Done)
            }
            Request::StoreJobResult(end) => {
                if self.ha.ended.replace(end).is_none() {
                    self.observer.observe(now, &Observation::JobEnded { end });
                }
                Ok(Answer::Done)
            }
            Request::PreCommit { transaction, checkpoint, contents } => {
                if let Some((due, place)) = self.external.begin(transaction, now) {
                    queue.push(due, Due::Expire(place));
                }
                let taken = self.external.pre_commit(transaction, (checkpoint, contents));
                if taken == Err(Refusal::ProducerFenced) {
                    let transaction = Transaction::of(transaction);
                    self.observer.observe(now, &Observation::ProducerFenced { transaction });
                }
                taken?;
                let stored = self.external.transactions[&transaction];
                let transaction = external::observed(transaction, &stored);
                self.observer.observe(now, &Observation::PreCommitted { transaction, contents });
                Ok(Answer::Done)
            }
            Request::Commit { transaction, contents } => {
                if let Some(stored) = self.external.commit(transaction, contents)? {
                    let transaction = external::observed(transaction, &stored);
                    let contents = stored.contents;
                    self.observer.observe(now, &Observation::Committed { transaction, contents });
                }
                Ok(Answer::Done)
            }
            Request::Apply { batch, updates } => {
                let contents = self.external.apply(batch, &updates);
                if contents.count > 0 {
                    let transaction = Transaction::of(batch);
                    self.observer.observe(now, &Observation::Committed { transaction, contents });
                }
                Ok(Answer::Done)
            }
            Request::AbortLeftOvers(left_overs) => {
                for (transaction, stored) in self.external.abort_left_overs(&left_overs) {
                    let transaction = external::observed(transaction, &stored);
                    self.observer.observe(now, &Observation::TransactionAborted { transaction });
                }
                Ok(Answer::Done)
            }
        }
    }
}

/// Which faults of the external system concern a request.
fn external_operation_of(request: &Request) -> Option<ExternalOperation> {
    match request {
        Request::PreCommit { .. } => Some(ExternalOperation::PreCommit),
        Request::Commit { .. } | Request::Apply { .. } => Some(ExternalOperation::Commit),
        Request::AbortLeftOvers(_) => Some(ExternalOperation::Abort),
        Request::Put { .. }
        | Request::Get { .. }
        | Request::Delete { .. }
        | Request::List { .. }
        | Request::ListUploads { .. }
        | Request::AbortUpload { .. }
        | Request::NextCheckpointId
        | Request::AddPointer { .. }
        | Request::Adopt(_)
        | Request::RemovePointer { .. }
        | Request::ReadPointers
        | Request::Lead
        | Request::Campaign { .. }
        | Request::AwaitLeader { .. }
        | Request::StoreJobResult(_) => None,
    }
}

/// Whether only the leader may ask for it.
fn is_leaders_write(request: &Request) -> bool {
    matches!(
        request,
        Request::NextCheckpointId
            | Request::AddPointer { .. }
            | Request::Adopt(_)
            | Request::RemovePointer { .. }
            | Request::StoreJobResult(_)
    )
}

/// Which storage faults concern a request; none concern the external system.
fn operation_of(request: &Request) -> Option<StorageOperation> {
    match request {
        Request::Put { purpose: Purpose::State, .. } => Some(StorageOperation::WriteState),
        Request::Put { purpose: Purpose::Metadata, .. } => Some(StorageOperation::WriteMetadata),
        Request::Get { .. } | Request::List { .. } | Request::ListUploads { .. } => {
            Some(StorageOperation::Read)
        }
        Request::Delete { .. } | Request::AbortUpload { .. } => Some(StorageOperation::Delete),
        Request::AddPointer { .. } | Request::Adopt(_) | Request::RemovePointer { .. } => {
            Some(StorageOperation::WritePointer)
        }
        Request::NextCheckpointId => Some(StorageOperation::DrawId),
        Request::ReadPointers => Some(StorageOperation::ReadPointers),
        Request::StoreJobResult(_) => Some(StorageOperation::WriteJobResult),
        // Elections are disturbed by what cuts candidates off.
        Request::Lead
        | Request::Campaign { .. }
        | Request::AwaitLeader { .. }
        | Request::PreCommit { .. }
        | Request::Commit { .. }
        | Request::Apply { .. }
        | Request::AbortLeftOvers(_) => None,
    }
}
