//! Charts as SVG: a title, and under it panels of bars, dots or lines.
//!
//! One quiet style for everything that Lastunit draws: white background, colours that readers with any colour vision can
//! tell apart, the figures themselves beside the marks. Text widths are estimated, for an SVG brings no fonts along.
//!
//! ```
//! use lastunit_bench::chart::{Bars, Figure, Hue, Lines, Series};
//!
//! let svg = Figure::new("Orders a second")
//!     .note("64 buyers of one SKU, 2 cores")
//!     .panel(Bars::new("Throughput", "orders/s").bar("batched", 33_336.0, Hue::Blue).bar("queue", 4192.0, Hue::Grey))
//!     .panel(Lines::new("Stock", "s", "units").series(Series::new("batched", Hue::Blue, [(0.0, 100.0), (0.2, 0.0)])))
//!     .to_svg()?;
//! assert!(svg.starts_with("<svg"));
//! # anyhow::Ok(())
//! ```

use anyhow::Result;
use plotters::{
    coord::{Shift, ranged1d::Ranged, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// A picture of one or more panels, 900 px wide and as high as they need.
#[derive(Debug, Clone)]
pub struct Figure {
    title: String,
    notes: Vec<String>,
    panels: Vec<Panel>,
}

/// One panel of a figure; [`Bars`], [`Dots`] and [`Lines`] become one.
#[derive(Debug, Clone)]
pub enum Panel {
    /// Horizontal bars, a value each.
    Bars(Bars),
    /// Rows of several values each.
    Dots(Dots),
    /// Series over an x axis.
    Lines(Lines),
}

/// How values are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// From zero, or from the least value if that is negative.
    #[default]
    Linear,
    /// By powers of ten; values that aren't positive are at its beginning.
    Log,
}

/// The palette (Okabe and Ito's, with grey), to be told apart with any colour vision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// The first choice; what the figure is about.
    Blue,
    /// A second one.
    Green,
    /// A third one.
    Orange,
    /// A fourth one.
    Purple,
    /// A fifth one.
    Sky,
    /// What others are compared to.
    Grey,
    /// Kept for what must not be: an invariant broken, units oversold.
    Red,
}

/// Horizontal bars, in the order given, each with its value beside it.
#[derive(Debug, Clone)]
pub struct Bars {
    title: String,
    unit: String,
    scale: Scale,
    bars: Vec<Bar>,
}

#[derive(Debug, Clone)]
struct Bar {
    label: String,
    value: f64,
    hue: Hue,
    remark: String,
}

/// Rows of several values each, as dots on a common axis: percentiles, say. The values are listed at the right.
#[derive(Debug, Clone)]
pub struct Dots {
    title: String,
    unit: String,
    scale: Scale,
    names: Vec<(String, Hue)>,
    rows: Vec<(String, Vec<f64>)>,
}

/// Series of points over a common x axis.
#[derive(Debug, Clone)]
pub struct Lines {
    title: String,
    x_unit: String,
    y_unit: String,
    x_scale: Scale,
    y_scale: Scale,
    series: Vec<Series>,
}

/// One line of [`Lines`], its points in ascending x.
#[derive(Debug, Clone)]
pub struct Series {
    label: String,
    hue: Hue,
    points: Vec<(f64, f64)>,
    filled: bool,
    steps: bool,
    dots: bool,
}

impl Figure {
    /// A figure with this title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), notes: Vec::new(), panels: Vec::new() }
    }

    /// Adds a line of small text under the title: what was measured, where, when. About 105 characters fit.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a panel below the others.
    pub fn panel(mut self, panel: impl Into<Panel>) -> Self {
        self.panels.push(panel.into());
        self
    }

    /// Draws it: a whole SVG document.
    ///
    /// # Errors
    /// Only what the drawing library may say; none is known.
    pub fn to_svg(&self) -> Result<String> {
        let head = 56 + NOTE_HEIGHT * self.notes.len() as i32;
        let height = head + self.panels.iter().map(|panel| panel.height() + PANEL_GAP).sum::<i32>();
        let mut svg = String::new();
        {
            let backend = SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), height.unsigned_abs()));
            let area = backend.into_drawing_area();
            area.fill(&WHITE)?;
            let pen = Pen { area: &area };
            pen.text((MARGIN, 34), &self.title, Text { size: 21, bold: true, ..Text::INK })?;
            for (at, note) in (0..).zip(&self.notes) {
                pen.text((MARGIN, 60 + NOTE_HEIGHT * at), note, Text { size: 13, ..Text::QUIET })?;
            }
            let mut top = head + PANEL_GAP / 2;
            for panel in &self.panels {
                panel.draw(&pen, top)?;
                top += panel.height() + PANEL_GAP;
            }
            area.present()?;
        }
        Ok(svg)
    }
}

