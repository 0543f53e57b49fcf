//! Bars as SVG: drawn here, so that no script is needed, with every number in a table beside them.

use maud::{Markup, html};

/// The width and height of a chart, in its own units.
const SIZE: (f64, f64) = (720.0, 120.0);

/// Bars of equal width, one a point, with the label and number as a tooltip. `what` says what is shown, to whom it is
/// read aloud.
pub(crate) fn bars(what: &str, points: &[(String, f64)]) -> Markup {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1.0);
    let step = SIZE.0 / points.len().max(1) as f64;
    let bar = |(at, (label, value)): (usize, &(String, f64))| {
        let height = value / most * (SIZE.1 - 2.0);
        let (x, y) = (at as f64 * step, SIZE.1 - height);
        html! {
            rect class="bar" x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{:.1}", (step - 1.0).max(0.5)))
                height=(format!("{height:.1}")) { title { (label) ": " (value) } }
        }
    };
    html! {
        svg class="chart" role="img" aria-label=(what) viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) preserveAspectRatio="none" {
            @for point in points.iter().enumerate() { (bar(point)) }
        }
        p class="axis" {
            span { (points.first().map_or("", |(label, _)| label)) }
            span { "highest: " (most) }
            span { (points.last().map_or("", |(label, _)| label)) }
        }
    }
}
