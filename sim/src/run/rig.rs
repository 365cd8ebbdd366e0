//! A run as the driver of long horizons sees it.

use cutline::time::{VirtualDuration, VirtualTime};

use super::Hub;
use super::setup::planned;
use crate::engine::{BuiltIn, Engine, Idle, Plan};
use crate::horizon::{Figures, Strike, Subject};
use crate::kernel::queue::Queue;
use crate::kernel::run::{Limits, Ran, run};
use crate::scenario::model::When;
use crate::sweep::Meter;
use crate::world::{Due, World};

pub(super) struct Rig<'a> {
    pub(super) world: &'a mut World<Engine, Hub<BuiltIn>>,
    pub(super) queue: &'a mut Queue<Due>,
}

impl Rig<'_> {
    fn meter(&self) -> &Meter {
        self.world.core.observer.meter.as_ref().expect("who leaps is measured")
    }
}

impl Subject for Rig<'_> {
    fn run(&mut self, until: VirtualTime, events: u64) -> Ran {
        let limits = Limits { until: Some(until), events, ..Limits::default() };
        run(self.world, self.queue, &limits)
    }

    fn figures(&self, now: VirtualTime) -> Figures {
        let statistics = self.world.core.observer.checks.statistics().clone();
        Figures { measures: self.meter().so_far(now), statistics }
    }

    fn longest_checkpoint(&self) -> VirtualDuration {
        self.world.core.observer.checks.statistics().end_to_end.max
    }

    fn is_calm(&self) -> bool {
        self.meter().recovery().is_calm()
    }

    fn failures(&self) -> u64 {
        self.meter().recovery().failures()
    }

    fn behind(&self, now: VirtualTime) -> VirtualDuration {
        self.meter().recovery().behind(now)
    }

    fn no_checkpoint(&self) -> Option<Idle> {
        match &self.world.processes[Plan::JOB_MANAGER.index()] {
            Engine::JobManager(job_manager) => job_manager.idle(),
            Engine::TaskManager(_) => unreachable!("process 0 is the job manager"),
        }
    }

    fn is_under_way(&self) -> bool {
        self.world.core.is_under_way()
    }

    fn retained(&self) -> usize {
        match &self.world.processes[Plan::JOB_MANAGER.index()] {
            Engine::JobManager(job_manager) => job_manager.retained().count(),
            Engine::TaskManager(_) => unreachable!("process 0 is the job manager"),
        }
    }

    fn strike(&mut self, now: VirtualTime, fault: u32) {
        self.world.strike_at(now, fault, self.queue);
    }

    fn leap(&mut self, by: VirtualDuration) {
        if let Engine::JobManager(job_manager) =
            &mut self.world.processes[Plan::JOB_MANAGER.index()]
        {
            job_manager.leap(by);
        }
    }

    fn skip(&mut self, from: VirtualTime, now: VirtualTime, by: VirtualDuration) {
        let meter = self.world.core.observer.meter.as_mut().expect("who leaps is measured");
        meter.skip(from, now, by);
        self.world.visit(Plan::JOB_MANAGER, now, self.queue, |process, ctx| {
            if let Engine::JobManager(job_manager) = process {
                job_manager.skip(by, ctx);
            }
        });
    }
}

/// The faults of a scenario, by time.
pub(super) fn strikes(plan: &Plan) -> Vec<Strike> {
    let mut strikes: Vec<Strike> = (0..)
        .zip(&plan.scenario.faults)
        .filter_map(|(fault, it)| match it.at {
            When::Time(at) => Some(Strike { at, fault, span: planned(plan, it, true).kind.span() }),
            When::Step(_) => None,
        })
        .collect();
    strikes.sort_by_key(|strike| strike.at);
    strikes
}
