//! The table of the numbers that a sweep needs; its rows have a kind.

use cutline::model::statistics::{
    Proportion, common_random_numbers, failures_needed, quantile_interval, rinott, t_quantile,
    zero_failures_upper,
};

use super::inputs::Inputs;
use super::{Results, RowError};

#[derive(Clone, Copy)]
enum Kind {
    Student,
    Quantile,
    Proportion,
    ZeroFailures,
    Rinott,
    FailuresNeeded,
    CommonRandomNumbers,
}

pub(super) fn row(row: &Inputs<'_>) -> Result<Results, RowError> {
    let kinds = [
        ("t_quantile", Kind::Student),
        ("quantile_ci", Kind::Quantile),
        ("proportion_ci", Kind::Proportion),
        ("zero_failures_upper", Kind::ZeroFailures),
        ("rinott_h", Kind::Rinott),
        ("failures_needed", Kind::FailuresNeeded),
        ("crn_gain", Kind::CommonRandomNumbers),
    ];
    let confidence = || row.probability("confidence");
    Ok(match row.choice("kind", &kinds)? {
        Kind::Student => {
            let value = t_quantile(row.probability("p")?, row.number("df")?)?;
            vec![("value", value.into())]
        }
        Kind::Quantile => {
            let (n, q) = (row.count("n")?, row.probability("q")?);
            let interval = quantile_interval(n, q, confidence()?)?;
            vec![
                ("lower_index", interval.lower.into()),
                ("upper_index", interval.upper.into()),
                ("coverage", interval.coverage.into()),
            ]
        }
        Kind::Proportion => {
            let (k, n, confidence) = (row.count("k")?, row.count("n")?, confidence()?);
            let wilson = Proportion::wilson(k, n, confidence)?;
            let exact = Proportion::clopper_pearson(k, n, confidence)?;
            vec![
                ("wilson_lo", wilson.lower.into()),
                ("wilson_hi", wilson.upper.into()),
                ("clopper_pearson_lo", exact.lower.into()),
                ("clopper_pearson_hi", exact.upper.into()),
            ]
        }
        Kind::ZeroFailures => {
            vec![("upper", zero_failures_upper(row.count("n")?, confidence()?)?.into())]
        }
        Kind::Rinott => {
            let (systems, first) = (row.count("systems")?, row.count("n0")?);
            vec![("value", rinott(systems, first, row.probability("P")?)?.into())]
        }
        Kind::FailuresNeeded => {
            let failures = failures_needed(row.number("rel_error")?, confidence()?)?;
            vec![("failures", failures.into())]
        }
        Kind::CommonRandomNumbers => {
            let left = common_random_numbers(row.number("correlation")?)?;
            vec![("variance_ratio", left.into())]
        }
    })
}
