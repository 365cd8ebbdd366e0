//! `cutline model coordinator`, `storage` and `barriers`: what grows with the tasks.

use clap::Args;
use cutline::model::alignment::Delays;
use cutline::model::barrier::{BarrierBytes, NetworkBuffers};
use cutline::model::coordinator::{CoordinatorCosts, CoordinatorLoad, MetadataStore};
use cutline::model::storage::{ObjectStore, Retained, dirty_uniform};
use cutline::model::{ModelError, Rate, Seconds};

use super::Shown;
use super::sheet::{Amount, Sheet};
use super::values::{Chain, bandwidth, bytes, positive, rate, seconds};

/// Messages, bytes and busy time of the coordinator
///
/// No times of messages are known for sure, so they have to be given.
#[derive(Debug, Args)]
pub(super) struct Coordinator {
    #[command(flatten)]
    chain: Chain,

    /// From trigger to trigger
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Seconds,

    /// SST files of each subtask
    #[arg(long, value_name = "NUMBER")]
    ssts: u64,

    /// Characters of the path of each
    #[arg(long, value_name = "NUMBER", default_value_t = 106)]
    path_length: u64,

    /// Time for each source subtask that is told to begin
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    trigger_cost: Seconds,

    /// Time for each acknowledgement
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    acknowledge_cost: Seconds,

    /// Time for each subtask that is told of the completion
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    notify_cost: Seconds,

    /// Time for each checkpoint
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    fixed_cost: Seconds,

    /// Before the first byte of the metadata is written
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    store_latency: Seconds,

    /// Bytes of metadata that the store takes, such as 100mb/s
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    store_bandwidth: Rate,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Coordinator {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let costs = CoordinatorCosts {
            trigger: self.trigger_cost,
            acknowledge: self.acknowledge_cost,
            notify: self.notify_cost,
            fixed: self.fixed_cost,
        };
        let store = MetadataStore { latency: self.store_latency, bandwidth: self.store_bandwidth };
        let topology = self.chain.topology()?;
        let load = CoordinatorLoad::new(&topology, self.ssts, self.path_length, &costs, &store)?;
        let share = load.load(self.interval)?;
        let mut sheet = Sheet::default();
        sheet.figure("messages", "messages", Amount::Count(load.messages()));
        let (told, heard) = (load.trigger_messages, load.acknowledge_messages);
        sheet.figure("trigger_messages", "  to sources", Amount::Count(told));
        sheet.figure("acknowledge_messages", "  acknowledgements", Amount::Count(heard));
        sheet.figure("notify_messages", "  of completion", Amount::Count(load.notify_messages));
        let metadata = Amount::Bytes(load.metadata_bytes as f64);
        sheet.figure("metadata_bytes", "metadata file", metadata);
        let acknowledged = Amount::Bytes(load.acknowledge_bytes);
        sheet.figure("acknowledge_bytes", "acknowledgements", acknowledged);
        sheet.figure("busy_s", "busy", Amount::Seconds(load.busy));
        sheet.figure("load_share", "busy share of the time", Amount::Share(share));
        sheet.figure("duration_min_s", "least duration", Amount::Seconds(load.duration_min));
        let most = Amount::Rate(load.frequency_max());
        sheet.figure("frequency_max_per_s", "most checkpoints", most);
        if share >= 1.0 {
            sheet.note("Infeasible: the coordinator does not keep up at this interval.");
            sheet.miss();
        }
        Ok(sheet)
    }
}

/// Bytes of the retained checkpoints, uploads, and what an object store charges
#[derive(Debug, Args)]
pub(super) struct Storage {
    /// State of the job, such as 500gb
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    state: u64,

    /// Keys of it
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    keys: f64,

    /// Updates of uniformly drawn keys, such as 10000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    updates: Rate,

    /// From trigger to trigger
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Seconds,

