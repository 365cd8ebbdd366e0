//! What becomes of storage requests that do not go as they should, and what the clients of the
//! stores do about it.
//!
//! A client is a library in the process that asks: it makes a request again while there is hope,
//! with waits that double, and dies with its process. In Flink: the file systems of Hadoop and
//! Presto (`fs.s3a.*`, `s3.*`, `dfs.client.*`), Curator for ZooKeeper. What it cannot cure it
//! reports, and says whether the request may have been done in spite of that.

use cutline::time::{VirtualDuration, VirtualTime};

use super::{Core, Due, scheme};
use crate::kernel::queue::Queue;
use crate::observe::Observation;
use crate::scenario::model::{Disturbance, StorageOperation};
use crate::world::{Answer, Observer, Process, ProcessId, Purpose, Refusal, Request};

/// So often at most a client asks a store that has too much to do.
/// Hadoop: `fs.s3a.retry.throttle.limit`.
const THROTTLED_ATTEMPTS_MAX: u32 = 20;

/// What becomes of a disturbed request.
pub(super) enum Disturbed {
    /// The process is answered.
    Answered(Result<Answer, Refusal>),
    /// The client makes it again, at this time.
    AskedAgain(VirtualTime, Request),
}

impl<P: Process, O: Observer> Core<P, O> {
    /// What befalls a request of this kind now, if anything does.
    pub(super) fn disturbance(
        &mut self,
        (request, operation): (&Request, Option<StorageOperation>),
        cut_off: bool,
        now: VirtualTime,
    ) -> Option<(StorageOperation, Disturbance)> {
        let operation = operation?;
        let how = match self.faults.disturbs(operation) {
            _ if cut_off => Disturbance::Torn,
            Some(how) => how,
            None if self.is_over_limit(request, now) => {
                self.observer.observe(now, &Observation::PrefixLimitReached);
                Disturbance::Throttled
            }
            None => return None,
        };
        Some((operation, how))
    }

    pub(super) fn disturb(
        &mut self,
        how: Disturbance,
        (request, attempt): (Request, u32),
        asker: (ProcessId, u64, bool),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> Disturbed {
        let attempts = self.config.storage_client.attempts;
        let reads = matches!(
            request,
            Request::Get { .. }
                | Request::List { .. }
                | Request::ListUploads { .. }
                | Request::ReadPointers
        );
        match how {
            Disturbance::Transient if attempt < attempts => {
                self.ask_again((request, attempt), asker, VirtualDuration::ZERO, now, queue)
            }
            Disturbance::Throttled if attempt < attempts.max(THROTTLED_ATTEMPTS_MAX) => {
                self.ask_again((request, attempt), asker, VirtualDuration::ZERO, now, queue)
            }
            Disturbance::Transient | Disturbance::Throttled => {
                Disturbed::Answered(Err(Refusal::Failed))
            }
            Disturbance::Hanging => {
                if attempt < attempts {
                    let timeout = self.config.storage_client.timeout;
                    return self.ask_again((request, attempt), asker, timeout, now, queue);
                }
                // Whoever has waited in vain cannot know what was done.
                let refusal = if reads { Refusal::Failed } else { Refusal::Unknown };
                Disturbed::Answered(Err(refusal))
            }
            Disturbance::Ambiguous => {
                let answer = self.apply_request(request, asker, now, queue);
                // Who is fenced off learns it with the next request.
                Disturbed::Answered(answer.and(Err(Refusal::Unknown)))
            }
            Disturbance::Torn => Disturbed::Answered(Err(self.tear(request, asker, now, queue))),
            Disturbance::ShortRead => {
                Disturbed::Answered(self.apply_request(request, asker, now, queue).map(halved))
            }
            Disturbance::Stale => Disturbed::Answered(match request {
                Request::List { .. } | Request::ListUploads { .. } => Ok(Answer::Paths(Vec::new())),
                _ => Err(Refusal::NotFound),
            }),
        }
    }

    /// Half of the wait is certain and half is drawn, so that clients do not come back together. It
    /// begins when the client has waited for the answer.
    fn ask_again(
        &mut self,
        (request, attempt): (Request, u32),
        (from, ..): (ProcessId, u64, bool),
        waited: VirtualDuration,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> Disturbed {
        const DOUBLINGS_MAX: u32 = 6;
        let backoff = self.config.storage_client.backoff * (1 << (attempt - 1).min(DOUBLINGS_MAX));
        let host = &mut self.hosts[from.index()];
        let wait = VirtualDuration(backoff.0 / 2 + host.retries.below(backoff.0 / 2 + 1));
        let passes = host.cut(request.service()).there;
        // The client's threads stand still with their process.
        let at_least = host.paused_until.max(passes);
        let at = self.waits_until(from, waited + wait, now, queue);
        Disturbed::AskedAgain(at.max(at_least), request)
    }

    /// The first half of an object arrives, and is left behind where the store cannot help it.
    pub(super) fn tear(
        &mut self,
        request: Request,
        asker: (ProcessId, u64, bool),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> Refusal {
        let Request::Put { path, mut bytes, nominal, purpose, synced, if_absent } = request else {
            unreachable!("only what is written can be torn");
        };
        if scheme::is_whole_or_nothing(self.config.storage_scheme, purpose) {
            return Refusal::Failed;
        }
        bytes.truncate(bytes.len() / 2);
        let nominal = nominal / 2;
        let request = Request::Put { path, bytes, nominal, purpose, synced, if_absent };
        // Refused, if at all, as the whole would have been.
        self.apply_request(request, asker, now, queue).err().unwrap_or(Refusal::Unknown)
    }

    /// A bit of the newest object flips; false if there is none.
    pub(super) fn damage(&mut self, operation: StorageOperation, now: VirtualTime) -> bool {
        let concerns = |purpose| match operation {
            StorageOperation::WriteState => purpose == Purpose::State,
            StorageOperation::WriteMetadata => purpose == Purpose::Metadata,
            StorageOperation::Any => true,
            StorageOperation::Read
            | StorageOperation::Delete
            | StorageOperation::WritePointer
            | StorageOperation::DrawId
            | StorageOperation::ReadPointers
            | StorageOperation::WriteJobResult => {
                unreachable!("objects are written for their states or for metadata")
            }
        };
        let mut stream = self.streams.stream("damage", &now.as_nanos().to_string());
        let damaged = self.store.damage(concerns, |below| stream.below(below));
        if let Some(file) = damaged {
            self.observer.observe(now, &Observation::FileDamaged { file });
        }
        damaged.is_some()
    }
}

fn halved(answer: Answer) -> Answer {
    match answer {
        Answer::Object { mut bytes } => {
            bytes.truncate(bytes.len() / 2);
            Answer::Object { bytes }
        }
        Answer::Paths(mut paths) => {
            paths.truncate(paths.len() / 2);
            Answer::Paths(paths)
        }
        other => other,
    }
}