impl Bars {
    /// An empty panel of bars, whose values have this unit (may be empty).
    pub fn new(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { title: title.into(), unit: unit.into(), scale: Scale::Linear, bars: Vec::new() }
    }

    /// Lays the values out on this scale.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// Adds a bar.
    pub fn bar(self, label: impl Into<String>, value: f64, hue: Hue) -> Self {
        self.bar_with(label, value, hue, "")
    }

    /// Adds a bar with a remark behind its value.
    pub fn bar_with(
        mut self,
        label: impl Into<String>,
        value: f64,
        hue: Hue,
        remark: impl Into<String>,
    ) -> Self {
        self.bars.push(Bar { label: label.into(), value, hue, remark: remark.into() });
        self
    }

    fn draw(&self, pen: &Pen<'_, '_>, top: i32) -> Result<()> {
        pen.panel_title(top, &self.title)?;
        let texts: Vec<String> = self.bars.iter().map(|bar| self.text(bar)).collect();
        let left = MARGIN + label_width(self.bars.iter().map(|bar| bar.label.as_str()));
        let right = WIDTH - MARGIN - label_width(texts.iter().map(String::as_str));
        let least = self.bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0).reduce(f64::min);
        // On a logarithmic scale the least bar has to have a length too.
        let values = self.bars.iter().map(|bar| bar.value).chain(least.map(|least| least * 0.7));
        let axis = Axis::over(self.scale, values, left, right.max(left + 80));
        for ((at, bar), text) in (0..).zip(&self.bars).zip(&texts) {
            let middle = top + TITLE_HEIGHT + ROW_HEIGHT * at + ROW_HEIGHT / 2;
            pen.text((left - GAP, middle), &bar.label, Text { align: HPos::Right, ..Text::INK })?;
            let end = axis.at(bar.value).max(left + 1);
            pen.rectangle((left, middle - 8), (end, middle + 8), bar.hue.colour().filled())?;
            pen.text((end + GAP, middle), text, Text::INK)?;
        }
        let bottom = top + TITLE_HEIGHT + ROW_HEIGHT * self.bars.len() as i32;
        pen.line((left, top + TITLE_HEIGHT), (left, bottom), AXIS)?;
        if self.scale == Scale::Log {
            // Without ticks a reader would take the lengths for proportions.
            pen.ticks(&axis, (bottom, bottom), "logarithmic scale")?;
        }
        Ok(())
    }

    fn text(&self, bar: &Bar) -> String {
        let Bar { value, remark, .. } = bar;
        [number(*value), self.unit.clone(), remark.clone()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn height(&self) -> i32 {
        let ticks = if self.scale == Scale::Log { TICKS_HEIGHT + CAPTION_HEIGHT } else { 0 };
        TITLE_HEIGHT + ROW_HEIGHT * self.bars.len() as i32 + ticks
    }
}

impl Dots {
    /// An empty panel of dots whose values have this unit; `names` are what each row's values are, in their order.
    pub fn new<N: Into<String>>(
        title: impl Into<String>,
        unit: impl Into<String>,
        names: impl IntoIterator<Item = (N, Hue)>,
    ) -> Self {
        let names = names.into_iter().map(|(name, hue)| (name.into(), hue)).collect();
        Self { title: title.into(), unit: unit.into(), scale: Scale::Linear, names, rows: Vec::new() }
    }

    /// Lays the values out on this scale.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// Adds a row: a value a name.
    pub fn row(mut self, label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        self.rows.push((label.into(), values.into_iter().collect()));
        self
    }

    fn draw(&self, pen: &Pen<'_, '_>, top: i32) -> Result<()> {
        pen.panel_title(top, &with_unit(&self.title, &self.unit))?;
        pen.legend(top, &self.names)?;
        let texts: Vec<String> = self
            .rows
            .iter()
            .map(|(_, values)| values.iter().map(|value| number(*value)).collect::<Vec<_>>().join(" / "))
            .collect();
        let left = MARGIN + label_width(self.rows.iter().map(|(label, _)| label.as_str()));
        let right = WIDTH - MARGIN - label_width(texts.iter().map(String::as_str));
        let values = self.rows.iter().flat_map(|(_, values)| values.iter().copied());
        let axis = Axis::over(self.scale, values, left, right.max(left + 80));
        let (head, rows) = (top + TITLE_HEIGHT + LEGEND_HEIGHT, self.rows.len() as i32);
        pen.ticks(&axis, (head, head + ROW_HEIGHT * rows), "")?;
        for ((at, (label, values)), text) in (0..).zip(&self.rows).zip(&texts) {
            let middle = head + ROW_HEIGHT * at + ROW_HEIGHT / 2;
            pen.text((left - GAP, middle), label, Text { align: HPos::Right, ..Text::INK })?;
            pen.text((WIDTH - MARGIN, middle), text, Text { align: HPos::Right, ..Text::INK })?;
            let at: Vec<i32> = values.iter().map(|value| axis.at(*value)).collect();
            let ends = at.iter().min().copied().zip(at.iter().max().copied());
            if let Some((least, most)) = ends {
                pen.line((least, middle), (most, middle), RULE.stroke_width(3))?;
            }
            for (x, (_, hue)) in at.iter().zip(&self.names) {
                pen.circle((*x, middle), 6, hue.colour())?;
            }
        }
        Ok(())
    }

    fn height(&self) -> i32 {
        TITLE_HEIGHT + LEGEND_HEIGHT + ROW_HEIGHT * self.rows.len() as i32 + TICKS_HEIGHT
    }
}

impl Lines {
    /// An empty panel of lines, with the units of its axes.
    pub fn new(title: impl Into<String>, x_unit: impl Into<String>, y_unit: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_unit: x_unit.into(),
            y_unit: y_unit.into(),
            x_scale: Scale::Linear,
            y_scale: Scale::Linear,
            series: Vec::new(),
        }
    }

    /// Lays the x values out on this scale.
    pub fn x_scale(mut self, scale: Scale) -> Self {
        self.x_scale = scale;
        self
    }

    /// Lays the y values out on this scale.
    pub fn y_scale(mut self, scale: Scale) -> Self {
        self.y_scale = scale;
        self
    }

    /// Adds a line, over those before.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    fn draw(&self, pen: &Pen<'_, '_>, top: i32) -> Result<()> {
        pen.panel_title(top, &with_unit(&self.title, &self.y_unit))?;
        let names: Vec<_> = self.series.iter().map(|line| (line.label.clone(), line.hue)).collect();
        pen.legend(top, &names)?;
        let head = top + TITLE_HEIGHT + LEGEND_HEIGHT;
        let bottom = head + PLOT_HEIGHT;
        let points = || self.series.iter().flat_map(|line| &line.points);
        let y = Axis::over(self.y_scale, points().map(|point| point.1), bottom, head + 8);
        let ticks = y.ticks();
        let texts: Vec<String> = ticks.iter().map(|tick| number(*tick)).collect();
        let left = MARGIN + label_width(texts.iter().map(String::as_str));
        let right = WIDTH - MARGIN;
        for (tick, text) in ticks.iter().zip(&texts) {
            pen.line((left, y.at(*tick)), (right, y.at(*tick)), RULE)?;
            pen.text((left - GAP, y.at(*tick)), text, Text { align: HPos::Right, ..Text::QUIET })?;
        }
        let x = Axis::over(self.x_scale, points().map(|point| point.0), left, right);
        pen.ticks(&x, (bottom, bottom), &self.x_unit)?;
        for line in &self.series {
            line.draw(pen, &x, &y)?;
        }
        let floor = y.at(0.0).clamp(head, bottom);
        pen.line((left, floor), (right, floor), AXIS)
    }

    fn height(&self) -> i32 {
        TITLE_HEIGHT + LEGEND_HEIGHT + PLOT_HEIGHT + TICKS_HEIGHT + CAPTION_HEIGHT
    }
}

