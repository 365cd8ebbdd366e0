//! What a dump tells: medians over subtasks and checkpoints, by vertex.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scenario::Said;
use crate::calibrate::profile::Profile;
use crate::calibrate::robust::{Estimate, Line, median};
use crate::flink::answers::{Acknowledged, Checkpoint, Status, Subtask, entered};
use crate::flink::dump::Dump;

/// What a dump tells. Durations in milliseconds, sizes in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The job's name.
    pub job: String,
    /// By vertex, inputs first.
    pub vertices: Vec<VertexFacts>,
    /// Checkpoints in numbers.
    pub checkpoints: Counted,
    /// Trigger to last acknowledgement of the checkpoints that found the job in its usual state.
    pub duration_ms: Option<Estimate>,
    /// Bytes that those wrote.
    pub checkpointed_bytes: Option<Estimate>,
    /// Bytes in flight that those hold.
    pub persisted_bytes: Option<Estimate>,
    /// Whether the job is offered more than it can take.
    pub overloaded: bool,
    /// The vertex that cannot keep up; `None` where the dump does not tell.
    pub bottleneck: Option<usize>,
    /// Records a second that the sources write.
    pub rate_per_s: Option<f64>,
    /// Bytes of a record.
    pub record_bytes: Option<f64>,
    /// Trigger to the first barrier (that of sources).
    pub source_start_delay_ms: Option<Estimate>,
    /// A hop of the barrier, in a job that keeps up.
    pub hop_ms: Option<Estimate>,
    /// End of the asynchronous part to the acknowledgement.
    pub acknowledge_ms: Option<Estimate>,
    /// The asynchronous part of a subtask by the MB that it writes.
    #[serde(rename = "async")]
    pub asynchronous: Option<Line>,
    /// The asynchronous part of subtasks that write next to nothing.
    pub async_of_nothing_ms: Option<Estimate>,
    /// Failures of the job.
    pub failures: Failures,
    /// What a restart takes besides its delay.
    pub restart_ms: Option<f64>,
    /// From `DEPLOYING` to `RUNNING`, of the slowest subtask.
    pub start_ms: Option<f64>,
}

/// What a dump tells of a vertex.
#[derive(Clone, Debug, Serialize)]
pub struct VertexFacts {
    /// Its name.
    pub name: String,
    /// Its subtasks.
    pub parallelism: u32,
    /// Exchanges on the longest way to it.
    pub depth: usize,
    /// Trigger to the first barrier.
    pub start_delay_ms: Option<Estimate>,
    /// First barrier to the last.
    pub alignment_ms: Option<Estimate>,
    /// The synchronous part.
    pub sync_ms: Option<Estimate>,
    /// The asynchronous part.
    pub async_ms: Option<Estimate>,
    /// Bytes of state, all subtasks together.
    pub state_bytes: Option<f64>,
    /// Share of the time for which the busiest subtask works.
    pub busy: Option<f64>,
    /// Share of the time for which the subtask that waits most waits for buffers.
    pub backpressured: Option<f64>,
}

/// How many checkpoints.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// Of the job's life.
    pub total: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Pending.
    pub pending: u64,
    /// That files tell of.
    pub known: usize,
    /// Completed, and without what only a start or a restart explains.
    pub settled: usize,
    /// Failures by their message; those without a row are not here.
    pub failed_by: BTreeMap<String, usize>,
}

/// Failures of the job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failures {
    /// Checkpoints failed too often.
    pub of_checkpoints: usize,
    /// Others, by exception.
    pub others: BTreeMap<String, usize>,
    /// How long the job has been there.
    pub observed_ms: Option<f64>,
}

/// A hop of the barrier that takes longer than this waits for data.
const QUEUED_MS: f64 = 250.0;
/// A share of waiting for buffers above which a subtask counts as held up. Flink: `high`.
const HELD_UP: f64 = 0.5;
/// Sizes that differ by less are one size.
const SAME_SIZE: f64 = 1.25;

