//! Colours, by day, by night and on paper.
//!
//! A picture is written in the colours of the day. Its style sheet, and that of the page, give
//! every colour another one where the reader's machine says that it is dark: presentation
//! attributes of SVG give way to any rule. Viewers that know no style sheets show the day.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A colour by day and by night.
pub(super) type Shade = (RGBColor, &'static str);

pub(super) const PAPER: Shade = (RGBColor(255, 255, 255), "#0F141B");
pub(super) const INK: Shade = (RGBColor(28, 33, 40), "#E8EDF3");
pub(super) const MUTED: Shade = (RGBColor(87, 96, 106), "#A3AFBD");
pub(super) const GRID: Shade = (RGBColor(222, 227, 233), "#2C3541");
pub(super) const GOOD: Shade = (RGBColor(31, 136, 61), "#3FB950");
pub(super) const GOAL: Shade = (RGBColor(191, 38, 48), "#FF7B72");
/// Of the series: told apart with every kind of colour vision, and by their brightness in print.
pub(super) const SERIES: [Shade; 6] = [
    (RGBColor(0, 92, 175), "#58A6FF"),
    (RGBColor(201, 92, 0), "#F0A45D"),
    (RGBColor(0, 128, 105), "#3DCFAE"),
    (RGBColor(155, 58, 140), "#D990CF"),
    (RGBColor(110, 98, 0), "#D3C44A"),
    (RGBColor(90, 90, 98), "#B9BCC4"),
];

fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// What makes a picture dark where that is wanted; on paper it never is.
pub(super) fn style() -> String {
    let mut rules = String::new();
    for (day, night) in [PAPER, INK, MUTED, GRID, GOOD, GOAL].into_iter().chain(SERIES) {
        let day = hex(day);
        write!(
            rules,
            ".cutline [fill=\"{day}\"]{{fill:{night}}}.cutline [stroke=\"{day}\"]{{stroke:{night}}}"
        )
        .expect("a string takes all");
    }
    format!("@media screen and (prefers-color-scheme:dark){{{rules}}}")
}
