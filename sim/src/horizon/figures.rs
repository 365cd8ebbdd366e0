//! Figures of a stretch of a run, and what they say about a longer one.

use cutline::time::VirtualDuration;

use crate::check::Statistics;
use crate::sweep::{Measures, Recoveries, Requests};

/// Everything that was measured up to an instant, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) measures: Measures,
    pub(crate) statistics: Statistics,
}

impl Figures {
    /// What was added since.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u128::saturating_sub)
    }

    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.zip(other, u128::saturating_add)
    }

    /// What a stretch of length `to` would add, if it were like this one of length `of`.
    pub(super) fn stretched(&self, to: VirtualDuration, of: VirtualDuration) -> Self {
        // 40 bits keep the products below 128; more digits than anybody has measured.
        let spare = (64 - to.0.max(of.0).leading_zeros()).saturating_sub(40);
        let (to, of) = (u128::from(to.0 >> spare), u128::from(of.0 >> spare).max(1));
        self.zip(self, |value, _| (value.saturating_mul(to) + of / 2) / of)
    }

    /// Means are not sums: they follow from the rest at the very end.
    pub(super) fn settle(&mut self) {
        let measures = &mut self.measures;
        let mean = measures.stored_area.checked_div(u128::from(measures.span.0));
        measures.stored_bytes_mean = mean.map_or(0, |mean| u64::try_from(mean).unwrap_or(u64::MAX));
    }

    /// Number by number. Recoveries are simulated one and all, so they are those of `self`; but
    /// records wait in steady times as well.
    fn zip(&self, other: &Self, f: impl Fn(u128, u128) -> u128) -> Self {
        let (mine, others) = (&self.measures, &other.measures);
        let count = |mine: u64, others: u64| {
            u64::try_from(f(u128::from(mine), u128::from(others))).unwrap_or(u64::MAX)
        };
        let span = |mine: VirtualDuration, others: VirtualDuration| {
            VirtualDuration(count(mine.0, others.0))
        };
        let requests = Requests {
            state: count(mine.requests.state, others.requests.state),
            metadata: count(mine.requests.metadata, others.requests.metadata),
            read: count(mine.requests.read, others.requests.read),
            delete: count(mine.requests.delete, others.requests.delete),
            pointer: count(mine.requests.pointer, others.requests.pointer),
        };
        let measures = Measures {
            span: span(mine.span, others.span),
            recoveries: Recoveries {
                waited: f(mine.recoveries.waited, others.recoveries.waited),
                ..mine.recoveries.clone()
            },
            duration: mine.duration.zip(&others.duration, &f),
            latency: mine.latency.zip(&others.latency, &f),
            commit_latency: mine.commit_latency.zip(&others.commit_latency, &f),
            lag: mine.lag.zip(&others.lag, &f),
            sync: span(mine.sync, others.sync),
            in_flight_bytes: count(mine.in_flight_bytes, others.in_flight_bytes),
            messages: count(mine.messages, others.messages),
            checkpoint_messages: count(mine.checkpoint_messages, others.checkpoint_messages),
            requests,
            written_bytes: count(mine.written_bytes, others.written_bytes),
            stored_area: f(mine.stored_area, others.stored_area),
            stored_bytes_mean: 0,
            stored_bytes_max: mine.stored_bytes_max.max(others.stored_bytes_max),
        };
        Self { measures, statistics: self.statistics.zip(&other.statistics, &f) }
    }
}
