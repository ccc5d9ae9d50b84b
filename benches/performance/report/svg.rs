//! Two kinds of plots as SVG: bars on a logarithmic scale, and lines on two of them. Colours follow
//! the reader's scheme, light or dark.

use std::fmt::Write as _;

use crate::support::results::short;

const WIDTH: f64 = 760.0;
/// Room for names of bars, and for numbers of axes.
const LEFT: f64 = 230.0;
const AXIS_LEFT: f64 = 80.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
const BAR: f64 = 24.0;
const HEIGHT: f64 = 420.0;
/// Room for the legend.
const LEGEND: f64 = 180.0;
/// Colours that are told apart on white and on black, and by those who see few.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a6fd1", "#7f7f7f"];

const STYLE: &str = "<style>\
    text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}\
    .grid{stroke:#d0d7de;stroke-width:1}.back{fill:#ffffff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}.back{fill:#0d1117}}\
    </style>";

/// A quantity of several, on a logarithmic scale.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    /// Names and values; ours are painted in another colour.
    pub(super) rows: Vec<(&'a str, f64, bool)>,
}

/// A name, and points.
pub(super) type Series<'a> = (&'a str, Vec<(f64, f64)>);

/// Quantities by a number, both on logarithmic scales.
pub(super) struct Lines<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) series: Vec<Series<'a>>,
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\">{STYLE}<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"20\" y=\"28\">{title}</text>\n"
    )
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
        .unwrap();
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(
        out,
        "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    )
    .unwrap();
}

/// Whole powers of ten around values.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::MAX, f64::min).max(1e-6).log10().floor();
        let high = values.fold(f64::MIN, f64::max).max(1e-5).log10().ceil();
        Self { low, high: high.max(low + 1.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(1e-6).log10() - self.low) / (self.high - self.low);
        self.from + share.max(0.0) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

impl Bars<'_> {
    pub(super) fn draw(&self) -> String {
        let bottom = TOP + BAR * 1.4 * self.rows.len() as f64;
        let mut out = open(self.title, bottom + BOTTOM);
        let values = self.rows.iter().map(|(_, value, _)| *value);
        let scale = Scale::new(values, LEFT, WIDTH - RIGHT);
        for tick in scale.ticks() {
            let x = scale.place(tick);
            line(&mut out, (x, TOP), (x, bottom));
            text(&mut out, (x, bottom + 18.0), "middle", &short(tick));
        }
        for (index, (name, value, ours)) in self.rows.iter().enumerate() {
            let y = TOP + BAR * 1.4 * index as f64 + BAR * 0.2;
            let width = (scale.place(*value) - LEFT).max(1.0);
            let colour = COLOURS[usize::from(*ours)];
            writeln!(
                out,
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" \
                 fill=\"{colour}\"/>"
            )
            .unwrap();
            text(&mut out, (LEFT - 8.0, y + 17.0), "end", name);
            text(&mut out, (LEFT + width + 6.0, y + 17.0), "start", &short(*value));
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(&mut out, (middle, bottom + 38.0), "middle", self.unit);
        out + "</svg>\n"
    }
}

impl Lines<'_> {
    pub(super) fn draw(&self) -> String {
        let mut out = open(self.title, HEIGHT);
        let points = self.series.iter().flat_map(|(_, points)| points);
        let right = WIDTH - LEGEND - 20.0;
        let x = Scale::new(points.clone().map(|point| point.0), AXIS_LEFT, right);
        let y = Scale::new(points.map(|point| point.1), HEIGHT - BOTTOM, TOP);
        for tick in x.ticks() {
            line(&mut out, (x.place(tick), TOP), (x.place(tick), HEIGHT - BOTTOM));
            text(&mut out, (x.place(tick), HEIGHT - BOTTOM + 18.0), "middle", &short(tick));
        }
        for tick in y.ticks() {
            line(&mut out, (AXIS_LEFT, y.place(tick)), (right, y.place(tick)));
            text(&mut out, (AXIS_LEFT - 8.0, y.place(tick) + 4.0), "end", &short(tick));
        }
        for (index, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let at = |point: &(f64, f64)| (x.place(point.0), y.place(point.1));
            let path: Vec<String> =
                points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            writeln!(
                out,
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            )
            .unwrap();
            for (x, y) in points.iter().map(at) {
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>")
                    .unwrap();
            }
            let (left, top) = (right + 16.0, TOP + 22.0 * index as f64);
            writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>"
            )
            .unwrap();
            text(&mut out, (left + 20.0, top + 12.0), "start", name);
        }
        let middle = f64::midpoint(AXIS_LEFT, right);
        text(&mut out, (middle, HEIGHT - 10.0), "middle", self.x);
        text(&mut out, (20.0, TOP - 6.0), "start", self.y);
        out + "</svg>\n"
    }
}
