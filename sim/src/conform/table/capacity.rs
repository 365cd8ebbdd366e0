//! Tables of the capacity that checkpoints and failures leave.

use cutline::model::interval::Wear;
use cutline::model::renewal::{UpTimes, useful_share};
use cutline::model::utilization::{Periodic, Pipeline, work_of};
use cutline::model::{ModelError, Seconds};

use super::inputs::Inputs;
use super::{Found, Results, RowError};

/// The answer, or none where an interval has no room for work.
fn unless_all_cost(value: Result<f64, ModelError>) -> Result<Found, ModelError> {
    match value {
        Ok(value) => Ok(value.into()),
        Err(ModelError::NoWorkLeft { .. }) => Ok(Found::Nothing),
        Err(other) => Err(other),
    }
}

pub(super) fn interval_batch(row: &Inputs<'_>) -> Result<Results, RowError> {
    let (cost, mtbf, restart) = (row.seconds("C")?, row.seconds("M")?, row.seconds("R")?);
    let wear = Wear::new(cost, mtbf)?;
    let share = |work: Result<Seconds, ModelError>| {
        let job = Periodic {
            work: work?,
            cost,
            latency: cost,
            mtbf,
            restart,
            downtime: Seconds::ZERO,
            failure_free_recovery: false,
        };
        job.useful_share()
    };
    let young = Seconds::new(wear.young())?;
    Ok(vec![
        ("young", wear.young().into()),
        ("daly_first", wear.daly_first(restart).into()),
        ("daly_higher", wear.daly_higher().into()),
        ("tau_exact", wear.exact_work().into()),
        ("period_exact", wear.exact().into()),
        ("U_at_exact", share(Seconds::new(wear.exact_work()))?.into()),
        ("U_at_young_as_period", unless_all_cost(share(work_of(young, cost)))?),
    ])
}

pub(super) fn first_order_error(row: &Inputs<'_>) -> Result<Results, RowError> {
    let wear = Wear::new(row.seconds("C_over_M")?, Seconds::new(1.0)?)?;
    let waste = |interval: f64| unless_all_cost(wear.waste(interval));
    Ok(vec![
        ("period_exact_over_M", wear.exact().into()),
        ("young_rel_error", Found::Shift(wear.young_error())),
        ("daly_rel_error", Found::Shift(wear.daly_error())),
        ("waste_exact", waste(wear.exact())?),
        ("waste_young", waste(wear.young())?),
        ("first_order_waste", wear.first_order_waste().into()),
        ("waste_at_half", waste(wear.exact() / 2.0)?),
        ("waste_at_double", waste(wear.exact() * 2.0)?),
    ])
}

pub(super) fn utilization_exp(row: &Inputs<'_>) -> Result<Results, RowError> {
    let job = periodic(row, row.seconds("M")?)?;
    Ok(vec![("U", job.useful_share()?.into())])
}

/// The job of the tables that give work, cost, restart, latency and downtime.
fn periodic(row: &Inputs<'_>, mtbf: Seconds) -> Result<Periodic, RowError> {
    Ok(Periodic {
        work: row.seconds("tau")?,
        cost: row.seconds("C")?,
        latency: row.seconds("L")?,
        mtbf,
        restart: row.seconds("R")?,
        downtime: row.seconds("D")?,
        failure_free_recovery: row.flag("failure_free_recovery")?,
    })
}

/// The job of the tables that give the interval and have no downtime.
fn periodic_by_interval(row: &Inputs<'_>) -> Result<Periodic, RowError> {
    let cost = row.seconds("c")?;
    Ok(Periodic {
        work: work_of(row.seconds("T")?, cost)?,
        cost,
        latency: row.seconds("L")?,
        mtbf: row.seconds("M")?,
        restart: row.seconds("R")?,
        downtime: Seconds::ZERO,
        failure_free_recovery: false,
    })
}

pub(super) fn utilization_failing_checkpoints(row: &Inputs<'_>) -> Result<Results, RowError> {
    let p = row.probability("p")?;
    let job = periodic_by_interval(row)?;
    let wear = Wear::new(job.cost, job.mtbf)?;
    Ok(vec![
        ("U", job.useful_share_with_failing_checkpoints(p)?.into()),
        ("checkpoints_per_success", (1.0 / (1.0 - p.get())).into()),
        ("T_opt", wear.exact_with_failing_checkpoints(p)?.into()),
        ("T_opt_first_order", wear.young_with_failing_checkpoints(p).into()),
    ])
}

pub(super) fn first_delay(row: &Inputs<'_>) -> Result<Results, RowError> {
    let job = periodic_by_interval(row)?;
    Ok(vec![
        ("U_first_delay_uniform", job.useful_share_with_random_first_delay()?.into()),
        ("U_first_delay_T_minus_c", job.useful_share()?.into()),
    ])
}

pub(super) fn completion_time(row: &Inputs<'_>) -> Result<Results, RowError> {
    let cost = row.seconds("C")?;
    let job = Periodic {
        work: row.seconds("tau")?,
        cost,
        latency: cost,
        mtbf: row.seconds("M")?,
        restart: row.seconds("R")?,
        downtime: row.seconds("D")?,
        failure_free_recovery: false,
    };
    let completion = job.completion(row.seconds("work")?)?;
    Ok(vec![
        ("expected_time", completion.time.into()),
        ("expected_segment", completion.segment.into()),
        ("slowdown", completion.slowdown.into()),
        ("expected_failures", completion.failures.into()),
    ])
}

#[derive(Clone, Copy)]
enum Law {
    Exponential,
    Weibull,
    Lognormal,
}

pub(super) fn utilization_renewal(row: &Inputs<'_>) -> Result<Results, RowError> {
    /// The parameters of a law are written with so many digits that its mean agrees to this.
    const MEAN_AGREES: f64 = 1e-8;
    let laws = [
        ("exponential", Law::Exponential),
        ("weibull", Law::Weibull),
        ("lognormal", Law::Lognormal),
    ];
    let mean = row.seconds("mean")?;
    let law = match row.choice("dist", &laws)? {
        Law::Exponential => UpTimes::exponential(mean)?,
        Law::Weibull if row.has("scale") => {
            UpTimes::weibull(row.number("shape")?, row.seconds("scale")?)?
        }
        Law::Weibull => UpTimes::weibull_with_mean(row.number("shape")?, mean)?,
        Law::Lognormal => UpTimes::lognormal(row.number("mu")?, row.number("sigma")?)?,
    };
    if (law.mean() - mean.get()).abs() > MEAN_AGREES * mean.get() {
        let message = format!("the law given here has a mean of {} s", law.mean());
        return Err(row.wrong("mean", message).into());
    }
    let job = periodic(row, mean)?;
    Ok(vec![("U", useful_share(&job, &law)?.into())])
}

pub(super) fn utilization_stream(row: &Inputs<'_>) -> Result<Results, RowError> {
    let job = Pipeline {
        interval: row.seconds("T")?,
        cost: row.seconds("c")?,
        depth: row.count("n")?,
        hop: row.seconds("delta")?,
        mtbf: Seconds::new(1.0 / row.rate("failure_rate")?.get())?,
        restart: row.seconds("R")?,
    };
    let best = Wear::new(job.cost, job.mtbf)?.exact();
    Ok(vec![("U", job.useful_share()?.into()), ("T_opt", best.into())])
}
