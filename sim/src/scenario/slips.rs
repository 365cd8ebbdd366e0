//! Which of Flink's keys a misspelt one is meant to be.

use std::sync::LazyLock;

use cutline::config::{Known, OPTIONS, find, flink_keys};

/// A key of Flink's.
struct Candidate {
    key: &'static str,
    normal: String,
    letters: Letters,
}

/// How often each letter occurs: the distance of two words is no less than what they differ by.
type Letters = [u8; 64];

/// The ones that are modelled first: of two that are equally near, such a one is meant.
static CANDIDATES: LazyLock<Vec<Candidate>> = LazyLock::new(|| {
    let modelled =
        OPTIONS.iter().flat_map(|spec| [spec.key].into_iter().chain(spec.deprecated.to_vec()));
    let all = flink_keys();
    let others = all.iter().flat_map(|key| [key.key].into_iter().chain(key.deprecated.to_vec()));
    let is_there = |key: &&str| !matches!(find(key), Some(Known::Removed(_)) | None);
    modelled.chain(others).filter(is_there).map(Candidate::new).collect()
});

impl Candidate {
    fn new(key: &'static str) -> Self {
        let normal = normal(key);
        Self { key, letters: letters(&normal), normal }
    }
}

/// How far a misspelt key may be from one that Flink has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tolerance {
    /// Flink has the family: it is a slip, only of which key.
    OfFlinks,
    /// It may be anybody's key.
    OfAnybodys,
}

/// The nearest of Flink's keys, if one is near enough to be meant.
pub(super) fn meant(key: &str, tolerance: Tolerance) -> Option<&'static str> {
    const LONGEST: usize = 100;
    let length = key.chars().count();
    let limit = match tolerance {
        Tolerance::OfFlinks => (length / 4).max(2),
        Tolerance::OfAnybodys if length < 12 => 1,
        Tolerance::OfAnybodys => (length / 6).max(2),
    };
    if length > LONGEST {
        return None;
    }
    let wanted = normal(key);
    let of_wanted = letters(&wanted);
    let far = |one: &Letters| {
        let (mut more, mut less) = (0, 0);
        for (one, other) in one.iter().zip(&of_wanted) {
            more += usize::from(one.saturating_sub(*other));
            less += usize::from(other.saturating_sub(*one));
        }
        more.max(less) > limit
    };
    CANDIDATES
        .iter()
        .filter(|candidate| !far(&candidate.letters))
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.normal), candidate.key))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

fn normal(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

fn letters(text: &str) -> Letters {
    let mut letters = [0_u8; 64];
    for byte in text.bytes() {
        let count = &mut letters[usize::from(byte % 64)];
        *count = count.saturating_add(1);
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_left_alone() {
        for (key, expected) in [
            ("state.backend.tpye", Some("state.backend.type")),
            ("high-availability.tpye", Some("high-availability.type")),
            (
                "execution.checkpointing.file-merging.enbled",
                Some("execution.checkpointing.file-merging.enabled"),
            ),
            ("pipeline.max-paralelism", Some("pipeline.max-parallelism")),
            ("state.changelog.storge", Some("state.changelog.storage")),
            ("execution.checkpointing.min_pause", Some("execution.checkpointing.min-pause")),
            ("heartbeat.intervall", Some("heartbeat.interval")),
            ("restart-strategy.fixed-delay.atempts", Some("restart-strategy.fixed-delay.attempts")),
            (
                "taskmanager.networks.memory.buffer-debloat.enabled",
                Some("taskmanager.network.memory.buffer-debloat.enabled"),
            ),
            ("state.something.else.altogether", None),
        ] {
            assert_eq!(meant(key, Tolerance::OfFlinks), expected, "{key}");
        }
        for key in ["my.interval", "python.client.executable", "a.b", "app.timeout", "job.name"] {
            assert_eq!(meant(key, Tolerance::OfAnybodys), None, "{key}");
        }
    }
}