impl Series {
    /// A line through these points (x, y), in ascending x. Points that aren't finite are left out.
    pub fn new(label: impl Into<String>, hue: Hue, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let points = points.into_iter().filter(finite).collect();
        Self { label: label.into(), hue, points, filled: false, steps: false, dots: false }
    }

    /// Fills what is between the line and zero.
    pub fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    /// Each value holds until the next one, as a count does.
    pub fn steps(mut self) -> Self {
        self.steps = true;
        self
    }

    /// Marks each point: where few were measured.
    pub fn dots(mut self) -> Self {
        self.dots = true;
        self
    }

    fn draw(&self, pen: &Pen<'_, '_>, x: &Axis, y: &Axis) -> Result<()> {
        let mut path: Vec<(i32, i32)> = Vec::with_capacity(self.points.len() * 2);
        for point in &self.points {
            let at = (x.at(point.0), y.at(point.1));
            if let Some(last) = path.last().copied().filter(|last| self.steps && last.1 != at.1) {
                path.push((at.0, last.1));
            }
            path.push(at);
        }
        path.dedup();
        let (Some(first), Some(last)) = (path.first().copied(), path.last().copied()) else { return Ok(()) };
        if self.filled {
            let floor = y.at(0.0);
            let mut outline = path.clone();
            outline.extend([(last.0, floor), (first.0, floor)]);
            pen.polygon(outline, self.hue.colour().mix(0.3).filled())?;
        }
        for point in self.points.iter().filter(|_| self.dots) {
            pen.circle((x.at(point.0), y.at(point.1)), 4, self.hue.colour())?;
        }
        pen.path(path, self.hue.colour().stroke_width(2))
    }
}

