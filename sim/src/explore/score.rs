//! How good the search is: for each defect, whether its directed scenario shows it, and after how
//! many runs of the generic campaign it is found.
//!
//! The campaign is the one that everybody runs, from seed 0 on, and knows nothing of the defect. A
//! run finds a defect if its first violation is of a class that the catalogue names and the same
//! case passes with the switch off. A crash of the simulator is no find, and neither is a run that
//! its budget of events has ended.
//!
//! What is found, and in which run, depends on seeds alone. The one measured figure is the CPU time,
//! and with a budget of time, whether there was enough of it.
//!
//! The run that finds a defect may be shrunk at once, as `cutline shrink` would: what is handed to
//! people is not the run that was found but the case that is left of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cutline::defect::{Defect, Defects, NotCompiledIn};
use serde::{Deserialize, Serialize};

use super::campaign::Campaign;
use super::caught::catch;
use super::row::{Row, Severity};
use super::shrink::{Subject, shrink};
use super::strategy::Method;
use crate::check::{Class, Verdict};
use crate::defects::{Entry, directed};
use crate::run::Simulation;
use crate::scenario::Scenario;

/// When the search for one defect is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// After so much CPU time. It ends a run never, only the search.
    Cpu(Duration),
    /// After so many runs.
    Runs(u64),
}

/// What is known of one defect.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The defect.
    pub entry: &'static Entry,
    /// What came of it; `None`: it has no switch.
    pub proofs: Option<Proofs>,
}

/// The two proofs of a defect that is planted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proofs {
    /// Its directed scenario.
    pub directed: Directed,
    /// The campaign.
    pub search: Search,
}

/// What came of the directed scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directed {
    /// Whether it fails as it should, and passes without the defect.
    pub found: bool,
    /// What it fails as.
    pub class: Option<Class>,
}

/// What came of the campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Whether a run found it.
    pub found: bool,
    /// Runs, the one that found it included.
    pub runs: u64,
    /// What it was found as.
    pub class: Option<Class>,
    /// How the scenario of that run was made.
    pub strategy: Option<Method>,
    /// What it was found as, in full.
    pub signature: Option<String>,
    /// CPU time. Measured: the only figure that differs from one time to the next.
    pub cpu_seconds: f64,
    /// Runs that failed first as something that the catalogue does not name.
    pub otherwise: u64,
    /// Runs that failed without the defect as well: mistakes of ours.
    pub without: u64,
    /// What is left of the run that found it, if it was shrunk.
    #[serde(default)]
    pub shrunk: Option<Small>,
}

/// What shrinking has left of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// Operators of its job.
    pub operators: u64,
    /// Their subtasks.
    pub subtasks: u64,
    /// Faults, and what users do.
    pub faults: u64,
    /// Kernel events until the violation.
    pub events: u64,
    /// So many there were before.
    pub events_before: u64,
    /// Whether it still is the same violation, run once more, and passes without the defect.
    pub same: bool,
    /// CPU time. Measured.
    pub cpu_seconds: f64,
}

