//! Properties of random topologies × workloads × crash schedules, with cases that shrink.

use std::sync::Arc;

use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::generate::Options;
use cutline_sim::scenario::model::{Fault, FaultKind};
use cutline_sim::scenario::{load, to_json};
use cutline_sim::strategies::{Run, Shape, runs};
use proptest::prelude::*;

fn simulate(run: &Run) -> Outcome {
    let scenario = Arc::new(run.scenario());
    Simulation::new(scenario, run.seed).expect("what is drawn can run").run()
}

fn any_shape() -> Shape {
    let unbounded = Options { records_max: 2_000, ..Options::default() };
    Shape { options: unbounded, ..Shape::default() }
}

fn exactly_once() -> Shape {
    let shape = Shape::default();
    Shape { options: Options { exactly_once_output: true, ..shape.options }, ..shape }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn all_checks_hold(run in runs(any_shape())) {
        let outcome = simulate(&run);
        prop_assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    }

    /// A crash schedule more or less is not seen from the outside. (A damaged checkpoint is: no job
    /// survives that it has nothing whole to go back to, here as in Flink.)
    #[test]
    fn faults_do_not_change_the_output(run in runs(exactly_once())) {
        let damages = |fault: &Fault| matches!(fault.what, FaultKind::DamageObject(_));
        prop_assume!(!run.scenario().faults.iter().any(damages));
        let calm = Run { faults: Vec::new(), ..run.clone() };
        prop_assert_eq!(simulate(&run).shown, simulate(&calm).shown);
    }

    /// A case file keeps all that its run depends on.
    #[test]
    fn a_scenario_that_was_written_and_read_is_the_same_run(run in runs(any_shape())) {
        let scenario = run.scenario();
        let text = to_json(&scenario);
        let loaded = load(text.as_bytes(), "drawn.json", &[]);
        prop_assert!(loaded.is_ok(), "{}", loaded.err().map_or_else(String::new, |e| e.to_string()));
        let read = loaded.expect("it was asserted").scenario;
        prop_assert_eq!(&read, &scenario);
    }

    #[test]
    fn the_description_of_a_run_is_one_line(run in runs(any_shape())) {
        prop_assert_eq!(format!("{run:?}").lines().count(), 1);
    }
}