impl Panel {
    fn draw(&self, pen: &Pen<'_, '_>, top: i32) -> Result<()> {
        match self {
            Self::Bars(bars) => bars.draw(pen, top),
            Self::Dots(dots) => dots.draw(pen, top),
            Self::Lines(lines) => lines.draw(pen, top),
        }
    }

    fn height(&self) -> i32 {
        match self {
            Self::Bars(bars) => bars.height(),
            Self::Dots(dots) => dots.height(),
            Self::Lines(lines) => lines.height(),
        }
    }
}

impl From<Bars> for Panel {
    fn from(bars: Bars) -> Self {
        Self::Bars(bars)
    }
}

impl From<Dots> for Panel {
    fn from(dots: Dots) -> Self {
        Self::Dots(dots)
    }
}

impl From<Lines> for Panel {
    fn from(lines: Lines) -> Self {
        Self::Lines(lines)
    }
}

impl Hue {
    fn colour(self) -> RGBColor {
        match self {
            Self::Blue => RGBColor(0, 114, 178),
            Self::Green => RGBColor(0, 158, 115),
            Self::Orange => RGBColor(230, 159, 0),
            Self::Purple => RGBColor(170, 95, 150),
            Self::Sky => RGBColor(86, 180, 233),
            Self::Grey => RGBColor(140, 140, 140),
            Self::Red => RGBColor(204, 32, 38),
        }
    }
}

/// A figure as a reader wants it: three digits that count, thousands apart, no zeros behind.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if value.fract() == 0.0 || size >= 100.0 => 0,
        10.0.. => 1,
        1.0.. => 2,
        // Of what is below a thousandth of a thousandth nobody wants the digits.
        _ => (2.0 - size.log10().floor()).min(8.0) as usize,
    };
    let plain = format!("{size:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    if value < 0.0 && text != "0" { format!("−{text}") } else { text }
}