/// Both proofs of a defect; what is found is shrunk for so much CPU time, if for any. Asks `go_on`
/// between runs; `None` if it said no.
///
/// # Errors
/// This build has no defects.
pub fn score(
    entry: &'static Entry,
    (budget, shrinks): (Budget, Option<Duration>),
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Score>, NotCompiledIn> {
    let Some(defect) = entry.defect() else { return Ok(Some(Score { entry, proofs: None })) };
    let planted = Defects::plant(defect)?;
    let directed = prove(entry, defect, planted);
    let search = search(entry, planted, (budget, shrinks), go_on);
    let proofs = search.map(|search| Proofs { directed, search });
    Ok(proofs.map(|proofs| Score { entry, proofs: Some(proofs) }))
}

fn prove(entry: &Entry, defect: Defect, planted: Defects) -> Directed {
    let scenario = Arc::new(directed::scenario(defect));
    let first = |defects| {
        let run = || {
            let simulation = Simulation::new(Arc::clone(&scenario), entry.seed);
            simulation.expect("a directed scenario can run; tested").defects(defects).run()
        };
        catch(run).map(|outcome| outcome.violations.first().map(|violation| violation.class))
    };
    let passes = first(Defects::none()) == Ok(None);
    let class = first(planted).ok().flatten();
    Directed { found: passes && class.is_some_and(|class| entry.classes.contains(&class)), class }
}

/// Searches from seed 0 on.
fn search(
    entry: &Entry,
    planted: Defects,
    (budget, shrinks): (Budget, Option<Duration>),
    go_on: &(dyn Fn() -> bool + Sync),
) -> Option<Search> {
    let campaign = Campaign { defects: planted, ..Campaign::of_seeds(0..u64::MAX) };
    let clock = CpuClock::start();
    let mut result = Search {
        found: false,
        runs: 0,
        class: None,
        strategy: None,
        signature: None,
        cpu_seconds: 0.0,
        otherwise: 0,
        without: 0,
        shrunk: None,
    };
    let (mut interrupted, mut found) = (false, None);
    campaign.in_order(|row| {
        result.runs += 1;
        match judge(entry, row, || campaign.scenario(row)) {
            Judgement::Nothing => {}
            Judgement::Otherwise => result.otherwise += 1,
            Judgement::Without => result.without += 1,
            Judgement::Found(class) => {
                result.found = true;
                result.class = Some(class);
                result.strategy = Some(row.method);
                result.signature.clone_from(&row.signature);
                found = shrinks.map(|most| (row.clone(), most));
                return ControlFlow::Break(());
            }
        }
        interrupted = !go_on();
        let spent = match budget {
            Budget::Cpu(budget) => clock.elapsed() >= budget,
            Budget::Runs(budget) => result.runs >= budget,
        };
        if spent || interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    result.cpu_seconds = clock.elapsed().as_secs_f64();
    if let Some((row, most)) = found {
        let scenario = Arc::unwrap_or_clone(campaign.scenario(&row));
        result.shrunk = small(&Subject { scenario, seed: row.seed, defects: planted }, most);
    }
    (!interrupted).then_some(result)
}

fn small(subject: &Subject, most: Duration) -> Option<Small> {
    let clock = CpuClock::start();
    let shrunk = shrink(subject, u64::MAX, &mut || clock.elapsed() < most).ok()?;
    let cpu_seconds = clock.elapsed().as_secs_f64();
    let scenario = Arc::new(shrunk.scenario);
    let run = || {
        let simulation = Simulation::new(Arc::clone(&scenario), shrunk.seed);
        simulation.expect("it was shrunk by running it").defects(subject.defects).run()
    };
    let first = catch(run).ok().and_then(|outcome| outcome.violations.into_iter().next());
    let same = first.is_some_and(|violation| violation.signature() == shrunk.signature);
    let after = shrunk.after;
    Some(Small {
        operators: after.operators,
        subtasks: after.subtasks,
        faults: after.faults,
        events: after.events,
        events_before: shrunk.before.events,
        same: same && passes(scenario, shrunk.seed),
        cpu_seconds,
    })
}

enum Judgement {
    Nothing,
    Otherwise,
    Without,
    Found(Class),
}

fn judge(entry: &Entry, row: &Row, scenario: impl FnOnce() -> Arc<Scenario>) -> Judgement {
    match row.severity {
        Severity::Ok => return Judgement::Nothing,
        Severity::Inconclusive | Severity::Internal => return Judgement::Otherwise,
        Severity::Liveness | Severity::Safety => {}
    }
    let Some(class) = row.class().filter(|class| entry.classes.contains(class)) else {
        return Judgement::Otherwise;
    };
    match passes(scenario(), row.seed) {
        true => Judgement::Found(class),
        false => Judgement::Without,
    }
}

fn passes(scenario: Arc<Scenario>, seed: u64) -> bool {
    let run = || Simulation::new(scenario, seed).expect("it ran with the defect").run();
    catch(run).is_ok_and(|outcome| outcome.verdict == Verdict::Ok)
}

/// CPU time of this thread; where the system does not tell, the time of the wall.
struct CpuClock(Duration);

impl CpuClock {
    fn start() -> Self {
        Self(cpu_time())
    }

    fn elapsed(&self) -> Duration {
        cpu_time().saturating_sub(self.0)
    }
}

#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(unix))]
fn cpu_time() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defects::catalogue;

    fn entry(id: &str) -> &'static Entry {
        catalogue().iter().find(|entry| entry.id == id).expect("it is listed")
    }

    /// An easy one is found, in the same run whatever the budget.
    #[test]
    fn the_first_run_that_finds_it_is_told() {
        let found = |budget| {
            let score =
                score(entry("D69"), (budget, None), &|| true).expect("compiled in").expect("done");
            score.proofs.expect("it is planted")
        };
        let by_runs = found(Budget::Runs(1_000));
        assert!(by_runs.directed.found && by_runs.search.found, "{by_runs:?}");
        let last = by_runs.search.runs;
        let by_time = found(Budget::Cpu(Duration::from_secs(600)));
        assert_eq!(by_time.search.runs, last);
        // One run fewer does not find it, unless it is the first.
        if last > 1 {
            let short = found(Budget::Runs(last - 1)).search;
            assert_eq!((short.found, short.runs, short.class), (false, last - 1, None));
        }
    }

    /// What is left is small, is the same, and took no longer than it may.
    #[test]
    fn what_was_found_is_shrunk() {
        let most = Duration::from_secs(2);
        let budget = (Budget::Runs(1_000), Some(most));
        let score = score(entry("D69"), budget, &|| true).expect("compiled in").expect("done");
        let small = score.proofs.and_then(|proofs| proofs.search.shrunk).expect("it was found");
        assert!(small.same, "{small:?}");
        assert!(small.operators <= 5 && small.events < small.events_before, "{small:?}");
    }

    #[test]
    fn what_counts() {
        let entry = entry("D69");
        let row = |severity, signature: &str| {
            let row = serde_json::json!({
                "item": 0, "seed": 0, "method": "swarm", "severity": severity,
                "signature": signature, "virtual_ms": 0, "events": 0, "checkpoints": [0, 0, 0],
                "restores": 0, "faults": [0, 0], "situations": {}, "vacuous": [],
            });
            serde_json::from_value::<Row>(row).expect("a row")
        };
        let clean = || Arc::new(directed::scenario(Defect::D69));
        let judged = |row: &Row| match judge(entry, row, clean) {
            Judgement::Nothing => "nothing",
            Judgement::Otherwise => "otherwise",
            Judgement::Without => "without",
            Judgement::Found(_) => "found",
        };
        for (severity, signature, expected) in [
            ("safety", "output/wrong commit/x", "found"),
            ("safety", "output/duplication/x", "found"),
            ("safety", "output/loss/x", "otherwise"),
            ("internal", "internal/src/duplication/x.rs:1", "otherwise"),
            ("inconclusive", "liveness/wrong commit/x", "otherwise"),
        ] {
            assert_eq!(judged(&row(severity, signature)), expected, "{severity} {signature}");
        }
    }

    #[test]
    fn one_without_a_switch_has_no_proofs() {
        let entry = catalogue().iter().find(|entry| entry.defect().is_none()).expect("some");
        let score = score(entry, (Budget::Runs(1), None), &|| true).expect("nothing to plant");
        assert_eq!(score.and_then(|score| score.proofs), None);
    }

    #[test]
    fn an_interrupted_search_says_nothing() {
        assert_eq!(score(entry("D69"), (Budget::Runs(1), None), &|| false), Ok(None));
    }
}
