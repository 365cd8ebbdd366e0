//! Buffer debloating: the sizes that gates ask for, and what becomes of them at the senders.

use super::output::full;
use super::{Back, Output, Outputs, Phase, Subtask};
use crate::ids::{GateId, InputChannel, OutputChannel};
use crate::task::debloat::{Debloater, PARTS, parts_of_record, records_in};
use crate::time::VirtualTime;

impl Subtask {
    pub(super) fn begin_debloating(&mut self, now: VirtualTime) {
        if self.debloat.enabled {
            let debloater = || Debloater::new(self.debloat, now);
            self.debloaters = self.credits.iter().map(|_| debloater()).collect();
        }
    }

    /// When the next sample is due. At its end a task takes none.
    pub(super) fn next_sample(&self) -> Option<VirtualTime> {
        let dues = self.debloaters.iter().map(Debloater::next_timeout);
        dues.min().filter(|_| matches!(self.phase, Phase::Recovering | Phase::Running))
    }

    /// A record was taken from a gate.
    #[inline]
    pub(super) fn measure(&mut self, now: VirtualTime, channel: InputChannel, bytes: u64) {
        if !self.debloaters.is_empty() {
            let gate = self.gate_of[channel.index()];
            let has_more = !self.gates.is_empty(gate);
            self.debloaters[gate.index()].on_taken(now, bytes, has_more);
        }
    }

    /// Flink: `StreamTask#debloat`.
    #[cold]
    #[inline(never)]
    pub(super) fn debloat(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        let gates = self.debloaters.iter_mut().zip(&mut self.credits);
        for ((debloater, credit), gate) in gates.zip(0..) {
            let in_use = credit.in_use().saturating_mul(debloater.parts_of_record()) / PARTS;
            let Some(bytes) = debloater.sample(now, in_use) else { continue };
            out.push(Output::BufferSize { gate: GateId(gate), bytes });
            for (index, _) in self.gate_of.iter().enumerate().filter(|(_, it)| it.0 == gate) {
                let channel = InputChannel(index as u32);
                out.push(Output::SendBack { channel, back: Back::BufferSize(bytes) });
            }
            credit.resize(parts_of_record(bytes), |channel, credit| {
                out.push(Output::SendBack { channel, back: Back::Credit(credit) });
            });
        }
    }

    /// The receiver wants buffers of another size: there is room for fewer records, or for more.
    #[cold]
    #[inline(never)]
    pub(super) fn on_buffer_size(&mut self, channel: OutputChannel, bytes: u32) {
        let index = channel.index();
        let parts = parts_of_record(bytes);
        let before = std::mem::replace(&mut self.parts_of_record[index], parts);
        let subpartition = &mut self.outputs[index];
        let pool = &mut self.pools[self.pool_of[index] as usize];
        let were_full = full(subpartition, pool);
        subpartition.set_buffers_max(records_in(self.subpartition_max, parts).max(1));
        let queued = subpartition.queued_buffers();
        pool.on_queued(queued * before, queued * parts);
        self.full_outputs = self.full_outputs - were_full + full(subpartition, pool);
    }
}
