//! Small charts: a line of the last hour, without axes.

use super::ring::STEPS;
use super::text::Html;

/// The height of the drawing; its width is one for each step.
const HEIGHT: f64 = 32.0;
/// The line is not to be cut at its edges.
const EDGE: f64 = 2.0;

/// Draws what there is of the last hour, the newest at the right. Where a value is missing, the line is
/// broken.
pub(super) fn sparkline(html: &mut Html, what: &str, values: &[Option<f64>]) {
    let known = || values.iter().copied().flatten();
    let most = known().fold(0.0_f64, f64::max);
    html.raw("<svg class=\"chart\" viewBox=\"0 0 120 32\" preserveAspectRatio=\"none\" ");
    html.raw("role=\"img\"><title>").text(what).text(", last hour: ");
    match known().next_back() {
        Some(last) => html.text(format_args!("last {}, most {}", brief(last), brief(most))),
        None => html.text("nothing yet"),
    };
    html.raw("</title><path class=\"ground\" d=\"M0 30H120\"/><path class=\"line\" d=\"");
    let first = STEPS.saturating_sub(values.len());
    let mut is_down = false;
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_down = false;
            continue;
        };
        let share = if most > 0.0 { value / most } else { 0.0 };
        let y = HEIGHT - EDGE - share * (HEIGHT - 2.0 * EDGE);
        // A line is drawn over the width of its step, so that a single one can be seen.
        let (x, command) = (first + place, if is_down { "L" } else { "M" });
        html.text(format_args!("{command}{x} {y:.1}h1"));
        is_down = true;
    }
    html.raw("\"/></svg>");
}

/// A number in a sentence.
pub(super) fn brief(value: f64) -> String {
    let places = match value {
        0.0 => 0,
        value if value < 0.01 => 6,
        value if value < 1.0 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    if places == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f64>]) -> String {
        let mut html = Html::new();
        sparkline(&mut html, "Live chats", values);
        html.into_string()
    }

    #[test]
    fn the_newest_is_at_the_right_and_gaps_break_the_line() {
        let svg = drawn(&[Some(0.0), Some(4.0), None, Some(2.0)]);
        assert!(svg.contains("d=\"M116 30.0h1L117 2.0h1M119 16.0h1\""), "{svg}");
        assert!(svg.contains("<title>Live chats, last hour: last 2, most 4</title>"), "{svg}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(drawn(&[]).contains("last hour: nothing yet"));
        assert!(drawn(&[Some(0.0)]).contains("d=\"M119 30.0h1\""));
    }
}
