//! Goals on an error, such as `checkpoint_duration.median_error<=20%`.

use super::judge::ErrorOf;
use super::measure::Measure;

/// A bound on the error of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    text: String,
    measure: Measure,
    statistic: Statistic,
    /// As a share.
    bound: f64,
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Median,
    Worst,
}

/// How a goal came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reached {
    /// The error is within the bound.
    Met(f64),
    /// It is not.
    Missed(f64),
    /// No run tells.
    Unknown,
}

/// Why a text is no goal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// Not of the form.
    #[error("expected MEASURE.STATISTIC<=PERCENT%, such as checkpoint_duration.median_error<=20%")]
    Form,
    /// No such measure.
    #[error("no measure `{name}`{}", hint(nearest.as_deref()))]
    Measure {
        /// What was given.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// No such statistic.
    #[error("no statistic `{name}`; expected `median_error` or `worst_error`")]
    Statistic {
        /// What was given.
        name: String,
    },
    /// Not a share.
    #[error("`{text}` is no bound; expected a percentage from 0, such as 20%")]
    Bound {
        /// What was given.
        text: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    let names = || Measure::ALL.map(Measure::name).join(", ");
    nearest.map_or_else(|| format!("; there are {}", names()), |it| format!("; `{it}`?"))
}

impl Goal {
    /// Reads a goal.
    ///
    /// # Errors
    /// See [`GoalError`].
    pub fn parse(text: &str) -> Result<Self, GoalError> {
        let (left, right) = text.split_once('<').ok_or(GoalError::Form)?;
        let (strict, right) = right.strip_prefix('=').map_or((true, right), |right| (false, right));
        let (name, statistic) = left.trim().split_once('.').ok_or(GoalError::Form)?;
        let measure = Measure::ALL.into_iter().find(|of| of.name() == name);
        let measure = measure.ok_or_else(|| unknown(name))?;
        let statistic = match statistic {
            "median_error" => Statistic::Median,
            "worst_error" => Statistic::Worst,
            other => return Err(GoalError::Statistic { name: other.to_owned() }),
        };
        let percent = right.trim().strip_suffix('%').and_then(|of| of.trim().parse::<f64>().ok());
        let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
        let bound = percent.ok_or_else(|| GoalError::Bound { text: right.trim().to_owned() })?;
        Ok(Self { text: text.to_owned(), measure, statistic, bound: bound / 100.0, strict })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is about.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// How it comes out.
    pub fn judge(&self, errors: &[ErrorOf]) -> Reached {
        let Some(of) = errors.iter().find(|of| of.measure == self.measure) else {
            return Reached::Unknown;
        };
        let is = match self.statistic {
            Statistic::Median => of.median,
            Statistic::Worst => of.worst,
        };
        let met = if self.strict { is < self.bound } else { is <= self.bound };
        if met { Reached::Met(is) } else { Reached::Missed(is) }
    }
}

fn unknown(name: &str) -> GoalError {
    const ALIKE: f64 = 0.6;
    let rated = Measure::ALL.map(|of| (strsim::normalized_levenshtein(name, of.name()), of.name()));
    let best = rated.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let nearest = best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, of)| of.to_owned());
    GoalError::Measure { name: name.to_owned(), nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_and_judged() {
        let measure = Measure::TimeToCatchUp;
        let errors = [ErrorOf { measure, median: 0.15, worst: 0.4, runs: 3 }];
        for (text, expected) in [
            ("time_to_catch_up.median_error<=15%", Reached::Met(0.15)),
            ("time_to_catch_up.median_error < 15 %", Reached::Missed(0.15)),
            ("time_to_catch_up.worst_error<=39.9%", Reached::Missed(0.4)),
            ("downtime.worst_error<=20%", Reached::Unknown),
        ] {
            let goal = Goal::parse(text).expect("it is a goal");
            assert_eq!(goal.judge(&errors), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_goal_is_told_why() {
        for (text, expected) in [
            ("checkpoint_duration>5%", GoalError::Form.to_string()),
            (
                "checkpoint_duraton.median_error<=5%",
                "no measure `checkpoint_duraton`; `checkpoint_duration`?".to_owned(),
            ),
            (
                "downtime.p99<=5%",
                "no statistic `p99`; expected `median_error` or `worst_error`".to_owned(),
            ),
            (
                "downtime.median_error<=-5%",
                "`-5%` is no bound; expected a percentage from 0, such as 20%".to_owned(),
            ),
            (
                "downtime.median_error<=5",
                "`5` is no bound; expected a percentage from 0, such as 20%".to_owned(),
            ),
        ] {
            assert_eq!(Goal::parse(text).expect_err(text).to_string(), expected);
        }
        let lost = Goal::parse("x.median_error<=1%").expect_err("no such measure").to_string();
        assert!(lost.contains("there are checkpoint_duration, start_delay"), "{lost}");
    }
}
