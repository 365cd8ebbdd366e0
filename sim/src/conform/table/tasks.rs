//! Tables of what grows with the tasks: the coordinator, barriers, storage, failures in a row.

use cutline::model::alignment::{Delays, slow_checkpoint, slowest_lognormal};
use cutline::model::barrier::{BarrierBytes, Exchange, NetworkBuffers, Topology};
use cutline::model::coordinator::{CoordinatorCosts, CoordinatorLoad, MetadataStore};
use cutline::model::metadata::{Handle, OperatorState, metadata_bytes};
use cutline::model::restart::{Backoff, checkpoints_until_failure};
use cutline::model::storage::{ObjectStore, Retained, dirty_uniform, dirty_zipf as dirty_share};
use cutline::model::{Probability, Rate, Seconds};

use super::inputs::Inputs;
use super::{Found, Results, RowError};

/// Characters of the path of an SST file in the tables.
const SST_PATH: u64 = 106;
/// Characters of the path of a file with keyed state in the tables.
const FILE_PATH: u64 = 108;

/// A chain of operators.
fn topology(row: &Inputs<'_>) -> Result<Topology, RowError> {
    let patterns = [
        ("all_to_all", Exchange::AllToAll),
        ("broadcast", Exchange::AllToAll),
        ("hash", Exchange::AllToAll),
        ("rebalance", Exchange::AllToAll),
        ("forward", Exchange::Pointwise),
        ("rescale", Exchange::Pointwise),
    ];
    let (parallelism, exchanges) = (row.counts("parallelism")?, row.choices("pattern", &patterns)?);
    Ok(Topology::chain(parallelism, &exchanges)?)
}

pub(super) fn coordinator(row: &Inputs<'_>) -> Result<Results, RowError> {
    let topology = topology(row)?;
    let costs = CoordinatorCosts {
        trigger: row.seconds("c_trigger")?,
        acknowledge: row.seconds("c_ack")?,
        notify: row.seconds("c_notify")?,
        fixed: row.seconds("c_fixed")?,
    };
    let store = MetadataStore {
        latency: row.seconds("store_latency")?,
        bandwidth: row.rate("meta_bandwidth")?,
    };
    let ssts = row.count("sst_per_subtask")?;
    let load = CoordinatorLoad::new(&topology, ssts, SST_PATH, &costs, &store)?;
    Ok(vec![
        ("trigger_messages", load.trigger_messages.into()),
        ("ack_messages", load.acknowledge_messages.into()),
        ("notify_messages", load.notify_messages.into()),
        ("messages", load.messages().into()),
        ("barriers", topology.barriers().into()),
        ("metadata_bytes", load.metadata_bytes.into()),
        ("ack_bytes", load.acknowledge_bytes.into()),
        ("busy_s", load.busy.into()),
        ("coordinator_load", load.load(row.seconds("T")?)?.into()),
        ("min_duration_s", load.duration_min.into()),
        ("max_frequency_hz", load.frequency_max().into()),
    ])
}

pub(super) fn barrier_count(row: &Inputs<'_>) -> Result<Results, RowError> {
    let barriers = topology(row)?.barriers();
    let bytes = BarrierBytes::new(barriers);
    let (interval, stream) = (row.seconds("T")?, row.rate("stream_bytes_per_s")?);
    Ok(vec![
        ("barriers", barriers.into()),
        ("event_bytes", bytes.events.into()),
        ("wire_bytes_if_all_remote", bytes.wire.into()),
        ("wire_fraction", bytes.wire_share(interval, stream)?.into()),
    ])
}

pub(super) fn metadata_size(row: &Inputs<'_>) -> Result<Results, RowError> {
    let expected =
        "`keyed_inline_BYTES`, `keyed_file`, `operator_inline_BYTES` or `incremental_COUNTsst`";
    let state = OperatorState {
        subtasks: row.count("parallelism")?,
        max_parallelism: row.count("max_parallelism")?,
        handle: row.parsed("kind", expected, handle)?,
    };
    let operators = row.count("operators")?;
    let bytes = metadata_bytes((0..operators).map(|_| state));
    Ok(vec![("metadata_bytes", bytes.into())])
}

fn handle(kind: &str) -> Option<Handle> {
    if kind == "keyed_file" {
        return Some(Handle::KeyedFile { path: FILE_PATH });
    }
    if let Some(bytes) = kind.strip_prefix("keyed_inline_") {
        return Some(Handle::KeyedInline { bytes: bytes.parse().ok()? });
    }
    if let Some(bytes) = kind.strip_prefix("operator_inline_") {
        return Some(Handle::OperatorInline { bytes: bytes.parse().ok()? });
    }
    let ssts = kind.strip_prefix("incremental_")?.strip_suffix("sst")?.parse().ok()?;
    Some(Handle::Incremental { ssts, path: SST_PATH })
}

