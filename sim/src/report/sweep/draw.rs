//! Draws a picture of a sweep as SVG.
//!
//! Everything is laid out here: title and legend above, the notes below, so that no label covers
//! what was measured. There is no font to ask how wide a text is; it is estimated on the safe side.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figure::{Figure, Horizontal, Mark, Series};
use super::palette::{GOAL, GOOD, GRID, INK, MUTED, PAPER, SERIES, style};
use super::scale::{Kind, Scale};

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Units of the drawing for one pixel at its usual size: coordinates are whole numbers, and a curve
/// made of whole pixels would look like stairs.
const FINE: i32 = 4;
const WIDTH: i32 = 760;
const LEFT: i32 = 78;
const RIGHT: i32 = 24;
/// The part with the curves.
const PLOT_HEIGHT: i32 = 300;
const LINE: i32 = 18;
const LEGEND_TOP: i32 = 50;

const TITLE: i32 = 17;
const TEXT: i32 = 13;
const SMALL: i32 = 12;

/// The picture as a document of its own.
pub(super) fn svg(figure: &Figure) -> String {
    let drawing = Drawing::new(figure);
    let mut out = String::new();
    let size = (drawing.px(WIDTH) as u32, drawing.px(drawing.height) as u32);
    {
        let area = SVGBackend::with_string(&mut out, size).into_drawing_area();
        // A backend that writes into a string has nothing to fail at.
        drawing.draw(&area).expect("a string takes all");
        area.present().expect("a string takes all");
    }
    let body = out.split_once(">\n").map_or("", |(_, body)| body);
    let (width, height) = (WIDTH, drawing.height);
    format!(
        "<svg class=\"cutline\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>\n\
         <style>{}</style>\n{body}",
        size.0,
        size.1,
        escaped(&figure.title),
        style(),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// How wide a text is, in pixels, rather too wide than too narrow.
fn width_of(text: &str, size: i32) -> i32 {
    let narrow = |c: char| "iljft.,:;|'()[] ".contains(c);
    let hundredths: i32 = text.chars().map(|c| if narrow(c) { 38 } else { 67 }).sum();
    hundredths * size / 100
}

/// One entry of the legend.
enum Key {
    Simulated(usize),
    Form(usize),
    Flat,
    Best,
    /// The mark above a bar.
    AsGood,
    Optimum,
    Goal,
}

struct Drawing<'a> {
    figure: &'a Figure,
    x: Scale,
    y: Scale,
    /// Names instead of numbers along the axis: bars.
    names: Option<&'a [String]>,
    /// Entries of the legend with their places.
    legend: Vec<(i32, i32, Key, String)>,
    /// Lines of the notes.
    notes: Vec<String>,
    plot_top: i32,
    height: i32,
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl<'a> Drawing<'a> {
    fn new(figure: &'a Figure) -> Self {
        let names = match &figure.x {
            Horizontal::Numbers(_) => None,
            Horizontal::Names(names) => Some(&names[..]),
        };
        let marks = || figure.series.iter().flat_map(|series| &series.points);
        let x = match &figure.x {
            Horizontal::Numbers(kind) => Scale::new(marks().map(|mark| mark.x), *kind, false),
            Horizontal::Names(names) => Scale {
                is_log: false,
                ends: (-0.5, names.len() as f64 - 0.5),
                ticks: (0_u32..).map(f64::from).zip(names.iter().cloned()).collect(),
            },
        };
        let mut values: Vec<f64> = marks().map(|mark| mark.value).collect();
        values.extend(figure.series.iter().flat_map(|it| it.form.iter().map(|point| point.1)));
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        values.extend(figure.goals.iter().map(|goal| goal.0));
        // An interval that reaches to zero and below would take a logarithmic axis with it.
        let ends = marks().filter_map(|mark| mark.interval).flat_map(|(low, high)| [low, high]);
        values.extend(ends.filter(|end| *end >= least * 0.5));
        let y = Scale::new(values.into_iter(), figure.kind, names.is_some());
        let mut drawing = Self {
            figure,
            x,
            y,
            names,
            legend: Vec::new(),
            notes: wrapped(&figure.notes, WIDTH - LEFT - RIGHT),
            plot_top: 0,
            height: 0,
        };
        drawing.lay_out();
        drawing
    }

    fn lay_out(&mut self) {
        const SWATCH: i32 = 30;
        const GAP: i32 = 20;
        let (mut x, mut y) = (LEFT, LEGEND_TOP);
        for (key, text) in self.keys() {
            let width = SWATCH + width_of(&text, TEXT);
            if x > LEFT && x + width > WIDTH - RIGHT {
                (x, y) = (LEFT, y + LINE + 2);
            }
            self.legend.push((x, y, key, text));
            x += width + GAP;
        }
        self.plot_top = y + LINE + 10;
        self.height = self.plot_bottom() + 58 + LINE * self.notes.len() as i32;
    }

    fn keys(&self) -> Vec<(Key, String)> {
        let figure = self.figure;
        let mut keys = Vec::new();
        for (index, series) in figure.series.iter().enumerate() {
            keys.push((Key::Simulated(index), series.label.clone()));
        }
        let with_form = figure.series.iter().position(|series| !series.form.is_empty());
        if let Some(index) = with_form {
            let many = figure.series.iter().filter(|it| !it.form.is_empty()).count() > 1;
            keys.push((
                Key::Form(index),
                if many { "closed forms" } else { "closed form" }.to_owned(),
            ));
        }
        if figure.flat.is_some() {
            keys.push((Key::Flat, "as good as the best".to_owned()));
        }
        let as_good = |series: &Series| series.points.iter().any(|mark| mark.is_as_good);
        if self.names.is_some() && figure.series.iter().any(as_good) {
            keys.push((Key::AsGood, "best, or as good".to_owned()));
        }
        if let (Some(best), Horizontal::Numbers(kind)) = (figure.best, &figure.x) {
            keys.push((Key::Best, format!("best: {}", kind.label(best))));
        }
        if let (Some(optimum), Horizontal::Numbers(kind)) = (figure.optimum, &figure.x) {
            let shown = match kind {
                Kind::Of(unit) => unit.show(optimum),
                Kind::Plain => kind.label(optimum),
            };
            keys.push((Key::Optimum, format!("optimum of the closed form: {shown}")));
        }
        keys.extend(figure.goals.iter().map(|(_, text)| (Key::Goal, format!("goal {text}"))));
        keys
    }

    fn plot_bottom(&self) -> i32 {
        self.plot_top + PLOT_HEIGHT
    }

    fn px(&self, pixels: i32) -> i32 {
        pixels * FINE
    }

    /// The place of a position on the horizontal axis.
    fn across(&self, position: f64) -> i32 {
        let share = (position - self.x.ends.0) / (self.x.ends.1 - self.x.ends.0);
        self.px(LEFT) + libm::round(share * f64::from(self.px(WIDTH - LEFT - RIGHT))) as i32
    }

    /// The place of a position on the vertical axis; what lies outside is at its edge.
    fn down(&self, position: f64) -> i32 {
        let share = (position - self.y.ends.0) / (self.y.ends.1 - self.y.ends.0);
        let share = share.clamp(0.0, 1.0);
        self.px(self.plot_bottom()) - libm::round(share * f64::from(self.px(PLOT_HEIGHT))) as i32
    }

    fn place(&self, x: f64, y: f64) -> Option<(i32, i32)> {
        Some((self.across(self.x.position(x)?), self.down(self.y.position(y)?)))
    }

    /// The end of an interval; what has no place is at the lower edge.
    fn end(&self, y: f64) -> i32 {
        self.down(self.y.position(y).unwrap_or(self.y.ends.0))
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        area.fill(&PAPER.0)?;
        self.draw_flat(area)?;
        self.draw_axes(area)?;
        match self.names {
            Some(_) => self.draw_bars(area)?,
            None => self.draw_curves(area)?,
        }
        self.draw_goals(area)?;
        self.draw_words(area)
    }

    fn draw_flat(&self, area: &Area<'_>) -> Drawn {
        let Some((low, high)) = self.figure.flat else { return Ok(()) };
        let (Some(low), Some(high)) = (self.x.position(low), self.x.position(high)) else {
            return Ok(());
        };
        let corners = [
            (self.across(low), self.px(self.plot_top)),
            (self.across(high), self.px(self.plot_bottom())),
        ];
        area.draw(&Rectangle::new(corners, GOOD.0.mix(0.14).filled()))
    }

    fn draw_axes(&self, area: &Area<'_>) -> Drawn {
        let (left, right) = (self.px(LEFT), self.px(WIDTH - RIGHT));
        let (top, bottom) = (self.px(self.plot_top), self.px(self.plot_bottom()));
        let grid = GRID.0.stroke_width(FINE as u32);
        for (position, label) in &self.y.ticks {
            let y = self.down(*position);
            area.draw(&PathElement::new(vec![(left, y), (right, y)], grid))?;
            let at = (left - self.px(8), y);
            self.text(area, label, at, TEXT, MUTED.0, (HPos::Right, VPos::Center), false)?;
        }
        for (position, label) in &self.x.ticks {
            let x = self.across(*position);
            if self.names.is_none() {
                area.draw(&PathElement::new(vec![(x, top), (x, bottom)], grid))?;
            }
            let at = (x, bottom + self.px(8));
            let label = self.fitted(label);
            self.text(area, &label, at, TEXT, MUTED.0, (HPos::Center, VPos::Top), false)?;
        }
        let axis = MUTED.0.stroke_width(FINE as u32);
        area.draw(&PathElement::new(vec![(left, bottom), (right, bottom)], axis))
    }

    /// The name of a bar, cut short where there are so many that it would touch the next one.
    fn fitted(&self, label: &str) -> String {
        let Some(names) = self.names else { return label.to_owned() };
        let room = (WIDTH - LEFT - RIGHT) / names.len().max(1) as i32 - 6;
        let mut short = label.to_owned();
        while width_of(&short, TEXT) > room && short.chars().count() > 2 {
            let fewer = short.chars().count() - 2;
            short = short.chars().take(fewer).collect::<String>() + "…";
        }
        short
    }

    fn draw_curves(&self, area: &Area<'_>) -> Drawn {
        for series in &self.figure.series {
            self.draw_band(area, series)?;
        }
        for series in &self.figure.series {
            self.draw_form(area, series)?;
        }
        let optimum = self.figure.optimum.and_then(|it| self.x.position(it));
        if let Some(x) = optimum.filter(|it| (self.x.ends.0..=self.x.ends.1).contains(it)) {
            let x = self.across(x);
            let line = [(x, self.px(self.plot_top)), (x, self.px(self.plot_bottom()))];
            self.dashes(area, &line, (2, 4), MUTED.0.stroke_width(FINE as u32 * 3 / 2))?;
        }
        for series in &self.figure.series {
            let colour = SERIES[series.colour % SERIES.len()].0;
            let line: Vec<(i32, i32)> =
                series.points.iter().filter_map(|it| self.place(it.x, it.value)).collect();
            area.draw(&PathElement::new(line, colour.stroke_width(FINE as u32 * 2)))?;
            for mark in &series.points {
                self.draw_mark(area, mark, colour)?;
            }
        }
        Ok(())
    }

    fn draw_band(&self, area: &Area<'_>, series: &Series) -> Drawn {
        let colour = SERIES[series.colour % SERIES.len()].0;
        let ends = series.points.iter().filter_map(|mark| {
            let (low, high) = mark.interval?;
            Some((self.across(self.x.position(mark.x)?), self.end(low), self.end(high)))
        });
        let ends: Vec<(i32, i32, i32)> = ends.collect();
        if let [(x, low, high)] = ends[..] {
            let line = vec![(x, low), (x, high)];
            return area.draw(&PathElement::new(line, colour.stroke_width(FINE as u32 * 2)));
        }
        let upper = ends.iter().map(|(x, _, high)| (*x, *high));
        let lower = ends.iter().rev().map(|(x, low, _)| (*x, *low));
        let outline: Vec<(i32, i32)> = upper.chain(lower).collect();
        area.draw(&Polygon::new(outline, colour.mix(0.18).filled()))
    }

    fn draw_form(&self, area: &Area<'_>, series: &Series) -> Drawn {
        let colour = SERIES[series.colour % SERIES.len()].0;
        let line: Vec<(i32, i32)> =
            series.form.iter().filter_map(|(x, y)| self.place(*x, *y)).collect();
        self.dashes(area, &line, (7, 4), colour.stroke_width(FINE as u32 * 3 / 2))
    }

    fn draw_mark(&self, area: &Area<'_>, mark: &Mark, colour: RGBColor) -> Drawn {
        let Some(place) = self.place(mark.x, mark.value) else { return Ok(()) };
        if mark.is_as_good {
            let radius = self.px(if mark.is_best { 9 } else { 7 });
            let ring = GOOD.0.stroke_width(FINE as u32 * if mark.is_best { 3 } else { 2 });
            area.draw(&Circle::new(place, radius, ring))?;
        }
        area.draw(&Circle::new(place, self.px(4), colour.filled()))
    }

    fn draw_bars(&self, area: &Area<'_>) -> Drawn {
        let count = self.figure.series.len().max(1) as f64;
        let width = 0.7 / count;
        for (index, series) in self.figure.series.iter().enumerate() {
            let colour = SERIES[series.colour % SERIES.len()].0;
            let shift = (index as f64 - (count - 1.0) / 2.0) * width;
            for mark in &series.points {
                let middle = mark.x + shift;
                let half = width * 0.44;
                let (left, right) = (self.across(middle - half), self.across(middle + half));
                let (top, zero) = (self.end(mark.value), self.end(0.0));
                let bar = Rectangle::new([(left, top), (right, zero)], colour.mix(0.75).filled());
                area.draw(&bar)?;
                if let Some((low, high)) = mark.interval {
                    let x = self.across(middle);
                    let line = vec![(x, self.end(low)), (x, self.end(high))];
                    let ink = INK.0.stroke_width(FINE as u32 * 3 / 2);
                    area.draw(&PathElement::new(line, ink))?;
                }
                if mark.is_as_good {
                    let at = (
                        self.across(middle),
                        top.min(self.end(mark.interval.map_or(0.0, |it| it.1))) - self.px(12),
                    );
                    area.draw(&Circle::new(at, self.px(5), GOOD.0.filled()))?;
                }
            }
            for (x, value) in &series.form {
                let middle = x + shift;
                let (left, right) =
                    (self.across(middle - width / 2.0), self.across(middle + width / 2.0));
                let y = self.end(*value);
                let line = [(left, y), (right, y)];
                self.dashes(area, &line, (7, 4), INK.0.stroke_width(FINE as u32 * 2))?;
            }
        }
        Ok(())
    }

    fn draw_goals(&self, area: &Area<'_>) -> Drawn {
        for (limit, _) in &self.figure.goals {
            let Some(position) = self.y.position(*limit) else { continue };
            let y = self.down(position);
            let line = [(self.px(LEFT), y), (self.px(WIDTH - RIGHT), y)];
            self.dashes(area, &line, (10, 5), GOAL.0.stroke_width(FINE as u32 * 2))?;
        }
        Ok(())
    }

    fn draw_words(&self, area: &Area<'_>) -> Drawn {
        let figure = self.figure;
        let at = (self.px(LEFT), self.px(28));
        self.text(area, &figure.title, at, TITLE, INK.0, (HPos::Left, VPos::Center), true)?;
        for (x, y, key, text) in &self.legend {
            self.draw_key(area, *x, *y, key)?;
            let at = (self.px(x + 30), self.px(y + LINE / 2));
            self.text(area, text, at, TEXT, INK.0, (HPos::Left, VPos::Center), false)?;
        }
        let bottom = self.plot_bottom();
        let middle = (self.px((LEFT + WIDTH - RIGHT) / 2), self.px(bottom + 28));
        self.text(area, &figure.x_title, middle, TEXT, INK.0, (HPos::Center, VPos::Top), false)?;
        for (index, line) in (0..).zip(&self.notes) {
            let at = (self.px(LEFT), self.px(bottom + 52 + LINE * index));
            self.text(area, line, at, SMALL, MUTED.0, (HPos::Left, VPos::Top), false)?;
        }
        Ok(())
    }

    fn draw_key(&self, area: &Area<'_>, x: i32, y: i32, key: &Key) -> Drawn {
        let middle = self.px(y + LINE / 2);
        let (left, right) = (self.px(x), self.px(x + 24));
        let line = [(left, middle), (right, middle)];
        let of = |index: usize| SERIES[self.figure.series[index].colour % SERIES.len()].0;
        match key {
            Key::Simulated(index) if self.names.is_some() => {
                let corners = [(left, middle - self.px(6)), (right, middle + self.px(6))];
                area.draw(&Rectangle::new(corners, of(*index).mix(0.75).filled()))
            }
            Key::Simulated(index) => {
                let stroke = of(*index).stroke_width(FINE as u32 * 2);
                area.draw(&PathElement::new(line.to_vec(), stroke))?;
                let centre = ((left + right) / 2, middle);
                area.draw(&Circle::new(centre, self.px(4), of(*index).filled()))
            }
            Key::Form(index) => {
                let colour = if self.names.is_some() { INK.0 } else { of(*index) };
                self.dashes(area, &line, (7, 4), colour.stroke_width(FINE as u32 * 3 / 2))
            }
            Key::Flat => {
                let corners = [(left, middle - self.px(7)), (right, middle + self.px(7))];
                area.draw(&Rectangle::new(corners, GOOD.0.mix(0.25).filled()))
            }
            Key::Best => {
                let centre = ((left + right) / 2, middle);
                let ring = GOOD.0.stroke_width(FINE as u32 * 3);
                area.draw(&Circle::new(centre, self.px(7), ring))
            }
            Key::AsGood => {
                let centre = ((left + right) / 2, middle);
                area.draw(&Circle::new(centre, self.px(5), GOOD.0.filled()))
            }
            Key::Optimum => {
                let x = (left + right) / 2;
                let line = [(x, middle - self.px(9)), (x, middle + self.px(9))];
                self.dashes(area, &line, (2, 4), MUTED.0.stroke_width(FINE as u32 * 3 / 2))
            }
            Key::Goal => self.dashes(area, &line, (10, 5), GOAL.0.stroke_width(FINE as u32 * 2)),
        }
    }

    /// A line in dashes of so many pixels, with gaps of so many.
    fn dashes(
        &self,
        area: &Area<'_>,
        line: &[(i32, i32)],
        of: (i32, i32),
        with: ShapeStyle,
    ) -> Drawn {
        let lengths = [f64::from(self.px(of.0)), f64::from(self.px(of.1))];
        let (mut is_dash, mut left) = (true, lengths[0]);
        let mut dash: Vec<(i32, i32)> = line.first().copied().into_iter().collect();
        for pair in line.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|(x, y)| (f64::from(x), f64::from(y)));
            let whole = libm::hypot(to.0 - from.0, to.1 - from.1);
            let mut gone = 0.0;
            while whole - gone > left {
                gone += left;
                let part = gone / whole;
                let at = |from: f64, to: f64| libm::round(from + (to - from) * part) as i32;
                let here = (at(from.0, to.0), at(from.1, to.1));
                dash.push(here);
                if is_dash {
                    area.draw(&PathElement::new(std::mem::take(&mut dash), with))?;
                }
                is_dash = !is_dash;
                left = lengths[usize::from(!is_dash)];
                dash = vec![here];
            }
            left -= whole - gone;
            dash.push(pair[1]);
        }
        if is_dash && dash.len() > 1 {
            area.draw(&PathElement::new(dash, with))?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each is one word of what a text needs")]
    fn text(
        &self,
        area: &Area<'_>,
        text: &str,
        at: (i32, i32),
        size: i32,
        colour: RGBColor,
        anchor: (HPos, VPos),
        is_bold: bool,
    ) -> Drawn {
        /// What the backend divides a size by.
        const POINTS: f64 = 1.24;
        let style = if is_bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::SansSerif, f64::from(self.px(size)) * POINTS, style);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(anchor.0, anchor.1));
        area.draw(&Text::new(text.to_owned(), at, style))
    }
}

/// Texts one behind the other, in lines that are at most so wide.
fn wrapped(texts: &[String], width: i32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in texts.iter().flat_map(|text| text.split_whitespace()) {
        let line = lines.last_mut().expect("there is always one");
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || width_of(&longer, SMALL) <= width {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}
