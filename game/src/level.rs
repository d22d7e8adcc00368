//! The place where the game happens: made from a few numbers, the same on every node.

use p2c2r_protocol::step::LevelSpec;

use crate::{
    dice::{dice, signed},
    layout::{AgentState, BodyState},
};

/// Cells of one metre along each edge of the square.
pub const CELLS: usize = 48;
/// Half of the square's edge, metres.
pub const HALF_M: f32 = CELLS as f32 / 2.0;
/// Half of a body's edge, metres: all are cubes.
pub const BODY_HALF_M: f32 = 0.25;
/// Half of an agent's width, metres.
pub const AGENT_HALF_M: f32 = 0.2;
/// An agent's height, metres.
pub const AGENT_HEIGHT_M: f32 = 1.7;
/// Every so many cells a building may stand.
const BLOCK_CELLS: usize = 8;
/// Edge of a building, cells.
const BUILDING_CELLS: usize = 3;
/// Bodies of a pile: two layers of two by two.
const PILE: u32 = 8;

/// An upright box that does not move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Building {
    /// Its middle, metres.
    pub centre: [f32; 3],
    /// Half of its edges, metres.
    pub half: [f32; 3],
}

/// A cell of the square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// From the west.
    pub x: i16,
    /// From the north.
    pub z: i16,
}

impl Cell {
    /// The one that a place lies in; it may lie outside the square.
    pub fn of(x: f32, z: f32) -> Self {
        let along = |place: f32| (place + HALF_M).floor().clamp(-1.0, CELLS as f32) as i16;
        Self { x: along(x), z: along(z) }
    }

    /// Its middle, metres.
    pub fn middle(self) -> [f32; 2] {
        [f32::from(self.x) + 0.5 - HALF_M, f32::from(self.z) + 0.5 - HALF_M]
    }

    /// Its number; none outside the square.
    pub fn index(self) -> Option<usize> {
        let (x, z) = (usize::try_from(self.x).ok()?, usize::try_from(self.z).ok()?);
        (x < CELLS && z < CELLS).then_some(z * CELLS + x)
    }
}

/// A level.
#[derive(Debug, Clone)]
pub struct Level {
    /// What it is made from.
    pub spec: LevelSpec,
    /// What stands in the way.
    pub buildings: Vec<Building>,
    /// Of each cell, whether agents can walk there.
    walkable: Vec<bool>,
    /// Where agents walk to, one after the other.
    pub goals: Vec<Cell>,
}

impl Level {
    /// Makes it.
    pub fn new(spec: LevelSpec) -> Self {
        let mut level =
            Self { spec, buildings: Vec::new(), walkable: vec![true; CELLS * CELLS], goals: Vec::new() };
        for z in (BLOCK_CELLS / 2..CELLS - BUILDING_CELLS).step_by(BLOCK_CELLS) {
            for x in (BLOCK_CELLS / 2..CELLS - BUILDING_CELLS).step_by(BLOCK_CELLS) {
                level.build(x, z);
            }
        }
        // Streets run along the edges of the blocks: their crossings are never built over.
        let crossings = (0..CELLS).step_by(BLOCK_CELLS).skip(1);
        let all: Vec<Cell> = crossings
            .clone()
            .flat_map(|z| crossings.clone().map(move |x| Cell { x: x as i16, z: z as i16 }))
            .collect();
        level.goals = all.into_iter().filter(|cell| level.is_walkable(*cell)).collect();
        level
    }

    fn build(&mut self, x: usize, z: usize) {
        let draw = dice(self.spec.seed, (z * CELLS + x) as u32);
        // The middle stays free: that is where the bodies lie.
        let is_middle = x.abs_diff(CELLS / 2) < BLOCK_CELLS && z.abs_diff(CELLS / 2) < BLOCK_CELLS;
        if is_middle || draw.is_multiple_of(5) {
            return;
        }
        let height = 2.0 + (draw >> 8) as f32 * (4.0 / 16_777_216.0);
        let half = BUILDING_CELLS as f32 / 2.0;
        self.buildings.push(Building {
            centre: [x as f32 + half - HALF_M, height / 2.0, z as f32 + half - HALF_M],
            half: [half, height / 2.0, half],
        });
        for cell in (z..z + BUILDING_CELLS).flat_map(|z| (x..x + BUILDING_CELLS).map(move |x| z * CELLS + x))
        {
            if let Some(walkable) = self.walkable.get_mut(cell) {
                *walkable = false;
            }
        }
    }

    /// Whether agents can walk there.
    pub fn is_walkable(&self, cell: Cell) -> bool {
        cell.index().and_then(|index| self.walkable.get(index)).copied().unwrap_or(false)
    }

    /// The bodies at the beginning: piles around the middle.
    pub fn bodies(&self) -> Vec<BodyState> {
        let piles = u32::from(self.spec.bodies).div_ceil(PILE);
        let per_row = (1..=piles).find(|row| row * row >= piles).unwrap_or(1);
        (0..u32::from(self.spec.bodies))
            .map(|index| {
                let (pile, part) = (index / PILE, index % PILE);
                let place = |number: u32| (number as f32 - (per_row - 1) as f32 / 2.0) * 1.9;
                let edge = 2.0 * BODY_HALF_M + 0.02;
                let side = |bit: u32| ((part >> bit & 1) as f32 - 0.5) * edge;
                let position = [
                    place(pile % per_row) + side(0),
                    BODY_HALF_M + (part >> 2) as f32 * (2.0 * BODY_HALF_M + 0.005),
                    place(pile / per_row) + side(1),
                ];
                BodyState::at(position)
            })
            .collect()
    }

    /// The agents at the beginning, where they can walk.
    pub fn agents(&self) -> Vec<AgentState> {
        let open: Vec<usize> = (0..CELLS * CELLS).filter(|cell| self.walkable[*cell]).collect();
        (0..u32::from(self.spec.agents))
            .map(|index| {
                let draw = dice(self.spec.seed ^ 0x5eed, index) as usize;
                let cell = open.get(draw % open.len().max(1)).copied().unwrap_or(0);
                let cell = Cell { x: (cell % CELLS) as i16, z: (cell / CELLS) as i16 };
                let [x, z] = cell.middle();
                let aside = |axis: u32| signed(self.spec.seed, index * 2 + axis) * 0.3;
                let goal = dice(self.spec.seed, index) % self.goals.len().max(1) as u32;
                AgentState::at([x + aside(0), z + aside(1)], goal as i32)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_stands_where_there_is_room() {
        for seed in 0..20 {
            let level = Level::new(LevelSpec { seed, bodies: 96, agents: 300, sounds: 8 });
            assert!(level.buildings.len() >= 10 && level.goals.len() >= 8);
            assert_eq!((level.bodies().len(), level.agents().len()), (96, 300));
            for agent in level.agents() {
                let [x, z] = agent.place();
                assert!(level.is_walkable(Cell::of(x, z)));
            }
            for body in level.bodies() {
                let [x, _, z] = body.position();
                assert!(level.is_walkable(Cell::of(x, z)), "{x} {z}");
            }
            assert!(!level.is_walkable(Cell::of(-HALF_M - 0.1, 0.0)));
        }
    }
}