const WIDTH: i32 = 900;
const MARGIN: i32 = 28;
const NOTE_HEIGHT: i32 = 20;
const PANEL_GAP: i32 = 28;
const TITLE_HEIGHT: i32 = 28;
const LEGEND_HEIGHT: i32 = 28;
const ROW_HEIGHT: i32 = 26;
const PLOT_HEIGHT: i32 = 220;
const TICKS_HEIGHT: i32 = 24;
const CAPTION_HEIGHT: i32 = 16;
/// Between a mark and its text.
const GAP: i32 = 8;
const INK: RGBColor = RGBColor(34, 34, 34);
const QUIET: RGBColor = RGBColor(95, 95, 95);
const AXIS: RGBColor = RGBColor(120, 120, 120);
const RULE: RGBColor = RGBColor(224, 224, 224);

/// Values along a stretch of pixels, either way round.
struct Axis {
    scale: Scale,
    least: f64,
    most: f64,
    pixels: (i32, i32),
}

impl Axis {
    /// One that has room for all these values.
    fn over(scale: Scale, values: impl Iterator<Item = f64>, from: i32, to: i32) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (least, most) =
            values.filter(usable).fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let (least, most) = match scale {
            _ if most < least => (0.0, 1.0),
            Scale::Linear if least >= 0.0 => (0.0, if most > 0.0 { most } else { 1.0 }),
            Scale::Linear => (least, most.max(0.0)),
            Scale::Log => (least.log10().floor(), most.log10().max(least.log10().floor() + 1.0)),
        };
        Self { scale, least, most, pixels: (from, to) }
    }

    fn at(&self, value: f64) -> i32 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10().max(self.least),
        };
        RangedCoordf64::from(self.least..self.most).map(&value, self.pixels)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => RangedCoordf64::from(self.least..self.most).key_points(6),
            Scale::Log => {
                let (first, last) = (self.least as i32, self.most.floor() as i32);
                // Few decades are too far apart for a reader to place a value between them.
                let steps: &[f64] = if last - first < 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let ticks =
                    (first..=last).flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
                ticks.filter(|tick| tick.log10() <= self.most).collect()
            }
        }
    }
}

/// How a text is set.
#[derive(Clone, Copy)]
struct Text {
    size: i32,
    bold: bool,
    colour: RGBColor,
    align: HPos,
}

impl Text {
    const INK: Self = Self { size: 13, bold: false, colour: INK, align: HPos::Left };
    const QUIET: Self = Self { size: 12, bold: false, colour: QUIET, align: HPos::Left };
}

/// Pixels that the widest of these texts takes beside a mark, with the gap. The widest common sans-serif needs two
/// thirds of its size a letter.
fn label_width<'a>(texts: impl Iterator<Item = &'a str>) -> i32 {
    let letters = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    letters as i32 * 8 + GAP
}

/// Draws on a figure, in pixels.
struct Pen<'a, 'b> {
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
}

type Point = (i32, i32);