impl Facts {
    /// The facts of a dump.
    pub fn of(dump: &Dump) -> Self {
        let settled = settled(dump);
        let (records, record_bytes) = records(dump);
        let mut facts = Self {
            job: dump.job.name.clone(),
            vertices: vertices(dump, &settled),
            checkpoints: counted(dump, settled.len()),
            duration_ms: Estimate::of(settled.iter().filter_map(|of| of.end_to_end_duration.0)),
            checkpointed_bytes: Estimate::of(
                settled.iter().filter_map(|of| of.checkpointed_size.0),
            ),
            persisted_bytes: Estimate::of(settled.iter().filter_map(|of| of.persisted_data.0)),
            overloaded: false,
            bottleneck: None,
            rate_per_s: records,
            record_bytes,
            source_start_delay_ms: None,
            hop_ms: None,
            acknowledge_ms: None,
            asynchronous: None,
            async_of_nothing_ms: None,
            failures: failures(dump),
            restart_ms: restart(dump),
            start_ms: start(dump),
        };
        facts.barriers(dump);
        facts.snapshots(dump);
        facts
    }

    /// Whether barriers wait, and behind what.
    fn barriers(&mut self, dump: &Dump) {
        let shape = &dump.shape;
        let hops: Vec<(usize, f64)> = (0..shape.vertices.len())
            .filter_map(|vertex| Some((vertex, self.hop(dump, vertex)?)))
            .collect();
        let held_up = |of: &VertexFacts| of.backpressured.is_some_and(|share| share > HELD_UP);
        let queued = hops.iter().any(|(_, ms)| *ms > QUEUED_MS);
        self.overloaded = queued || self.vertices.iter().any(held_up);
        if self.overloaded {
            self.bottleneck = bottleneck(&self.vertices);
        } else {
            self.hop_ms = Estimate::of(hops.iter().map(|(_, ms)| *ms)).map(Estimate::not_negative);
        }
        let sources = (0..shape.vertices.len()).filter(|at| shape.vertices[*at].inputs.is_empty());
        let sources: Vec<usize> = sources.collect();
        let of_sources = acknowledged(dump, |_, vertex| sources.contains(&vertex));
        self.source_start_delay_ms = Estimate::of(of_sources.filter_map(|of| of.start_delay.0));
        let rests = acknowledged(dump, |_, _| true).filter_map(|of| {
            let parts = of.start_delay.0? + of.alignment.duration.0?;
            let parts = parts + of.checkpoint.sync.0? + of.checkpoint.asynchronous.0?;
            Some(of.end_to_end_duration.0? - parts)
        });
        self.acknowledge_ms = Estimate::of(rests).map(Estimate::not_negative);
    }

    /// How much longer than its slowest input a vertex waits for its first barrier.
    pub fn hop(&self, dump: &Dump, vertex: usize) -> Option<f64> {
        let before = dump.shape.vertices[vertex].inputs.iter().map(|input| {
            let of = &self.vertices[input.from];
            let aligned = of.alignment_ms.map_or(0.0, |of| of.value);
            Some(of.start_delay_ms?.value + aligned + of.sync_ms.map_or(0.0, |of| of.value))
        });
        let before: Option<Vec<f64>> = before.collect();
        let slowest = before?.into_iter().max_by(f64::total_cmp)?;
        Some(self.vertices[vertex].start_delay_ms?.value - slowest)
    }

