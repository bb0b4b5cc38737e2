//! A picture of how a cost grows: both axes logarithmic, as SVG without anything from elsewhere.
//!
//! It draws what it is given; what is measured stands in `bench`.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Around the axes, for their numbers.
const MARGIN: f64 = 60.0;

/// Nanoseconds an event over the number of subscriptions; both are above zero.
pub(super) fn growth(points: &[(f64, f64)]) -> String {
    let (across, up) =
        (decades(points.iter().map(|it| it.0)), decades(points.iter().map(|it| it.1)));
    let place = |(x, y): (f64, f64)| {
        let part = |value: f64, axis: &RangeInclusive<i32>| {
            (value.log10() - f64::from(*axis.start())) / f64::from(axis.end() - axis.start())
        };
        let x = MARGIN + part(x, &across) * (WIDTH - 2.0 * MARGIN);
        (x, HEIGHT - MARGIN - part(y, &up) * (HEIGHT - 2.0 * MARGIN))
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let ten = |power: i32| 10f64.powi(power);
    for power in across.clone() {
        let (x, y) = place((ten(power), ten(*up.start())));
        line(&mut out, (x, y), (x, MARGIN));
        text(&mut out, (x, y + 18.0), "middle", &number(power));
    }
    for power in up.clone() {
        let (x, y) = place((ten(*across.start()), ten(power)));
        line(&mut out, (x, y), (WIDTH - MARGIN, y));
        text(&mut out, (x - 8.0, y + 4.0), "end", &number(power));
    }
    text(&mut out, (WIDTH / 2.0, HEIGHT - 20.0), "middle", "subscriptions");
    text(&mut out, (MARGIN, MARGIN - 20.0), "start", "ns an event");
    let places: Vec<String> =
        points.iter().map(|point| place(*point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let places = places.join(" ");
    let _ = writeln!(
        out,
        "<polyline points=\"{places}\" fill=\"none\" stroke=\"#0550ae\" stroke-width=\"2\"/>"
    );
    for point in points {
        let (x, y) = place(*point);
        let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#0550ae\"/>");
        text(&mut out, (x, y - 8.0), "middle", &format!("{:.0}", point.1));
    }
    out.push_str("</svg>\n");
    out
}

/// The powers of ten around some values, two at least.
fn decades(values: impl Iterator<Item = f64> + Clone) -> RangeInclusive<i32> {
    let least = values.clone().fold(f64::INFINITY, f64::min).log10().floor() as i32;
    let most = values.fold(0.0, f64::max).log10().ceil() as i32;
    least..=most.max(least + 1)
}

fn number(power: i32) -> String {
    let digits = format!("{}", 10f64.powi(power));
    let Some(thousands) = digits.strip_suffix("000") else { return digits };
    format!("{thousands},000")
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        at.0, at.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_stands_where_its_logarithms_are() {
        let picture = growth(&[(1.0, 10.0), (10.0, 100.0), (100.0, 1_000.0)]);
        assert!(picture.contains("points=\"60.0,340.0 320.0,200.0 580.0,60.0\""), "{picture}");
        assert!(picture.contains(">1,000</text>"), "{picture}");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    }

    #[test]
    fn one_point_is_a_picture_too() {
        let picture = growth(&[(1.0, 1.0)]);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
}
