//! For each defect a scenario that fails with it and passes without: fixed job, faults and timing.
//!
//! The files are ordinary scenarios, so that `cutline run FILE --defect ID` shows the harm.

use cutline::defect::Defect;

use crate::scenario::{Scenario, load};

macro_rules! files {
    ($($id:ident),+ $(,)?) => {
        /// The file of a defect's scenario, as text.
        pub fn text(of: Defect) -> &'static str {
            match of {
                $(Defect::$id => {
                    include_str!(concat!("../../defects/directed/", stringify!($id), ".json"))
                }),+
            }
        }
    };
}

files! {
    D01,
    D02,
    D03,
    D04,
    D05,
    D06,
    D07,
    D08,
    D09,
    D10,
    D11,
    D12,
    D13,
    D14,
    D15,
    D16,
    D17,
    D18,
    D20,
    D21,
    D22,
    D24,
    D25,
    D26,
    D29,
    D30,
    D31,
    D32,
    D33,
    D34,
    D35,
    D36,
    D38,
    D40,
    D41,
    D42,
    D43,
    D44,
    D45,
    D46,
    D47,
    D48,
    D49,
    D50,
    D51,
    D52,
    D53,
    D55,
    D56,
    D57,
    D59,
    D60,
    D61,
    D62,
    D64,
    D66,
    D67,
    D68,
    D69,
    D70,
    D71,
    D72,
    D73,
    D74,
    D75,
    D76,
    D77,
    D78,
    D79,
    D80,
    D81,
    D82,
    D83,
    D84,
    D85,
    D86,
    D87,
    D88,
    D90,
    D92,
    D93,
    D94,
    D95,
    D96,
    D97,
}

/// The scenario of a defect.
///
/// # Panics
/// Its file is not valid, which tests rule out.
pub fn scenario(of: Defect) -> Scenario {
    match load(text(of).as_bytes(), of.id(), &[]) {
        Ok(loaded) => loaded.scenario,
        Err(found) => panic!("{}", found.render(false)),
    }
}
