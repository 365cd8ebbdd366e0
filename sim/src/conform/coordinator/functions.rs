//! The groups `key_groups`, `subtask_mapping` and `list_state`.

use std::collections::BTreeMap;

use cutline::job::key_groups::{self, MAX_PARALLELISM_LIMIT};
use cutline::job::rescale::{self, ListHandle, SubtaskMapper};
use serde::Deserialize;
use serde_json::{Value, json};

use super::CaseError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyGroups {
    max_parallelism: u32,
    parallelism: u32,
    hashes: Vec<i32>,
}

pub(super) fn key_groups(input: KeyGroups) -> Result<Value, CaseError> {
    let KeyGroups { max_parallelism: max, parallelism, hashes } = input;
    check_parallelism(parallelism)?;
    check_parallelism(max)?;
    let groups: Vec<_> = hashes.iter().map(|&hash| key_groups::key_group(hash, max)).collect();
    let indexes = groups.iter().map(|&group| key_groups::operator_index(group, max, parallelism));
    let ranges = (0..parallelism).map(|index| {
        let range = key_groups::range_of(index, max, parallelism);
        [range.first, range.last]
    });
    Ok(json!({
        "murmur": hashes.iter().map(|&hash| key_groups::murmur(hash)).collect::<Vec<_>>(),
        "key_groups": groups,
        "operator_indexes": indexes.collect::<Vec<_>>(),
        "ranges": ranges.collect::<Vec<_>>(),
        "default_max_parallelism": key_groups::default_max_parallelism(parallelism),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    mapper: SubtaskMapper,
    old: u32,
    new: u32,
}

pub(super) fn subtask_mapping(input: Mapping) -> Result<Value, CaseError> {
    check_parallelism(input.old)?;
    check_parallelism(input.new)?;
    let Ok(mapping) = input.mapper.mapping(input.old, input.new) else {
        return Ok(json!({ "error": "unsupported" }));
    };
    Ok(json!({
        "new_to_old": mapping.new_to_old,
        "old_to_new": mapping.old_to_new,
        "identity": mapping.is_identity(),
        "ambiguous_old": mapping.ambiguous(),
        "mapper_may_be_ambiguous": input.mapper.may_be_ambiguous(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lists {
    old: Vec<Vec<ListHandle<String>>>,
    new: u32,
}

pub(super) fn list_state(input: Lists) -> Result<Value, CaseError> {
    check_parallelism(input.new)?;
    let shares = rescale::redistribute(&input.old, input.new);
    let named = shares.into_iter().map(|share| {
        let handles = share
            .into_iter()
            .map(|(id, states)| (format!("{}/{}", id.subtask, id.handle), json!(states)));
        json!(handles.collect::<BTreeMap<_, _>>())
    });
    Ok(named.collect())
}

fn check_parallelism(parallelism: u32) -> Result<(), CaseError> {
    if (1..=MAX_PARALLELISM_LIMIT).contains(&parallelism) {
        Ok(())
    } else {
        Err(CaseError::Range("a parallelism lies between 1 and 32768"))
    }
}