    /// Checkpoints that are kept (execution.checkpointing.num-retained)
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "retention")]
    retained: u64,

    /// How long checkpoints are kept, instead of how many
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    retention: Option<Seconds>,

    /// Bytes that the files of incremental checkpoints hold for each byte of state
    #[arg(long, value_name = "NUMBER", value_parser = positive, default_value = "1")]
    amplification: f64,

    /// Metadata of each checkpoint
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "0b")]
    metadata: u64,

    /// Persisted in-flight data of each checkpoint
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "0b")]
    in_flight: u64,

    /// Files that a checkpoint writes to an object store
    #[arg(long, value_name = "NUMBER", value_parser = positive,
          requires_all = ["put_price", "gigabyte_price"])]
    files: Option<f64>,

    /// Price of 1,000 writes
    #[arg(long, value_name = "PRICE", value_parser = positive, requires = "files")]
    put_price: Option<f64>,

    /// Price of a gigabyte for a month
    #[arg(long, value_name = "PRICE", value_parser = positive, requires = "files")]
    gigabyte_price: Option<f64>,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Storage {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let snapshots = match self.retention {
            Some(retention) => Retained::snapshots_for(retention, self.interval)?,
            None => self.retained,
        };
        let kept = Retained {
            snapshots,
            state: self.state as f64,
            metadata: self.metadata as f64,
            in_flight: self.in_flight as f64,
        };
        let dirty = dirty_uniform(self.updates.get() * self.interval.get(), self.keys)?;
        let incremental = kept.incremental(dirty, self.amplification);
        let uploads =
            (kept.full_upload(self.interval)?, kept.incremental_upload(dirty, self.interval)?);
        let mut sheet = Sheet::default();
        sheet.figure("retained", "checkpoints kept", Amount::Count(snapshots));
        sheet.figure("dirty_share", "keys written between two", Amount::Share(dirty));
        sheet.figure("delta_bytes", "written of the state", Amount::Bytes(kept.delta(dirty)));
        sheet.figure("full_bytes", "kept, full", Amount::Bytes(kept.full()));
        sheet.figure("incremental_bytes", "kept, incremental", Amount::Bytes(incremental));
        let (full, delta) = (Amount::Bandwidth(uploads.0), Amount::Bandwidth(uploads.1));
        sheet.figure("full_upload_bytes_per_s", "upload, full", full);
        sheet.figure("incremental_upload_bytes_per_s", "upload, incremental", delta);
        self.charge(&mut sheet, incremental)?;
        Ok(sheet)
    }

    /// What an object store charges for incremental checkpoints.
    fn charge(&self, sheet: &mut Sheet, kept: f64) -> Result<(), ModelError> {
        /// What stores sell as a gigabyte.
        const GIGABYTE: f64 = 1e9;
        /// Writes a second that a prefix of S3 takes.
        const PUT_LIMIT: f64 = 3_500.0;
        let (Some(files), Some(put_price), Some(gigabyte_price)) =
            (self.files, self.put_price, self.gigabyte_price)
        else {
            return Ok(());
        };
        let store = ObjectStore {
            files,
            prefixes: 1,
            put_limit: Rate::new(PUT_LIMIT)?,
            put_price,
            gigabyte_price,
        };
        let gigabytes = kept / GIGABYTE;
        let (puts, written) = (store.puts(self.interval)?, store.put_cost(self.interval)?);
        sheet.figure("puts_per_s", "writes", Amount::Rate(puts));
        sheet.figure("burst_s", "writes of one, at 3500/s", Amount::Seconds(store.burst()?));
        sheet.figure("put_price_month", "price of a month's writes", Amount::Price(written));
        let stored = Amount::Price(store.storage_cost(gigabytes));
        sheet.figure("storage_price_month", "price of a month's storage", stored);
        let even = Amount::Seconds(store.break_even(gigabytes)?);
        sheet.figure("break_even_s", "both cost the same every", even);
        Ok(())
    }
}

/// Barriers of a checkpoint: how many, how large, how long they wait and travel
#[derive(Debug, Args)]
pub(super) struct Barriers {
    #[command(flatten)]
    chain: Chain,

    /// From trigger to trigger
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Seconds,

    /// Bytes that all channels carry, such as 100mb/s: for the share that barriers take
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    stream: Option<Rate>,

    /// Mean delay of a barrier, delays being exponential: for the alignment of a subtask
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "channels")]
    mean_delay: Option<Seconds>,

    /// Input channels of the subtask that is looked at
    #[arg(long, value_name = "NUMBER")]
    channels: Option<u64>,

    /// Bytes that it processes under backpressure, such as 1mb/s: for the travel of a barrier
    #[arg(long, value_name = "RATE", value_parser = bandwidth, requires = "channels")]
    throughput: Option<Rate>,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Barriers {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let topology = self.chain.topology()?;
        let barriers = topology.barriers();
        let size = BarrierBytes::new(barriers);
        // Against a stream of one byte a second, the share is bytes a second.
        let a_second = size.wire_share(self.interval, Rate::new(1.0)?)?;
        let mut sheet = Sheet::default();
        sheet.figure("subtasks", "subtasks", Amount::Count(topology.subtasks()));
        sheet.figure("barriers", "barriers", Amount::Count(barriers));
        sheet.figure("event_bytes", "as events", Amount::Bytes(size.events as f64));
        sheet.figure("wire_bytes", "on the wire, all remote", Amount::Bytes(size.wire as f64));
        let carried = Amount::Bandwidth(a_second);
        sheet.figure("wire_bytes_per_s", "on the wire, on average", carried);
        if let Some(stream) = self.stream {
            let share = Amount::Share(size.wire_share(self.interval, stream)?);
            sheet.figure("wire_share", "  of the stream", share);
        }
        let Some(channels) = self.channels else {
            return Ok(sheet);
        };
        let gate = NetworkBuffers::default();
        let in_flight = Amount::Bytes(gate.bytes(channels) as f64);
        sheet.figure("in_flight_bytes", "in flight at a gate, at most", in_flight);
        if let Some(mean) = self.mean_delay {
            let alignment = Delays::Exponential { mean }.alignment(channels)?;
            let aligned = Amount::Seconds(alignment.range);
            sheet.figure("alignment_s", "alignment", aligned);
            let blocked = Amount::Seconds(alignment.blocked / channels as f64);
            sheet.figure("blocked_mean_s", "a channel is blocked", blocked);
        }
        if let Some(throughput) = self.throughput {
            let hop = Amount::Seconds(gate.hop(channels, throughput)?);
            sheet.figure("hop_s", "a hop under backpressure", hop);
        }
        Ok(sheet)
    }
}
