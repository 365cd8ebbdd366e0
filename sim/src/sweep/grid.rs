//! The points of a sweep: every combination of the values of its axes.
//!
//! `interval=5s..10min:log:13` is an axis of thirteen intervals, each so much longer than the last;
//! `unaligned=false,true` is one of two. A path is what `--set` takes; the keys of `checkpointing`,
//! and `mtbf`, may stand alone.

use cutline::config::OPTIONS;
use cutline::config::text::{format_duration, parse_duration};
use cutline::time::VirtualDuration;

use crate::scenario::{Override, OverrideError, nearest};

/// More points than these are a mistake.
const POINTS_MAX: usize = 100_000;

/// One path and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// As it was given, for reports: `interval`.
    pub name: String,
    /// What `--set` takes: `checkpointing.interval`.
    pub path: String,
    /// The values, as text.
    pub values: Vec<String>,
    /// Whether the values are far apart in ratio: a picture has them on a logarithmic axis.
    pub is_log: bool,
}

/// Why a text is no axis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// No `=`, or nothing behind it.
    #[error("`{0}` is no axis such as interval=5s..10min:log:13 or unaligned=false,true")]
    Form(String),
    /// A name without a section that is no option.
    #[error("no scenario has `{name}`{}", meant(.nearest))]
    UnknownName {
        /// The name.
        name: String,
        /// The nearest.
        nearest: Option<String>,
    },
    /// Ends that are neither two durations nor two numbers.
    #[error("`{0}`: the ends of a range are two durations or two whole numbers")]
    Ends(String),
    /// The ends are in the wrong order, or the same.
    #[error("`{0}`: there is nothing from {1} to {2}")]
    Empty(String, String, String),
    /// Neither `log` nor `lin`, or no number of values.
    #[error("`{0}`: behind a range stand `log` or `lin` and the number of values, such as :log:13")]
    Steps(String),
    /// A value twice.
    #[error("`{0}`: the value {1} stands there twice")]
    Twice(String, String),
    /// Two axes of one path.
    #[error("`{0}` is varied twice")]
    SamePath(String),
    /// Too many combinations.
    #[error("{0} points are too many; at most {POINTS_MAX}")]
    TooMany(usize),
    /// The path has another form.
    #[error(transparent)]
    Path(#[from] OverrideError),
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

impl Axis {
    /// Reads `path=a..b:log:n` or `path=a,b,c`.
    ///
    /// # Errors
    /// The text has another form, or there is nothing in the range.
    pub fn parse(text: &str) -> Result<Self, GridError> {
        let form = || GridError::Form(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let (name, values) = (name.trim(), values.trim());
        if name.is_empty() || values.is_empty() {
            return Err(form());
        }
        let path = full_path(name)?;
        let (values, is_log) = match values.split_once("..") {
            Some((from, rest)) => range(text, from, rest)?,
            None => {
                let listed: Vec<String> =
                    values.split(',').map(|value| value.trim().to_owned()).collect();
                if listed.iter().any(String::is_empty) {
                    return Err(form());
                }
                (listed, false)
            }
        };
        if let Some((index, _)) =
            values.iter().enumerate().find(|(index, value)| values[..*index].contains(value))
        {
            return Err(GridError::Twice(text.to_owned(), values[index].clone()));
        }
        let axis = Self { name: name.to_owned(), path, values, is_log };
        axis.values.iter().try_for_each(|value| axis.set(value).map(|_| ()))?;
        Ok(axis)
    }

    fn set(&self, value: &str) -> Result<Override, OverrideError> {
        Override::parse(&format!("{}={value}", self.path))
    }

    /// The values as numbers, if all are durations (in seconds) or all are numbers.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        let plain = |value: &String| value.parse::<f64>().ok();
        let span = |value: &String| parse_duration(value).ok().map(|span| span.0 as f64 / 1e9);
        let all = |of: &dyn Fn(&String) -> Option<f64>| -> Option<Vec<f64>> {
            self.values.iter().map(of).collect()
        };
        all(&plain).or_else(|| all(&span))
    }

    /// Whether the values are durations.
    pub fn is_of_time(&self) -> bool {
        let plain = |value: &String| value.parse::<f64>().is_ok();
        self.values.iter().all(|value| parse_duration(value).is_ok() && !plain(value))
    }
}

fn range(text: &str, from: &str, rest: &str) -> Result<(Vec<String>, bool), GridError> {
    let steps = || GridError::Steps(text.to_owned());
    let mut parts = rest.rsplitn(3, ':');
    let [Some(count), Some(law), Some(to)] = [parts.next(), parts.next(), parts.next()] else {
        return Err(steps());
    };
    let count: usize = count.parse().ok().filter(|count| *count >= 2).ok_or_else(steps)?;
    if count > POINTS_MAX {
        return Err(GridError::TooMany(count));
    }
    let is_log = match law {
        "log" => true,
        "lin" => false,
        _ => return Err(steps()),
    };
    let whole = |text: &str| text.trim().parse::<u64>().ok();
    let span = |text: &str| parse_duration(text).ok().map(|span| span.0);
    let ends = |read: &dyn Fn(&str) -> Option<u64>| read(from).zip(read(to));
    let (of_time, (low, high)) = match (ends(&whole), ends(&span)) {
        (Some(ends), _) => (false, ends),
        (None, Some(ends)) => (true, ends),
        (None, None) => return Err(GridError::Ends(text.to_owned())),
    };
    if low >= high || is_log && low == 0 {
        return Err(GridError::Empty(text.to_owned(), from.to_owned(), to.to_owned()));
    }
    let mut values = Vec::with_capacity(count);
    for index in 0..count {
        let part = index as f64 / (count - 1) as f64;
        let value = match (index, is_log) {
            (0, _) => low,
            (last, _) if last == count - 1 => high,
            (_, true) => {
                let ratio = high as f64 / low as f64;
                rounded(low as f64 * libm::pow(ratio, part), of_time)
            }
            (_, false) => rounded(low as f64 + (high - low) as f64 * part, of_time),
        };
        let shown = match of_time {
            true => format_duration(VirtualDuration(value)),
            false => value.to_string(),
        };
        if values.last() != Some(&shown) {
            values.push(shown);
        }
    }
    Ok((values, is_log))
}

/// To three digits, and a time to milliseconds where it has them: what somebody would write into a
/// configuration.
fn rounded(value: f64, of_time: bool) -> u64 {
    let magnitude = libm::floor(libm::log10(value.max(1.0)));
    let step = libm::pow(10.0, magnitude - 2.0);
    let least = if of_time && value >= 1e8 { 1e6 } else { 1.0 };
    let step = step.max(least);
    (libm::round(value / step) * step) as u64
}

/// A key that stands alone gets its section.
fn full_path(name: &str) -> Result<String, GridError> {
    if name.contains(['.', '[']) {
        return Ok(name.to_owned());
    }
    let options = OPTIONS.iter().filter(|spec| spec.path.0 == "checkpointing");
    let short = options.map(|spec| spec.path).chain([("failures", "mtbf")]);
    if let Some((section, key)) = short.clone().find(|path| path.1 == name) {
        return Ok(format!("{section}.{key}"));
    }
    let nearest = nearest(name, short.map(|path| path.1)).map(str::to_owned);
    Err(GridError::UnknownName { name: name.to_owned(), nearest })
}

/// All combinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The axes; the last one changes fastest.
    pub axes: Vec<Axis>,
}

