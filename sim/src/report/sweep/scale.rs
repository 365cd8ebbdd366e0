//! Axes of pictures: which stretch they show, and where they carry which label.
//!
//! A position is a number on a linear axis; on a logarithmic one it is the logarithm, by `libm`, so
//! that a picture is the same to the byte on every machine.

use crate::sweep::metric::Unit;

/// A stretch of an axis with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Whether equal ratios are equally far apart.
    pub(super) is_log: bool,
    /// The ends, as positions.
    pub(super) ends: (f64, f64),
    /// Positions and labels.
    pub(super) ticks: Vec<(f64, String)>,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a unit that is measured.
    Of(Unit),
    /// Just numbers.
    Plain,
}

/// More labels than these are a blur.
const TICKS_MAX: usize = 9;
/// Below this ratio a logarithm shows nothing that a line does not.
const LOG_FROM: f64 = 4.0;

/// Spans that people have a word for, in seconds; the first of each row may stand alone.
const SPANS: [&[f64]; 7] = [
    &[1e-6, 1e-5, 1e-4],
    &[1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5],
    &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0],
    &[60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0],
    &[3_600.0, 7_200.0, 10_800.0, 21_600.0, 43_200.0],
    &[86_400.0, 172_800.0, 432_000.0],
    &[864_000.0, 2_592_000.0, 8_640_000.0, 31_536_000.0],
];

impl Scale {
    /// A scale that shows all of these values; zero is shown if `with_zero`, which no logarithm
    /// can.
    pub(super) fn new(values: impl Iterator<Item = f64>, kind: Kind, with_zero: bool) -> Self {
        let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if finite.is_empty() {
            Self::linear(0.0, 1.0, kind)
        } else if with_zero {
            Self::linear(low.min(0.0), high.max(0.0), kind)
        } else if low > 0.0 && high / low >= LOG_FROM {
            Self::log(low, high, kind)
        } else {
            Self::near(low, high, kind)
        }
    }

    /// The position of a value; `None` if it has none, as zero on a logarithmic scale.
    pub(super) fn position(&self, value: f64) -> Option<f64> {
        match self.is_log {
            true => (value > 0.0 && value.is_finite()).then(|| libm::log10(value)),
            false => value.is_finite().then_some(value),
        }
    }

    fn log(low: f64, high: f64, kind: Kind) -> Self {
        let ends = (libm::log10(low), libm::log10(high));
        // A margin, so that no point lies on the frame.
        let margin = (ends.1 - ends.0) * 0.05;
        let ends = (ends.0 - margin, ends.1 + margin);
        let inside = |value: &f64| (ends.0..=ends.1).contains(&libm::log10(*value));
        let mut values: Vec<f64> = Vec::new();
        for coarse in 0..4 {
            values = log_candidates(kind, coarse, ends).into_iter().filter(inside).collect();
            if values.len() <= TICKS_MAX {
                break;
            }
        }
        while values.len() > TICKS_MAX {
            values = values.into_iter().step_by(2).collect();
        }
        let ticks = values.iter().map(|value| (libm::log10(*value), kind.label(*value)));
        Self { is_log: true, ends, ticks: ticks.collect() }
    }

    /// Values close to each other: the axis begins near the least of them, unless zero is near.
    fn near(low: f64, high: f64, kind: Kind) -> Self {
        let from_zero = low >= 0.0 && low < 0.7 * high || low == high;
        let low = if from_zero { low.min(0.0) } else { low };
        Self::linear(low, high, kind)
    }

    fn linear(low: f64, high: f64, kind: Kind) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = kind.step((high - low) / 5.0);
        let first = libm::floor(low / step);
        let last = libm::ceil(high / step);
        let ticks = (0..=(last - first) as u32).map(|index| {
            let value = (first + f64::from(index)) * step;
            (value, kind.label_in_steps(value, step))
        });
        Self { is_log: false, ends: (first * step, last * step), ticks: ticks.collect() }
    }
}

/// Round values for a logarithmic axis, fewer the coarser.
fn log_candidates(kind: Kind, coarse: usize, ends: (f64, f64)) -> Vec<f64> {
    match kind {
        Kind::Of(Unit::Seconds) => {
            let rows = SPANS.iter().flat_map(|row| match coarse {
                0 => row.to_vec(),
                1 => row.iter().copied().filter(|span| is_coarse(*span)).collect(),
                _ => vec![row[0]],
            });
            rows.collect()
        }
        Kind::Of(Unit::Bytes) => {
            let step = [1, 2, 5, 10][coarse.min(3)];
            (0..=60).step_by(step).map(|power| libm::pow(2.0, f64::from(power))).collect()
        }
        Kind::Of(_) | Kind::Plain => {
            const FINE: &[f64] = &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0];
            let digits: &[f64] = [FINE, &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]][coarse.min(3)];
            let decades = libm::floor(ends.0) as i32..=libm::ceil(ends.1) as i32;
            let of =
                |decade| digits.iter().map(move |digit| digit * libm::pow(10.0, f64::from(decade)));
            decades.flat_map(of).collect()
        }
    }
}

/// Spans of which a few are enough: 1, 10, 100 ms; 1, 10 s; 1, 10 min; 1, 6 h; 1 d.
fn is_coarse(span: f64) -> bool {
    const FEW: [f64; 11] =
        [1e-6, 1e-3, 1e-2, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0];
    FEW.contains(&span) || span >= 864_000.0
}

