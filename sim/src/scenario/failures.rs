//! Random failures become scripted faults before a run begins.
//!
//! Their instants are counted from the start of the run and drawn from streams of their own. So the
//! runs of one seed see the same failures at the same instants whatever else differs between their
//! scenarios (common random numbers), and a case lists what struck it.

use cutline::time::{VirtualDuration, VirtualTime};

use super::fields::FAULTS_MAX;
use super::model::{FailureLaw, FailureTarget, Failures, Fault, FaultKind, Scenario, When};
use crate::kernel::stream::{Stream, Streams};

impl Failures {
    /// The next span without a failure.
    fn span(&self, stream: &mut Stream) -> VirtualDuration {
        match self.law {
            FailureLaw::Exponential => stream.exponential(self.mtbf),
            FailureLaw::Weibull { shape_permille } => {
                stream.weibull(self.mtbf, f64::from(shape_permille) / 1_000.0)
            }
        }
    }

    /// The failures of a seed until a time; each at a target that is drawn apart, so that another
    /// kind of target leaves the instants alone.
    fn draw(&self, scenario: &Scenario, seed: u64, room: usize) -> Vec<Fault> {
        let streams = Streams { seed };
        let mut spans = streams.stream("failures", "spans");
        let mut targets = streams.stream("failures", "targets");
        let mut at = VirtualTime::ZERO;
        let mut drawn = Vec::new();
        while drawn.len() < room {
            at += self.span(&mut spans);
            if at > scenario.limits.until {
                break;
            }
            let what = match self.target {
                FailureTarget::TaskManager => {
                    let count = u64::from(scenario.cluster.task_managers);
                    FaultKind::CrashTaskManager(targets.below(count) as u32)
                }
                FailureTarget::Task => subtask(scenario, &mut targets),
            };
            drawn.push(Fault { at: When::Time(at), what });
        }
        drawn
    }
}

fn subtask(scenario: &Scenario, targets: &mut Stream) -> FaultKind {
    let operators = &scenario.job.operators;
    let all: u64 = operators.iter().map(|operator| u64::from(operator.parallelism)).sum();
    let mut chosen = targets.below(all) as u32;
    for (index, operator) in operators.iter().enumerate() {
        if chosen < operator.parallelism {
            return FaultKind::CrashTask(index, chosen);
        }
        chosen -= operator.parallelism;
    }
    unreachable!("one of all subtasks was chosen");
}

impl Scenario {
    /// The same scenario with the failures of a seed among its faults, behind the scripted ones.
    #[must_use]
    pub fn with_failures_of(mut self, seed: u64) -> Self {
        if let Some(failures) = self.failures.take() {
            let room = FAULTS_MAX.saturating_sub(self.faults.len());
            let drawn = failures.draw(&self, seed, room);
            self.faults.extend(drawn);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::shapes::pipeline;

    fn hours(count: u64) -> VirtualDuration {
        VirtualDuration::from_secs(3_600 * count)
    }

    fn instants(law: FailureLaw, target: FailureTarget, seed: u64) -> Vec<VirtualTime> {
        let every = VirtualDuration::from_secs(1);
        let mut scenario = pipeline([3, 2, 2], 10, every, every);
        scenario.failures = Some(Failures { law, mtbf: hours(4), target });
        scenario.limits.until = VirtualTime::ZERO + hours(4_000);
        let time = |fault: &Fault| match fault.at {
            When::Time(at) => at,
            When::Step(_) => unreachable!("drawn at a time"),
        };
        scenario.with_failures_of(seed).faults.iter().map(time).collect()
    }

    #[test]
    fn instants_are_those_of_the_seed() {
        let exponential = FailureLaw::Exponential;
        let one = instants(exponential, FailureTarget::Task, 7);
        assert_eq!(one, instants(exponential, FailureTarget::TaskManager, 7));
        let weibull = FailureLaw::Weibull { shape_permille: 1_000 };
        assert_eq!(one, instants(weibull, FailureTarget::Task, 7), "shape 1 is exponential");
        assert_ne!(one, instants(exponential, FailureTarget::Task, 8));
    }

    #[test]
    fn as_many_as_the_mean_says() {
        // About five standard deviations of the number: that of a span over its mean, times the
        // root of 1,000.
        for (shape_permille, tolerance) in [(500, 355), (1_000, 160), (3_000, 60)] {
            let law = FailureLaw::Weibull { shape_permille };
            let count = instants(law, FailureTarget::Task, 3).len();
            assert!(count.abs_diff(1_000) < tolerance, "{shape_permille}: {count}");
        }
    }
}
