//! Tables of what the users of a stream see: recovery, freshness, backlog.

use cutline::model::choice::{Binding, Budget, Choice, Goal, Question};
use cutline::model::freshness::{Cadence, Visibility};
use cutline::model::interval::Wear;
use cutline::model::lag::Lag;
use cutline::model::recovery::{Age, CatchUpSpread, Outage, Pauses, Stream};
use cutline::model::utilization::{Periodic, sustainable_rate, work_of};
use cutline::model::{ModelError, Probability, Rate, Seconds};

use super::inputs::Inputs;
use super::{Found, Results, RowError};

fn stream(row: &Inputs<'_>) -> Result<Stream, RowError> {
    // Both are read before the model looks at them, so that a mistake comes before a refusal.
    let (rate, capacity) = (row.rate("lambda")?, row.rate("mu")?);
    Ok(Stream::new(rate, capacity)?)
}

fn outage(row: &Inputs<'_>) -> Result<Outage, RowError> {
    Ok(Outage { stream: stream(row)?, downtime: row.seconds("D")? })
}

fn age(row: &Inputs<'_>) -> Result<Age, RowError> {
    Ok(Age { interval: row.seconds("T")?, duration: row.seconds("d")? })
}

pub(super) fn recovery(row: &Inputs<'_>) -> Result<Results, RowError> {
    let (outage, age, p) = (outage(row)?, age(row)?, row.probability("p")?);
    let mean = age.mean(p)?;
    Ok(vec![
        ("age_mean", mean.into()),
        ("age_max_if_p0", age.worst().into()),
        ("recovery_mean", outage.recovery(mean).into()),
        ("recovery_worst_if_p0", outage.recovery(age.worst()).into()),
        ("recovery_q95_if_p0", outage.recovery(age.quantile(Probability::new(0.95)?)).into()),
        ("replayed_mean", outage.replayed(mean).into()),
        ("backlog_at_restart_mean", outage.backlog(mean).into()),
        ("catchup_mean", outage.catch_up(mean).into()),
    ])
}

pub(super) fn catchup_stochastic(row: &Inputs<'_>) -> Result<Results, RowError> {
    let spread = CatchUpSpread::new(stream(row)?, row.number("backlog")?)?;
    Ok(vec![
        ("mean", spread.mean.into()),
        ("sd_poisson_exponential", spread.exponential_service.into()),
        ("sd_poisson_deterministic_service", spread.constant_service.into()),
    ])
}

pub(super) fn catchup_with_pauses(row: &Inputs<'_>) -> Result<Results, RowError> {
    let outage = outage(row)?;
    let pauses = Pauses { interval: row.seconds("T")?, cost: row.seconds("c")? };
    let age = row.seconds("A")?.get();
    Ok(vec![("recovery", outage.recovery_with_pauses(age, pauses).into())])
}

/// Two Flink jobs, killed three seconds before a checkpoint would have completed.
pub(super) fn khaos_recovery(row: &Inputs<'_>) -> Result<Results, RowError> {
    const KILLED_BEFORE: f64 = 3.0;
    row.labelled("job")?;
    let (rate, capacity) = (row.rate("lambda")?, row.rate("mu_fit")?);
    let stream = Stream::new(rate, capacity)?;
    let outage = Outage { stream, downtime: row.seconds("D_fit")? };
    let age = Seconds::new(row.seconds("T")?.get() - KILLED_BEFORE)?;
    let model = outage.recovery(age.get());
    Ok(vec![
        ("recovery_s_model", model.into()),
        ("recovery_s_measured", Found::Measured(Some(model))),
        ("mean_latency_ms_measured", Found::Measured(None)),
    ])
}

pub(super) fn visible_latency(row: &Inputs<'_>) -> Result<Results, RowError> {
    let Age { interval, duration } = age(row)?;
    let sink = Visibility { interval, duration, commit: row.seconds("commit")? };
    let p = row.probability("p")?;
    Ok(vec![
        ("mean", sink.mean(p)?.into()),
        ("min", sink.least().into()),
        ("max_if_p0", sink.worst().into()),
        ("q99_if_p0", sink.quantile(Probability::new(0.99)?).into()),
        ("sd_if_p0", sink.deviation().into()),
    ])
}

pub(super) fn effective_interval(row: &Inputs<'_>) -> Result<Results, RowError> {
    let Age { interval, duration } = age(row)?;
    let cadence = Cadence::new(interval, duration, row.seconds("min_pause")?)?;
    Ok(vec![("T_eff", cadence.interval.into()), ("duty", cadence.duty.into())])
}

