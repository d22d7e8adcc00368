//! Neon letters: tubes of light along the strokes of a letter.

use super::facade::Facade;
use crate::scene::{generate::solids::Point, write_glb::Mesh};

/// Columns and rows of the grid that strokes are drawn on, counted in steps.
const STEPS: [f32; 2] = [2.0, 4.0];
/// How far the tubes stand off their board.
const STAND_OFF: f32 = 0.05;

/// The strokes of a letter. Each is a line through points, two digits a point: column from the left, row from the top.
const fn glyph(letter: char) -> &'static [&'static str] {
    match letter {
        'A' => &["04010010", "10202124", "0222"],
        'C' => &["20000424"],
        'D' => &["000414232110", "0010"],
        'E' => &["20000424", "0222"],
        'F' => &["200004", "0222"],
        'H' => &["0004", "2024", "0222"],
        'I' => &["1014"],
        'L' => &["000424"],
        'M' => &["0400122024"],
        'N' => &["04002420"],
        'O' => &["0020240400"],
        'P' => &["0400202202"],
        'R' => &["0400202202", "1224"],
        'S' => &["200002222404"],
        'T' => &["0020", "1014"],
        'W' => &["0004122420"],
        'Y' => &["001220", "1214"],
        '2' => &["002022020424"],
        _ => &[],
    }
}

/// Straight pieces of a letter's strokes, as ends in steps of the grid, rows from the top.
fn pieces(letter: char) -> Vec<[[f32; 2]; 2]> {
    let step = |digit: u8| f32::from(digit - b'0');
    glyph(letter)
        .iter()
        .flat_map(|stroke| {
            let points: Vec<[f32; 2]> =
                stroke.as_bytes().as_chunks::<2>().0.iter().map(|pair| pair.map(step)).collect();
            points.array_windows::<2>().copied().collect::<Vec<_>>()
        })
        .collect()
}

/// Draws a letter in the box with its lower left corner at (u, v), `width` wide and `height` high, with tubes of
/// thickness `line`.
pub(super) fn draw(
    mesh: &mut Mesh,
    wall: &Facade,
    letter: char,
    [u, v]: [f32; 2],
    [width, height]: [f32; 2],
    line: f32,
) {
    let half = line * 0.5;
    let place = |[column, row]: [f32; 2]| {
        [u + half + (width - line) * column / STEPS[0], v + height - half - (height - line) * row / STEPS[1]]
    };
    for piece in pieces(letter) {
        let [from, to] = piece.map(place);
        let along = [to[0] - from[0], to[1] - from[1]];
        let shorten = half / along[0].hypot(along[1]);
        // Each piece is longer by half its thickness at both ends, so that corners close.
        let [du, dv] = along.map(|value| value * shorten);
        let corner = |end: [f32; 2], ahead: f32, left: f32| -> Point {
            wall.at(end[0] + ahead * du - left * dv, end[1] + ahead * dv + left * du, STAND_OFF)
        };
        mesh.quad([
            corner(from, -1.0, -1.0),
            corner(to, 1.0, -1.0),
            corner(to, 1.0, 1.0),
            corner(from, -1.0, 1.0),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stay_on_their_grid() {
        for letter in ('A'..='Z').chain('0'..='9') {
            for end in pieces(letter).into_iter().flatten() {
                assert!((0.0..=STEPS[0]).contains(&end[0]) && (0.0..=STEPS[1]).contains(&end[1]), "{letter}");
            }
        }
        assert_eq!(pieces('L'), [[[0.0, 0.0], [0.0, 4.0]], [[0.0, 4.0], [2.0, 4.0]]]);
        assert!(pieces(' ').is_empty());
    }

    #[test]
    fn a_letter_fills_its_box_and_faces_out() {
        let wall = Facade { corner: [0.0; 3], along: [1.0, 0.0, 0.0], width: 9.0, height: 9.0 };
        let mut mesh = Mesh::default();
        draw(&mut mesh, &wall, 'N', [1.0, 2.0], [2.0, 4.0], 0.2);
        assert!(mesh.normals.iter().all(|normal| normal[2] > 0.99));
        let low = mesh.positions.iter().fold(f32::INFINITY, |low, position| low.min(position[0]));
        let high = mesh.positions.iter().fold(0.0_f32, |high, position| high.max(position[1]));
        assert!((low - 1.0).abs() < 0.1 && (high - 6.0).abs() < 0.1);
    }
}