impl Grid {
    /// The combinations of these axes.
    ///
    /// # Errors
    /// A path is there twice, or there are too many combinations.
    pub fn new(axes: Vec<Axis>) -> Result<Self, GridError> {
        for (index, axis) in axes.iter().enumerate() {
            if axes[..index].iter().any(|other| other.path == axis.path) {
                return Err(GridError::SamePath(axis.path.clone()));
            }
        }
        let count = axes.iter().try_fold(1_usize, |n, axis| n.checked_mul(axis.values.len()));
        let count = count.unwrap_or(usize::MAX);
        if count > POINTS_MAX {
            return Err(GridError::TooMany(count));
        }
        Ok(Self { axes })
    }

    /// Number of points.
    pub fn points(&self) -> usize {
        self.axes.iter().map(|axis| axis.values.len()).product()
    }

    /// Of a point, the index of its value on each axis.
    pub fn place(&self, point: usize) -> Vec<usize> {
        let mut left = point;
        let mut place = vec![0; self.axes.len()];
        for (at, axis) in place.iter_mut().zip(&self.axes).rev() {
            *at = left % axis.values.len();
            left /= axis.values.len();
        }
        place
    }

    /// Of a point, its value on each axis.
    pub fn values(&self, point: usize) -> impl Iterator<Item = (&Axis, &str)> {
        let place = self.place(point);
        self.axes.iter().zip(place).map(|(axis, at)| (axis, axis.values[at].as_str()))
    }

