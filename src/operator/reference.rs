//! The sequential reference: what the state of every operator must be for a cut.
//!
//! One instance of each operator holds all keys and all splits. Records are pushed depth-first
//! through the logical job graph; no channel, no barrier and no subtask is involved, so nothing
//! that the protocol can get wrong can go wrong here. Paths are mixed as the router mixes them, and
//! records go round in a loop as it has them go.

use crate::ids::{CheckpointId, OperatorId};
use crate::job::{Edge, EdgeId, Feedback, JobGraph, Partitioner};
use crate::time::VirtualTime;

use super::record::{Fingerprint, Record, SplitId};
use super::{Emitter, Operator, RestoreError, StateEntry, path};

/// See the module.
#[derive(Debug)]
pub struct Reference {
    order: Vec<OperatorId>,
    operators: Vec<Vertex>,
}

#[derive(Debug)]
struct Vertex {
    operator: Box<dyn Operator>,
    outputs: Vec<Output>,
    /// Where some of its records go round again.
    back: Option<(EdgeId, Feedback, Output)>,
    /// Taken while its records are being delivered; what comes round meanwhile has one of its own.
    emitter: Emitter,
    watermark: Option<VirtualTime>,
}

#[derive(Clone, Copy, Debug)]
struct Output {
    to: OperatorId,
    input: u32,
    /// Mixed into the path, where the sender has more than one output edge.
    mixed: Option<EdgeId>,
    /// Copies, one a receiving subtask, of a broadcast edge.
    copies: Option<u32>,
}

impl Reference {
    /// A job at its first start. The factory makes operators of parallelism 1
    /// ([`Instance::single`](super::Instance::single)).
    pub fn fresh(job: &JobGraph, factory: impl FnMut(OperatorId) -> Box<dyn Operator>) -> Self {
        let mut reference = Self::new(job, factory);
        reference.open(None);
        reference
    }

    /// A job restored from a checkpoint: `parts[operator]` are the states of its subtasks.
    ///
    /// # Errors
    /// A state cannot be read.
    ///
    /// # Panics
    /// If there are no parts for some operator (an operator without state has an empty list).
    pub fn restored(
        job: &JobGraph,
        factory: impl FnMut(OperatorId) -> Box<dyn Operator>,
        checkpoint: CheckpointId,
        parts: &[Vec<Vec<u8>>],
    ) -> Result<Self, RestoreError> {
        assert_eq!(parts.len(), job.operators().len(), "a list of parts for each operator");
        let mut reference = Self::new(job, factory);
        for (vertex, parts) in reference.operators.iter_mut().zip(parts) {
            for part in parts {
                vertex.operator.restore(part)?;
            }
        }
        reference.open(Some(checkpoint));
        Ok(reference)
    }

    fn new(job: &JobGraph, mut factory: impl FnMut(OperatorId) -> Box<dyn Operator>) -> Self {
        let vertex = |operator: OperatorId| {
            let edges = || (0..).map(EdgeId).zip(job.edges()).filter(|it| it.1.from == operator);
            let forward = || edges().filter(|it| it.1.leads_on());
            let several = forward().count() > 1;
            let output = |(id, edge): (EdgeId, &Edge)| Output {
                to: edge.to,
                input: edge.input,
                mixed: (several && edge.leads_on()).then_some(id),
                copies: (edge.partitioner == Partitioner::Broadcast)
                    .then(|| job.operators()[edge.to.index()].parallelism),
            };
            let back = edges().find_map(|it| Some((it.0, it.1.feedback?, output(it))));
            Vertex {
                operator: factory(operator),
                outputs: forward().map(output).collect(),
                back,
                emitter: Emitter::default(),
                watermark: None,
            }
        };
        let operators = (0..job.operators().len() as u32).map(OperatorId).map(vertex).collect();
        Self { order: job.topological_order().to_vec(), operators }
    }

    fn open(&mut self, restored: Option<CheckpointId>) {
        // What sinks ask of the outside is none of the reference's business, here and below.
        let mut effects = Vec::new();
        for vertex in &mut self.operators {
            vertex.operator.open(restored, &mut effects);
        }
    }

    /// Reads a split up to `to_offset` (excluded), or to its end, and processes what it gives.
    /// A split that is further already, or that nobody reads, stays as it is.
    pub fn advance(&mut self, split: SplitId, to_offset: u64) {
        let source = OperatorId(split.source());
        loop {
            let Some(vertex) = self.operators.get_mut(source.index()) else { return };
            let Some(reader) = vertex.operator.as_source() else { return };
            let behind = reader.position(split).is_some_and(|position| position < to_offset);
            if !behind || !reader.emit_from(split, &mut vertex.emitter) {
                return;
            }
            self.deliver(source);
        }
    }