    fn snapshots(&mut self, dump: &Dump) {
        let small = crate::flink::draft::STATE_MIN as f64;
        let parts =
            |of: &Acknowledged| Some((of.checkpointed_size.0?, of.checkpoint.asynchronous.0?));
        let all: Vec<(f64, f64)> = acknowledged(dump, |_, _| true).filter_map(parts).collect();
        let (nothing, some): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(size, _)| *size < small);
        self.async_of_nothing_ms = Estimate::of(nothing.into_iter().map(|(_, ms)| ms));
        // Less than a millisecond is reported as 0.
        let points = some.into_iter().map(|(size, ms)| (size / 1e6, ms.max(1.0)));
        self.asynchronous = Line::fit(&same_sizes(points.collect()));
    }

    /// What the dump cannot tell, and what would; a profile of measured runs tells some of it, and
    /// what the user has said already is not asked for.
    pub fn cannot_tell(&self, dump: &Dump, profile: Option<&Profile>, user: Said) -> Vec<String> {
        let mut said = Vec::new();
        let mut say = |sentence: &str| said.push(sentence.to_owned());
        if !dump.has_plan {
            say(
                "which vertices feed which: there is no plan.json, so they are taken to be a chain \
                 in the order of job.json",
            );
        }
        let of = &self.checkpoints;
        let unknown = of.total.saturating_sub(of.known as u64);
        let rows: usize = of.failed_by.values().sum();
        let nameless = of.failed.saturating_sub(rows as u64);
        if nameless > 0 {
            say(&format!(
                "why {nameless} of {} failed checkpoints failed: they have no row, as those that \
                 are refused before they have a number",
                of.failed
            ));
        }
        if unknown > nameless {
            say(&format!(
                "{} of {} checkpoints: the history is capped (`web.checkpoints.history`)",
                unknown - nameless,
                of.total
            ));
        }
        match (self.checkpoints.settled, self.duration_ms) {
            (0, _) => say(
                "how long a checkpoint takes: none has completed since the job settled; a dump \
                 with a longer execution.checkpointing.timeout would have some",
            ),
            (1..5, Some(_)) => say(&format!(
                "how far durations of checkpoints spread: {} completed since the job settled; a \
                 later dump has more",
                self.checkpoints.settled
            )),
            _ => {}
        }
        if self.rate_per_s.is_none() && user.rate_per_s.is_none() {
            say(
                "records a second: the counts of job.json are not complete; a later dump has them, \
                 or give --rate",
            );
        }
        if self.record_bytes.is_none() {
            say("bytes of a record: they come with the counts of records");
        }
        if self.overloaded {
            if user.load.is_none() {
                say("how much more is offered than the job can take: a source that is held up \
                     does not say; give --load");
            }
            if self.bottleneck.is_none() {
                say("which vertex cannot keep up: backpressure was sampled while buffers filled, \
                     or not at all; a dump of the settled job would tell");
            }
            say(
                "latency of the network: barriers wait for data; a dump of a quiet hour would tell",
            );
        }
        if self.vertices.iter().all(|of| of.busy.is_none()) {
            say("capacity: there is no backpressure-V.json of any vertex");
        }
        match self.asynchronous {
            None => say("upload bandwidth: no subtask wrote more than 20 kb to storage"),
            Some(line) if line.sizes == 1 && profile.is_none() => say(
                "how the asynchronous part grows with the state: one size alone was seen; a dump \
                 from a time with another size of state, or --from-runs, would tell",
            ),
            Some(_) => {}
        }
        if self.restart_ms.is_none() {
            say(
                "what a restart takes besides its delay: the job has not restarted, or not after a \
                 fixed delay; a dump after a failure would tell",
            );
        }
        let recovery = profile.and_then(|of| of.recovery.as_ref());
        match (self.restart_ms, self.start_ms) {
            (_, Some(_)) => {}
            _ if recovery.is_some() => {}
            (Some(_), None) => say("deployment and restore: they need subtasktimes-V.json"),
            (None, None) => say(
                "deployment and restore: they need subtasktimes-V.json, best of a job that has \
                 restored a checkpoint",
            ),
        }
        match recovery {
            Some(of) => say(&format!(
                "how long a dead machine goes unnoticed: {:.0} ms in the measured runs; say so with \
                 `cluster.connection_loss`, and give `cluster.heartbeat_rpc_failure_threshold`",
                of.detection_ms.value
            )),
            None => say(
                "how long a dead machine goes unnoticed: REST knows when the job failed, not when \
                 the machine died; --from-runs has measured it",
            ),
        }
        if self.failures.others.is_empty() {
            say(
                "how often machines fail: the job has seen no failure but those of checkpoints, if \
                 any; give --mtbf to `cutline sweep`",
            );
        }
        said
    }
}

/// Completed checkpoints that found the job in its usual state: not those of a start or a restart,
/// which find buffers that are still filling, and show by their durations growing each time.
fn settled(dump: &Dump) -> Vec<&Checkpoint> {
    const STILL_GROWS: f64 = 0.8;
    let restored = dump.checkpoints.latest.restored.and_then(|of| of.restore_timestamp.0);
    let since = restored.unwrap_or(0.0);
    // One that expired took as long at least.
    let expired = |row: &Checkpoint| {
        let message = row.failure_message.as_deref().unwrap_or("");
        row.status == Status::Failed && message.contains("expired")
    };
    let ended = dump.rows.values().filter(|row| {
        !row.is_savepoint
            && row.trigger_timestamp.0.is_some_and(|at| at >= since)
            && (row.status == Status::Completed || expired(row))
    });
    let timed = ended.filter_map(|row| Some((row, row.end_to_end_duration.0?)));
    let timed: Vec<(&Checkpoint, f64)> = timed.collect();
    let growing = timed.windows(2).take_while(|pair| pair[0].1 < STILL_GROWS * pair[1].1).count();
    let usual = timed.into_iter().skip(growing).map(|(row, _)| row);
    usual.filter(|row| row.status == Status::Completed).collect()
}