pub(super) fn alignment(row: &Inputs<'_>) -> Result<Results, RowError> {
    let (channels, one) = (row.count("channels")?, Seconds::new(1.0)?);
    let exponential = Delays::Exponential { mean: one };
    let uniform = Delays::Uniform { width: one };
    let normal = Delays::Normal { deviation: one };
    Ok(vec![
        ("exp_range", exponential.alignment(channels)?.range.into()),
        ("exp_blocked", exponential.alignment(channels)?.blocked.into()),
        ("exp_max", exponential.last(channels)?.into()),
        ("uniform_range", uniform.alignment(channels)?.range.into()),
        ("uniform_blocked", uniform.alignment(channels)?.blocked.into()),
        ("normal_range", normal.alignment(channels)?.range.into()),
    ])
}

/// Two kinds of rows: a probability to be slow, or lognormal durations.
pub(super) fn slowest_subtask(row: &Inputs<'_>) -> Result<Results, RowError> {
    let subtasks = row.count("subtasks")?;
    if row.has("p_slow") {
        let slow = slow_checkpoint(row.probability("p_slow")?, subtasks);
        return Ok(vec![("p_checkpoint_slow", slow.into())]);
    }
    let sigma = row.number("lognormal_sigma")?;
    let at = |u: f64| slowest_lognormal(sigma, Probability::new(u)?, subtasks);
    Ok(vec![
        ("median_of_max_over_median", at(0.5)?.into()),
        ("p90_of_max_over_median", at(0.9)?.into()),
    ])
}

pub(super) fn network_buffers(row: &Inputs<'_>) -> Result<Results, RowError> {
    let channels = row.count("channels")?;
    let gate = NetworkBuffers {
        exclusive: row.count("exclusive")?,
        floating: row.count("floating")?,
        segment: row.count("segment")?,
    };
    let mebibyte = Rate::new(1_048_576.0)?;
    Ok(vec![
        ("buffers_per_gate", gate.buffers(channels).into()),
        ("bytes_per_gate", gate.bytes(channels).into()),
        ("bytes_all_gates_p_by_p", gate.bytes(channels).saturating_mul(channels).into()),
        ("drain_s_at_1MiB_per_s", gate.drain(channels, mebibyte)?.into()),
    ])
}

pub(super) fn storage_size(row: &Inputs<'_>) -> Result<Results, RowError> {
    let interval = row.seconds("T")?;
    let updates = row.rate("updates_per_s")?.get() * interval.get();
    let dirty = dirty_uniform(updates, row.number("keys")?)?;
    let kept = Retained {
        snapshots: row.count("retained")?,
        state: row.number("state_bytes")?,
        metadata: row.number("metadata_bytes")?,
        in_flight: row.number("inflight_bytes")?,
    };
    let amplification = row.number("amplification")?;
    Ok(vec![
        ("dirty_fraction", dirty.into()),
        ("delta_bytes", kept.delta(dirty).into()),
        ("full_retained_bytes", kept.full().into()),
        ("incremental_retained_bytes", kept.incremental(dirty, amplification).into()),
        ("full_upload_bytes_per_s", kept.full_upload(interval)?.into()),
        ("incremental_upload_bytes_per_s", kept.incremental_upload(dirty, interval)?.into()),
        ("incremental_over_full", (kept.delta(dirty) / kept.state).into()),
    ])
}

pub(super) fn dirty_zipf(row: &Inputs<'_>) -> Result<Results, RowError> {
    let (updates, keys) = (row.number("updates")?, row.count("keys")?);
    let dirty = dirty_share(updates, keys, row.number("zipf_exponent")?)?;
    Ok(vec![("dirty_fraction", dirty.into())])
}

pub(super) fn object_store(row: &Inputs<'_>) -> Result<Results, RowError> {
    let interval = row.seconds("T")?;
    let gigabytes = row.number("retained_gb")?;
    let store = ObjectStore {
        files: row.number("files_per_checkpoint")?,
        prefixes: row.count("prefixes")?,
        put_limit: row.rate("put_limit")?,
        put_price: row.number("put_price_per_1000")?,
        gigabyte_price: row.number("gb_month_price")?,
    };
    let puts = store.puts(interval)?;
    Ok(vec![
        ("puts_per_s", puts.into()),
        ("limit_ok", Found::Flag(puts <= store.limit())),
        ("burst_s_at_limit", store.burst()?.into()),
        ("put_cost_month", store.put_cost(interval)?.into()),
        ("storage_cost_month", store.storage_cost(gigabytes).into()),
        ("T_break_even", store.break_even(gigabytes)?.into()),
    ])
}

pub(super) fn tolerable_failures(row: &Inputs<'_>) -> Result<Results, RowError> {
    let (p, tolerable) = (row.probability("p_fail")?, row.count("tolerable_failed")?);
    let mean = checkpoints_until_failure(p, tolerable);
    // JSON has no infinity: a job that never fails has no such number.
    let mean = Some(mean).filter(|mean| mean.is_finite());
    Ok(vec![("mean_checkpoints_to_job_failure", mean.into())])
}

pub(super) fn restart_backoff(row: &Inputs<'_>) -> Result<Results, RowError> {
    let failures = row.count("failures_in_a_row")?;
    let backoff = Backoff {
        initial: row.seconds("initial")?,
        multiplier: row.number("multiplier")?,
        max: row.seconds("max")?,
    };
    Ok(vec![
        ("nth_delay", backoff.delay(failures)?.into()),
        ("total_delay", backoff.total(failures)?.into()),
    ])
}