    /// Processes a record at an operator: what was in flight on one of its input channels. Order is
    /// kept if receivers are served before their senders (against the topological order), each
    /// channel from its oldest record on. Marks of event time say nothing here: see
    /// [`settle`](Self::settle).
    pub fn inject(&mut self, operator: OperatorId, input: u32, record: &Record) {
        if !record.is_data() {
            return;
        }
        let vertex = &mut self.operators[operator.index()];
        vertex.operator.process(input, record, &mut vertex.emitter);
        self.deliver(operator);
    }

    /// Has all operators emit what they hold back for convenience alone: after a restore, and after
    /// what was in flight.
    pub fn release(&mut self) {
        for at in 0..self.order.len() {
            let operator = self.order[at];
            let vertex = &mut self.operators[operator.index()];
            vertex.operator.release(&mut vertex.emitter);
            self.deliver(operator);
        }
    }

    /// Has event time go as far as what the sources have read allows, and fires what is due by then.
    /// A job is never further than this, but may lag behind.
    pub fn settle(&mut self) {
        for at in 0..self.order.len() {
            let operator = self.order[at];
            let watermark = match self.operators[operator.index()].operator.as_source() {
                Some(source) => source.watermark(),
                None => self.least_upstream(operator),
            };
            self.advance_time(operator, watermark);
        }
    }

    /// How far event time is at each operator.
    pub fn watermarks(&self) -> Vec<Option<VirtualTime>> {
        self.operators.iter().map(|vertex| vertex.watermark).collect()
    }

    /// Has event time go as far as it is elsewhere, and fires what is due by then.
    ///
    /// # Panics
    /// If there are watermarks of fewer operators than there are.
    pub fn settle_at(&mut self, watermarks: &[Option<VirtualTime>]) {
        for at in 0..self.order.len() {
            let operator = self.order[at];
            self.advance_time(operator, watermarks[operator.index()]);
        }
    }

    fn least_upstream(&self, operator: OperatorId) -> Option<VirtualTime> {
        let leads_to = |vertex: &&Vertex| vertex.outputs.iter().any(|output| output.to == operator);
        let senders = self.operators.iter().filter(leads_to);
        senders.map(|vertex| vertex.watermark).min().flatten()
    }

    fn advance_time(&mut self, operator: OperatorId, to: Option<VirtualTime>) {
        let vertex = &mut self.operators[operator.index()];
        if let Some(watermark) = to.filter(|to| Some(*to) > vertex.watermark) {
            vertex.watermark = to;
            vertex.operator.on_watermark(watermark, &mut vertex.emitter);
            self.deliver(operator);
        }
    }

    /// Ends all inputs: every operator emits what it holds back.
    pub fn finish(&mut self) {
        for at in 0..self.order.len() {
            let operator = self.order[at];
            self.advance_time(operator, Some(VirtualTime::MAX));
            let vertex = &mut self.operators[operator.index()];
            vertex.operator.finish(&mut vertex.emitter);
            self.deliver(operator);
        }
    }

    /// Sends what an operator has emitted down all its output edges.
    fn deliver(&mut self, from: OperatorId) {
        let mut emitter = std::mem::take(&mut self.operators[from.index()].emitter);
        for record in emitter.records().iter().filter(|record| record.is_data()) {
            if let Some((edge, feedback, output)) = &self.operators[from.index()].back
                && path::goes_round(record, *edge, *feedback)
            {
                let (path, output) = (path::of_round(record.path, *edge), *output);
                self.inject(output.to, output.input, &Record { path, ..*record });
                continue;
            }
            for at in 0..self.operators[from.index()].outputs.len() {
                let output = self.operators[from.index()].outputs[at];
                let mut sent = *record;
                if let Some(edge) = output.mixed {
                    sent.path = path::on_edge(sent.path, edge);
                }
                match output.copies {
                    None => self.inject(output.to, output.input, &sent),
                    Some(copies) => (0..copies).for_each(|receiver| {
                        let path = path::at_receiver(sent.path, receiver);
                        self.inject(output.to, output.input, &Record { path, ..sent });
                    }),
                }
            }
        }
        emitter.clear();
        self.operators[from.index()].emitter = emitter;
    }

    /// The digest of an operator's state.
    pub fn fingerprint(&self, operator: OperatorId) -> Fingerprint {
        self.operators[operator.index()].operator.fingerprint()
    }

    /// Shows an operator's state entry by entry.
    pub fn visit(&self, operator: OperatorId, visitor: &mut dyn FnMut(StateEntry)) {
        self.operators[operator.index()].operator.visit(visitor);
    }

    /// The offset up to which a split was read; `None` if nobody reads it.
    pub fn position(&mut self, split: SplitId) -> Option<u64> {
        self.operators.get_mut(split.source() as usize)?.operator.as_source()?.position(split)
    }
}