/// Of some checkpoints and vertices.
fn acknowledged(
    dump: &Dump,
    of: impl Fn(u64, usize) -> bool,
) -> impl Iterator<Item = &Acknowledged> {
    let subtasks = dump.details.iter().filter(move |((number, vertex), _)| of(*number, *vertex));
    subtasks.flat_map(|(_, answer)| &answer.subtasks).filter_map(|subtask| match subtask {
        Subtask::Completed(of) if !of.aborted => Some(&**of),
        Subtask::Completed(_) | Subtask::Pending {} => None,
    })
}

fn vertices(dump: &Dump, settled: &[&Checkpoint]) -> Vec<VertexFacts> {
    let depths = dump.shape.depths();
    let usual = usual(dump, settled);
    let vertex = |(index, vertex): (usize, &crate::flink::shape::Vertex)| {
        let is_ours = |number, of| of == index && usual.contains(&number);
        let all: Vec<&Acknowledged> = acknowledged(dump, is_ours).collect();
        let estimate = |part: fn(&Acknowledged) -> Option<f64>| {
            Estimate::of(all.iter().filter_map(|of| part(of)))
        };
        let pressure = dump.backpressure.get(&index).filter(|answer| answer.status == "ok");
        let most = |part: fn(&crate::flink::answers::SubtaskPressure) -> Option<f64>| {
            let subtasks = pressure.into_iter().flat_map(|answer| &answer.subtasks);
            subtasks.filter_map(part).max_by(f64::total_cmp)
        };
        // All subtasks of the last checkpoint that they have all acknowledged.
        let mut details = dump.details.iter().rev().filter(|((_, of), _)| *of == index);
        let complete = details.find_map(|(_, answer)| {
            let sizes = answer.subtasks.iter().map(|subtask| match subtask {
                Subtask::Completed(of) => of.state_size.0,
                Subtask::Pending {} => None,
            });
            sizes.collect::<Option<Vec<f64>>>()
        });
        VertexFacts {
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            depth: depths[index],
            start_delay_ms: estimate(|of| of.start_delay.0),
            alignment_ms: estimate(|of| of.alignment.duration.0),
            sync_ms: estimate(|of| of.checkpoint.sync.0),
            async_ms: estimate(|of| of.checkpoint.asynchronous.0),
            state_bytes: complete.map(|sizes| sizes.iter().sum()),
            busy: most(|of| of.busy.0),
            backpressured: most(|of| of.ratio.0),
        }
    };
    dump.shape.vertices.iter().enumerate().map(vertex).collect()
}

/// Checkpoints whose details say how long barriers wait: the settled ones; failed ones if none has
/// settled, for what was acknowledged before they failed; else all.
fn usual(dump: &Dump, settled: &[&Checkpoint]) -> Vec<u64> {
    let mut detailed: Vec<u64> = dump.details.keys().map(|(number, _)| *number).collect();
    detailed.dedup();
    let among = |of: &dyn Fn(u64) -> bool| -> Vec<u64> {
        detailed.iter().copied().filter(|number| of(*number)).collect()
    };
    let failed =
        |number: u64| dump.rows.get(&number).is_some_and(|row| row.status == Status::Failed);
    let in_settled = among(&|number| settled.iter().any(|row| row.id == number));
    let in_failed = among(&failed);
    match (in_settled.is_empty(), in_failed.is_empty()) {
        (false, _) => in_settled,
        (true, false) if settled.is_empty() => in_failed,
        (true, _) => detailed,
    }
}