    /// What makes the point of the scenario.
    pub fn overrides(&self, point: usize) -> Vec<Override> {
        self.values(point)
            .map(|(axis, value)| axis.set(value).expect("the axis tried each of its values"))
            .collect()
    }

    /// A point to read: `interval 30 s, unaligned true`.
    pub fn label(&self, point: usize) -> String {
        self.label_of(point, |_| true)
    }

    /// The same of some axes only.
    pub fn label_of(&self, point: usize, of: impl Fn(&Axis) -> bool) -> String {
        let values = self.values(point).filter(|(axis, _)| of(axis));
        let parts: Vec<String> =
            values.map(|(axis, value)| format!("{} {value}", axis.name)).collect();
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists() {
        for (text, path, expected) in [
            ("interval=5s..80s:log:5", "checkpointing.interval", "5 s|10 s|20 s|40 s|80 s"),
            ("interval=1s..2s:lin:3", "checkpointing.interval", "1 s|1500 ms|2 s"),
            ("interval=5s..10min:log:4", "checkpointing.interval", "5 s|24700 ms|122 s|10 min"),
            ("unaligned=false, true", "checkpointing.unaligned", "false|true"),
            ("mtbf=1 h,4 h", "failures.mtbf", "1 h|4 h"),
            ("buffers.floating_per_gate=2..4:lin:9", "buffers.floating_per_gate", "2|3|4"),
        ] {
            let axis = Axis::parse(text).expect(text);
            assert_eq!((axis.path.as_str(), axis.values.join("|").as_str()), (path, expected));
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("interval", "no axis such as"),
            ("interval=", "no axis such as"),
            ("interval=1s,,2s", "no axis such as"),
            ("intervall=1s,2s", "did you mean `interval`?"),
            ("interval=5s..1s:log:3", "there is nothing from 5s to 1s"),
            ("interval=0s..1s:log:3", "there is nothing from 0s"),
            ("interval=5s..9s", "stand `log` or `lin`"),
            ("interval=5s..9s:log:1", "stand `log` or `lin`"),
            ("interval=5s..9s:exp:5", "stand `log` or `lin`"),
            ("interval=five..9s:log:5", "two durations or two whole numbers"),
            ("interval=5s,6s,5s", "twice"),
            ("a..b=1,2", "is not a path"),
            ("interval=1ms..9h:log:999999999", "too many"),
        ] {
            let error = Axis::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let axis = |text| Axis::parse(text).expect(text);
        let twice = Grid::new(vec![axis("interval=1s"), axis("checkpointing.interval=2s")]);
        assert_eq!(twice, Err(GridError::SamePath("checkpointing.interval".to_owned())));
    }

    #[test]
    fn the_last_axis_changes_fastest() {
        let axis = |text| Axis::parse(text).expect(text);
        let grid = Grid::new(vec![axis("interval=1s,2s"), axis("unaligned=false,true")]);
        let grid = grid.expect("two axes");
        let labels: Vec<String> = (0..grid.points()).map(|point| grid.label(point)).collect();
        assert_eq!(labels[1], "interval 1s, unaligned true");
        assert_eq!(labels[2], "interval 2s, unaligned false");
        assert_eq!(labels.len(), 4);
    }
}