impl Pen<'_, '_> {
    /// Vertically the text is centred at `at`.
    fn text(&self, at: Point, text: &str, set: Text) -> Result<()> {
        let style = if set.bold { FontStyle::Bold } else { FontStyle::Normal };
        // The SVG backend divides sizes by 1.24.
        let font: FontDesc<'_> = FontDesc::new(
            FontFamily::Name("system-ui, -apple-system, Segoe UI, Roboto, sans-serif"),
            f64::from(set.size) * 1.24,
            style,
        );
        let style = TextStyle::from(font).color(&set.colour).pos(Pos::new(set.align, VPos::Center));
        Ok(self.area.draw(&plotters::element::Text::new(text, at, style))?)
    }

    fn line(&self, from: Point, to: Point, style: impl Into<ShapeStyle>) -> Result<()> {
        self.path(vec![from, to], style)
    }

    fn path(&self, points: Vec<Point>, style: impl Into<ShapeStyle>) -> Result<()> {
        Ok(self.area.draw(&PathElement::new(points, style))?)
    }

    fn polygon(&self, points: Vec<Point>, style: impl Into<ShapeStyle>) -> Result<()> {
        Ok(self.area.draw(&Polygon::new(points, style))?)
    }

    fn rectangle(&self, from: Point, to: Point, style: impl Into<ShapeStyle>) -> Result<()> {
        Ok(self.area.draw(&Rectangle::new([from, to], style))?)
    }

    fn circle(&self, at: Point, radius: i32, colour: RGBColor) -> Result<()> {
        Ok(self.area.draw(&Circle::new(at, radius, colour.filled()))?)
    }

    fn panel_title(&self, top: i32, title: &str) -> Result<()> {
        self.text((MARGIN, top + 10), title, Text { size: 15, bold: true, ..Text::INK })
    }

    /// A patch of colour and a name each, in one row below a panel's title.
    fn legend(&self, top: i32, names: &[(String, Hue)]) -> Result<()> {
        let middle = top + TITLE_HEIGHT + 6;
        let mut left = MARGIN;
        for (name, hue) in names {
            self.rectangle((left, middle - 6), (left + 12, middle + 6), hue.colour().filled())?;
            self.text((left + 12 + GAP, middle), name, Text::INK)?;
            left += 12 + GAP + label_width([name.as_str()].into_iter()) + 2 * GAP;
        }
        Ok(())
    }

    /// The ticks of a horizontal axis below `rows.1`, with rules up to `rows.0`, and what they mean below their end.
    fn ticks(&self, axis: &Axis, rows: (i32, i32), caption: &str) -> Result<()> {
        for tick in axis.ticks() {
            let (x, text) = (axis.at(tick), number(tick));
            if rows.0 < rows.1 {
                self.line((x, rows.0), (x, rows.1), RULE)?;
            }
            let fits = x + label_width([text.as_str()].into_iter()) / 2 <= WIDTH;
            let align = if fits { HPos::Center } else { HPos::Right };
            self.text((x, rows.1 + 14), &text, Text { align, ..Text::QUIET })?;
        }
        let end = (axis.pixels.1, rows.1 + 14 + CAPTION_HEIGHT);
        self.text(end, caption, Text { align: HPos::Right, ..Text::QUIET })
    }
}

fn with_unit(title: &str, unit: &str) -> String {
    if unit.is_empty() { title.into() } else { format!("{title}, {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_a_reader_wants_them() {
        let texts = [
            (0.0, "0"),
            (0.30000000000000004, "0.3"),
            (0.00123456, "0.00123"),
            (2.5, "2.5"),
            (47.25, "47.2"),
            (100.0, "100"),
            (712.4, "712"),
            (33_336.4, "33,336"),
            (1e6, "1,000,000"),
            (-50.0, "−50"),
        ];
        for (value, text) in texts {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn nothing_odd_spoils_a_figure() {
        for values in [vec![], vec![0.0], vec![-5.0, 5.0], vec![f64::NAN, 1.0], vec![1e-9, 1e12]] {
            for scale in [Scale::Linear, Scale::Log] {
                let bars = values.iter().fold(Bars::new("Bars", "u").scale(scale), |bars, value| {
                    bars.bar_with("<a & b>", *value, Hue::Red, "'remark'")
                });
                let dots = Dots::new("Dots", "u", [("a", Hue::Sky)]).scale(scale).row("row", values.clone());
                let points = values.iter().map(|value| (*value, *value));
                let lines = Lines::new("Lines", "x", "y").x_scale(scale).y_scale(scale);
                let lines = lines.series(Series::new("s", Hue::Blue, points).steps().dots().filled());
                let svg = Figure::new("T").note("N").panel(bars).panel(dots).panel(lines).to_svg().unwrap();
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{values:?}: {svg}");
                assert!(!svg.contains("<a &") && !svg.contains("inf\""), "{values:?}: {svg}");
                let outside = svg.match_indices("points=\"").filter(|(at, _)| {
                    let points = svg[at + 8..].split('"').next().unwrap_or_default();
                    points
                        .split([' ', ','])
                        .filter_map(|at| at.parse().ok())
                        .any(|at: i64| !(0..5000).contains(&at))
                });
                assert_eq!(outside.count(), 0, "{values:?}: {svg}");
            }
        }
    }
}