/// The busiest vertex, if it is clearly busier than those that wait for it.
fn bottleneck(vertices: &[VertexFacts]) -> Option<usize> {
    const BUSY: f64 = 0.7;
    const CLEARLY: f64 = 0.05;
    let mut busy: Vec<(usize, f64)> =
        vertices.iter().enumerate().filter_map(|(index, of)| Some((index, of.busy?))).collect();
    busy.sort_by(|a, b| b.1.total_cmp(&a.1));
    match busy[..] {
        [(index, share)] if share > BUSY => Some(index),
        [(index, share), (_, next), ..] if share > BUSY && share - next > CLEARLY => Some(index),
        _ => None,
    }
}

/// Records a second that sources write, and bytes of one.
fn records(dump: &Dump) -> (Option<f64>, Option<f64>) {
    let sources = dump.shape.vertices.iter().filter(|vertex| vertex.inputs.is_empty());
    let of = |id: &str| dump.job.vertices.iter().find(|vertex| vertex.id == id);
    let mut rate = 0.0;
    let (mut written, mut bytes) = (0.0, 0.0);
    for source in sources {
        let Some(vertex) = of(&source.id) else { return (None, None) };
        let counts = vertex.metrics.write_records().filter(|records| *records > 0.0);
        let (Some(records), Some(ms)) = (counts, vertex.duration.0.filter(|ms| *ms > 0.0)) else {
            return (None, None);
        };
        rate += records / ms * 1e3;
        written += records;
        bytes += vertex.metrics.write_bytes().unwrap_or(0.0);
    }
    (Some(rate).filter(|rate| *rate > 0.0), Some(bytes / written).filter(|bytes| *bytes >= 1.0))
}

fn counted(dump: &Dump, settled: usize) -> Counted {
    let mut failed_by: BTreeMap<String, usize> = BTreeMap::new();
    for row in dump.rows.values().filter(|row| row.status == Status::Failed) {
        let message = row.failure_message.clone().unwrap_or_else(|| "no message".to_owned());
        *failed_by.entry(message).or_default() += 1;
    }
    let counts = dump.checkpoints.counts;
    Counted {
        total: counts.total,
        completed: counts.completed,
        failed: counts.failed,
        pending: counts.in_progress,
        known: dump.rows.len(),
        settled,
        failed_by,
    }
}

fn failures(dump: &Dump) -> Failures {
    let entries = &dump.exceptions.history.entries;
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_of_checkpoints()) {
        let name = entry.name.rsplit('.').next().unwrap_or(&entry.name);
        *others.entry(name.to_owned()).or_default() += 1;
    }
    Failures {
        of_checkpoints: entries.iter().filter(|entry| entry.is_of_checkpoints()).count(),
        others,
        observed_ms: dump.job.now.0.zip(dump.job.start_time.0).map(|(now, start)| now - start),
    }
}

/// From `RESTARTING` to `RUNNING` without the configured delay.
fn restart(dump: &Dump) -> Option<f64> {
    let restarting = entered(&dump.job.timestamps, "RESTARTING")?;
    let running = entered(&dump.job.timestamps, "RUNNING").filter(|at| *at > restarting)?;
    let fixed = ["fixed-delay", "fixeddelay"].contains(&dump.option("restart-strategy.type")?);
    let delay = dump.option("restart-strategy.fixed-delay.delay")?;
    let delay = cutline::config::text::parse_duration(delay);
    let took = running - restarting - delay.ok()?.as_millis() as f64;
    (fixed && took >= 0.0).then_some(took)
}

/// The slowest subtask's way from `DEPLOYING` to `RUNNING`.
fn start(dump: &Dump) -> Option<f64> {
    let subtasks = dump.times.values().flat_map(|answer| &answer.subtasks);
    let spans = subtasks.filter_map(|subtask| {
        let running = entered(&subtask.timestamps, "RUNNING")?;
        Some(running - entered(&subtask.timestamps, "DEPLOYING")?)
    });
    spans.filter(|span| *span >= 0.0).max_by(f64::total_cmp)
}

/// Sizes that are nearly the same become one, so that no line is drawn through their noise.
fn same_sizes(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged = Vec::with_capacity(points.len());
    let mut rest = &points[..];
    while let Some(&(smallest, _)) = rest.first() {
        let same = rest.iter().take_while(|(size, _)| *size <= smallest * SAME_SIZE).count();
        let (these, others) = rest.split_at(same);
        let size = median(these.iter().map(|(size, _)| *size)).unwrap_or(smallest);
        merged.extend(these.iter().map(|(_, ms)| (size, *ms)));
        rest = others;
    }
    merged
}