fn lag_of(row: &Inputs<'_>) -> Result<Lag, RowError> {
    Ok(Lag {
        outage: outage(row)?,
        cost: row.seconds("c")?,
        duration: row.seconds("d")?,
        mtbf: row.seconds("M")?,
    })
}

pub(super) fn lag(row: &Inputs<'_>) -> Result<Results, RowError> {
    let lag = lag_of(row)?;
    Ok(vec![
        ("mean_lag_records", lag.mean(row.seconds("T")?)?.into()),
        ("T_lag", lag.best_interval()?.into()),
        ("T_lag_sqrt_approx", lag.best_interval_long_downtime()?.into()),
        ("T_lag_cuberoot_approx", lag.best_interval_no_downtime().into()),
        ("T_young", Wear::new(lag.cost, lag.mtbf)?.young().into()),
    ])
}

/// Without a `goal`, the goal is capacity, as in the first table of this name.
pub(super) fn interval_choice(row: &Inputs<'_>) -> Result<Results, RowError> {
    let goals = [("capacity", Goal::Capacity), ("freshness", Goal::Freshness)];
    let goal = if row.has("goal") { row.choice("goal", &goals)? } else { Goal::Capacity };
    let Lag { outage, cost, duration, mtbf } = lag_of(row)?;
    let question = Question {
        outage,
        duration,
        wear: Wear::new(cost, mtbf)?,
        min_pause: row.seconds("min_pause")?,
        commit: row.seconds("commit")?,
        recovery_budget: row.optional_seconds("recovery_budget")?,
        visibility_budget: row.optional_seconds("visible_budget")?,
        goal,
    };
    let answer = question.answer()?;
    let (interval, feasible, binding, worst) = match answer.choice {
        Choice::Feasible { interval, binding, recovery_worst } => {
            (Some(interval), true, Found::Word(word(binding, goal)), recovery_worst)
        }
        Choice::Infeasible { .. } => (None, false, Found::Nothing, None),
    };
    Ok(vec![
        ("recovery_worst_at_T", worst.into()),
        ("T_min", answer.floor.into()),
        ("T_rec", answer.recovery_ceiling.into()),
        ("T_vis", answer.visibility_ceiling.into()),
        ("T_cost", answer.best_capacity.into()),
        ("T_lag", answer.best_freshness.into()),
        ("T", interval.into()),
        ("feasible", Found::Flag(feasible)),
        ("binding", binding),
    ])
}

fn word(binding: Binding, goal: Goal) -> &'static str {
    match (binding, goal) {
        (Binding::Floor, _) => "min",
        (Binding::Goal, Goal::Capacity) => "cost",
        (Binding::Goal, Goal::Freshness) => "lag",
        (Binding::Budget(Budget::Recovery), _) => "recovery",
        (Binding::Budget(Budget::Visibility), _) => "visible",
    }
}

pub(super) fn reference_sweep(row: &Inputs<'_>) -> Result<Results, RowError> {
    row.labelled("scenario")?;
    let lag = lag_of(row)?;
    let Lag { outage, cost, duration, mtbf } = lag;
    let interval = row.seconds("T")?;
    let job = Periodic {
        work: work_of(interval, cost)?,
        cost,
        latency: duration,
        mtbf,
        restart: Seconds::ZERO,
        downtime: outage.downtime,
        failure_free_recovery: false,
    };
    let (share, age) = (job.useful_share()?, Age { interval, duration });
    let (mean_age, pauses) = (age.mean(Probability::ZERO)?, Pauses { interval, cost });
    let sink = Visibility { interval, duration, commit: Seconds::ZERO };
    Ok(vec![
        ("useful_fraction", share.into()),
        ("max_sustainable_rate", sustained(outage.stream, share)?.into()),
        ("recovery_mean_no_pause", outage.recovery(mean_age).into()),
        ("recovery_mean", outage.mean_recovery_with_pauses(age, pauses).into()),
        ("recovery_worst", outage.recovery_with_pauses(age.worst(), pauses).into()),
        ("replayed_mean", outage.replayed(mean_age).into()),
        ("visible_mean", sink.mean(Probability::ZERO)?.into()),
        ("mean_lag_low", lag.mean(interval)?.into()),
        ("mean_lag_high", lag.mean_high(interval)?.into()),
        ("checkpoints_per_failure", (mtbf.get() / interval.get()).into()),
    ])
}

fn sustained(stream: Stream, share: f64) -> Result<f64, ModelError> {
    Ok(sustainable_rate(Rate::new(stream.capacity())?, share))
}