impl Kind {
    /// A value that is round by itself.
    pub(super) fn label(self, value: f64) -> String {
        match self {
            Self::Of(Unit::Seconds) => short_span(value),
            Self::Of(Unit::Share) => format!("{} %", short(value * 100.0)),
            Self::Of(Unit::Bytes) => short_bytes(value),
            Self::Of(Unit::PerSecond) => format!("{}/s", short(value)),
            Self::Of(Unit::PerHour) => format!("{}/h", short(value)),
            Self::Of(Unit::Price | Unit::Records) | Self::Plain => short(value),
        }
    }

    /// A value on an axis with such steps: zero is just zero.
    fn label_in_steps(self, value: f64, step: f64) -> String {
        if value.abs() < step / 2.0 {
            return "0".to_owned();
        }
        self.label(value)
    }

    /// A round step of about this size.
    fn step(self, about: f64) -> f64 {
        let (base, rounds): (f64, &[f64]) = match self {
            Self::Of(Unit::Seconds) if about > 86_400.0 => {
                let decade = libm::floor(libm::log10(about / 86_400.0));
                (86_400.0 * libm::pow(10.0, decade), &[1.0, 2.0, 5.0, 10.0])
            }
            Self::Of(Unit::Seconds) if about > 3_600.0 => (3_600.0, &[1.0, 2.0, 6.0, 12.0, 24.0]),
            Self::Of(Unit::Seconds) if about > 60.0 => (60.0, &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0]),
            Self::Of(Unit::Seconds) if about > 1.0 => (1.0, &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0]),
            Self::Of(Unit::Bytes) if about >= 1.0 => {
                let power = libm::floor(libm::log2(about) / 10.0) * 10.0;
                let rounds = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_024.0];
                (libm::pow(2.0, power), rounds)
            }
            Self::Of(_) | Self::Plain => {
                (libm::pow(10.0, libm::floor(libm::log10(about))), &[1.0, 2.0, 5.0, 10.0])
            }
        };
        let round = rounds.iter().copied().find(|round| base * round >= about * 0.999);
        base * round.unwrap_or(rounds[rounds.len() - 1])
    }
}

/// Up to four digits, none of them a zero behind the point.
fn short(value: f64) -> String {
    let magnitude = libm::floor(libm::log10(value.abs().max(1e-12)));
    let places = (3.0 - magnitude).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// `90 s` and not `1.5 min`; `10 min`, `2 h`.
fn short_span(value: f64) -> String {
    const UNITS: [(&str, f64); 6] =
        [("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)];
    let fits = |size: f64| {
        let count = value / size;
        count >= 0.999 && (count - libm::round(count)).abs() < 1e-6 * count
    };
    let found = UNITS.iter().find(|(_, size)| fits(*size) && value / size < 999.5);
    let found = found.or(UNITS.iter().find(|(_, size)| value >= *size));
    let (unit, size) = found.unwrap_or(&UNITS[5]);
    format!("{} {unit}", short(value / size))
}

fn short_bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut left = value;
    let mut unit = 0;
    while left >= 1_023.9 && unit + 1 < UNITS.len() {
        left /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", short(left), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, unit: Unit, with_zero: bool) -> String {
        let scale = Scale::new([low, high].into_iter(), Kind::Of(unit), with_zero);
        let labels: Vec<String> = scale.ticks.into_iter().map(|(_, label)| label).collect();
        labels.join("|")
    }

    #[test]
    fn labels_are_what_people_say() {
        for (low, high, unit, with_zero, expected) in [
            (5.0, 600.0, Unit::Seconds, false, "5 s|10 s|20 s|30 s|1 min|2 min|5 min|10 min"),
            (0.5, 4.0, Unit::Seconds, false, "500 ms|1 s|2 s"),
            (1.0, 86_400.0, Unit::Seconds, false, "1 s|10 s|1 min|10 min|1 h|6 h|1 d"),
            (0.012, 0.06, Unit::Share, false, "1.5 %|2 %|3 %|5 %"),
            (0.005, 0.09, Unit::Share, false, "0.5 %|0.7 %|1 %|1.5 %|2 %|3 %|5 %|7 %|10 %"),
            (0.002, 0.9, Unit::Share, false, "0.2 %|0.5 %|1 %|2 %|5 %|10 %|20 %|50 %|100 %"),
            (0.2, 0.21, Unit::Share, false, "20 %|20.2 %|20.4 %|20.6 %|20.8 %|21 %"),
            (0.0, 130.0, Unit::Seconds, true, "0|30 s|1 min|90 s|2 min|150 s"),
            (2e8, 2.5e8, Unit::Bytes, false, "190 MiB|200 MiB|210 MiB|220 MiB|230 MiB|240 MiB"),
            (1e6, 9e9, Unit::Bytes, false, "1 MiB|4 MiB|16 MiB|64 MiB|256 MiB|1 GiB|4 GiB"),
            (3.0, 3.0, Unit::PerSecond, false, "0|1/s|2/s|3/s"),
            (0.0, 0.0, Unit::Share, false, "0|20 %|40 %|60 %|80 %|100 %"),
        ] {
            assert_eq!(labels(low, high, unit, with_zero), expected, "{low} to {high}");
        }
    }

    #[test]
    fn every_value_lies_between_the_ends() {
        for (low, high) in [(0.5, 4.0), (1e-4, 3e5), (7.0, 7.0), (99.0, 101.0), (0.0, 1e9)] {
            for unit in [Unit::Seconds, Unit::Share, Unit::Bytes, Unit::PerSecond] {
                let scale = Scale::new([low, high].into_iter(), Kind::Of(unit), false);
                for value in [low, high] {
                    let position = scale.position(value).expect("the scale was made for it");
                    assert!(
                        (scale.ends.0..=scale.ends.1).contains(&position),
                        "{value}: {scale:?}"
                    );
                }
                assert!((1..=12).contains(&scale.ticks.len()), "{scale:?}");
            }
        }
    }
}
