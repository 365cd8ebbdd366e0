//! Requests to the stores and to the external system: how long they take, and what they do.

use cutline::ids::CheckpointId;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{Context, Core, Due, Parcel, transfer};
use crate::kernel::queue::Queue;
use crate::observe::Observation;
use crate::scenario::model::StorageOperation;
use crate::world::services::{self, Answer, Ownership, Pointer, Purpose, Refusal, Request};
use crate::world::{Note, Observer, Process, ProcessId};

impl<P: Process, O: Observer> Context<'_, P, O> {
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
            self.core.observer.note(self.now, Note::Request(operation));
            span += self.core.faults.delay(operation, self.now);
        }
        // The last quarter is the way of the answer.
        let back = VirtualDuration(span.as_nanos() / 4);
        let (life, session) = (host.life, host.session);
        let parcel = Parcel::Request { from: self.me, life, session, token, back, request };
        let slot = self.core.put_parcel(parcel);
        self.queue.push(self.now + span.saturating_sub(back), Due::Apply(slot));
    }
}

impl<P: Process, O: Observer> Core<P, O> {
    pub(super) fn apply(&mut self, slot: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        let Parcel::Request { from, life, session, token, back, request } = self.take_parcel(slot)
        else {
            unreachable!("only requests are applied");
        };
        let operation = operation_of(&request);
        let failed = operation.is_some_and(|operation| self.faults.fails(operation));
        let answer = if failed {
            Err(Refusal::Failed)
        } else {
            self.apply_request(request, (from, session, !self.lives(from, life)), now)
        };
        let slot = self.put_parcel(Parcel::Answer { to: from, life, token, answer });
        queue.push(now + back, Due::Answer(slot));
    }

    fn apply_request(
        &mut self,
        request: Request,
        (from, session, orphaned): (ProcessId, u64, bool),
        now: VirtualTime,
    ) -> Result<Answer, Refusal> {
        let fenced = session < self.ha.session;
        let process = from.0;
        match request {
            Request::Put { path, bytes, nominal, purpose: _ } => {
                let stream = &mut self.hosts[0].storage;
                let visible = now + self.config.storage_visibility.draw(stream);
                let file = self.store.put(path, bytes, nominal, visible);
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
                layout: self.ha.layout,
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
                let services::Adoption { action, checkpoint, pointer, layout } = adoption;
                let claimed = pointer.ownership == Ownership::Claimed;
                // Another job: what the last one has left here is none of its business.
                self.ha.ended = None;
                self.ha.pointers.clear();
                self.ha.pointers.insert(checkpoint, pointer);
                self.outside.take(action);
                self.observer.observe(now, &Observation::ActionTaken { action });
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
