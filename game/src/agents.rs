//! Agents that walk from goal to goal: shortest paths on the grid, and steering around each other and what lies about.

use std::collections::BTreeMap;

use pathfinding::directed::dijkstra::dijkstra_all;

use crate::{
    layout::AgentState,
    level::{CELLS, Cell, Level},
    limit::FRAME_S,
};

/// How fast they walk, metres a second.
const WALK_SPEED: f32 = 1.6;
/// How fast they change their mind: share of the difference in a second.
const TURN_RATE: f32 = 6.0;
/// They keep so far from each other, metres.
const APART_M: f32 = 0.5;
/// They keep so far from bodies, metres.
const CLEAR_M: f32 = 0.7;
/// How strongly they are pushed apart, metres a second.
const APART_SPEED: f32 = 2.5;
/// A goal is reached within so many steps on the grid.
const ARRIVED_CELLS: u32 = 2;
/// Lengths of a step along an edge and across a corner: 1 and the square root of 2, tenfold.
const STRAIGHT: u32 = 10;
const ACROSS: u32 = 14;
/// Of more in one cell, the others are not minded: what a crowd costs does not grow with its square.
const CROWD: usize = 32;
/// Nobody is so near that they push without end.
const LEAST_M: f32 = 0.05;

/// For each cell the way to one goal: the next cell, and the steps that are left, tenfold.
type WayField = Vec<Option<(Cell, u32)>>;

/// Knows the ways of a level; they depend on nothing else.
pub struct Navigation {
    /// Of each goal.
    ways: Vec<WayField>,
}

impl Navigation {
    /// Finds all ways.
    pub fn new(level: &Level) -> Self {
        Self { ways: level.goals.iter().map(|goal| ways_to(level, *goal)).collect() }
    }

    /// Moves all agents for so many frames.
    pub fn walk(
        &self,
        level: &Level,
        ticks: u16,
        agents: &[AgentState],
        bodies: &[[f32; 2]],
    ) -> Vec<AgentState> {
        let mut agents = agents.to_vec();
        let bodies = Neighbourhood::of(bodies);
        for _ in 0..ticks {
            let places: Vec<[f32; 2]> = agents.iter().map(AgentState::place).collect();
            let others = Neighbourhood::of(&places);
            agents = agents
                .iter()
                .enumerate()
                .map(|(index, agent)| self.step(level, index, agent, &others, &bodies))
                .collect();
        }
        agents
    }

    fn step(
        &self,
        level: &Level,
        index: usize,
        agent: &AgentState,
        others: &Neighbourhood<'_>,
        bodies: &Neighbourhood<'_>,
    ) -> AgentState {
        let place = agent.place();
        let count = self.ways.len().max(1) as i32;
        let mut goal = agent.goal().rem_euclid(count);
        let cell = Cell::of(place[0], place[1]);
        let way = |goal: i32| {
            let field = self.ways.get(goal as usize)?;
            *field.get(cell.index()?)?
        };
        if way(goal).is_none_or(|(_, left)| left <= ARRIVED_CELLS * STRAIGHT) {
            goal = (goal + 1 + index as i32 % 3).rem_euclid(count);
        }
        let towards = way(goal).map_or([0.0; 2], |(next, _)| {
            let [x, z] = next.middle();
            scaled_to([x - place[0], z - place[1]], WALK_SPEED)
        });
        let apart = sum(others.push(place, APART_M, Some(index)), bodies.push(place, CLEAR_M, None));
        let wanted = sum(towards, apart);
        let [vx, vz] = agent.velocity();
        let rate = TURN_RATE * FRAME_S;
        let velocity = limited([vx + (wanted[0] - vx) * rate, vz + (wanted[1] - vz) * rate]);
        moved(level, place, velocity, goal)
    }
}

/// As far as there is room: along each axis on its own, so that agents slide along walls.
fn moved(level: &Level, [x, z]: [f32; 2], [vx, vz]: [f32; 2], goal: i32) -> AgentState {
    let free = |x: f32, z: f32| level.is_walkable(Cell::of(x, z));
    let (next_x, next_z) = (x + vx * FRAME_S, z + vz * FRAME_S);
    let is_inside = free(x, z);
    let (to_x, vx) = if free(next_x, z) || !is_inside { (next_x, vx) } else { (x, 0.0) };
    let (to_z, vz) = if free(to_x, next_z) || !is_inside { (next_z, vz) } else { (z, 0.0) };
    AgentState::new([to_x, to_z], [vx, vz], goal)
}

fn sum(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

fn length([x, z]: [f32; 2]) -> f32 {
    (x * x + z * z).sqrt()
}

fn scaled_to(vector: [f32; 2], wanted: f32) -> [f32; 2] {
    let length = length(vector);
    if length > LEAST_M { vector.map(|part| part * (wanted / length)) } else { [0.0; 2] }
}

/// Nobody runs faster than twice their walk, whatever pushes.
fn limited(velocity: [f32; 2]) -> [f32; 2] {
    let most = 2.0 * WALK_SPEED;
    if length(velocity) > most { scaled_to(velocity, most) } else { velocity }
}

/// Places, by cell.
struct Neighbourhood<'a> {
    places: &'a [[f32; 2]],
    cells: BTreeMap<(i16, i16), Vec<u16>>,
}

impl<'a> Neighbourhood<'a> {
    fn of(places: &'a [[f32; 2]]) -> Self {
        let mut cells: BTreeMap<(i16, i16), Vec<u16>> = BTreeMap::new();
        for (index, [x, z]) in places.iter().enumerate() {
            let cell = Cell::of(*x, *z);
            let there = cells.entry((cell.z, cell.x)).or_default();
            if there.len() < CROWD {
                there.push(index as u16);
            }
        }
        Self { places, cells }
    }

    /// Away from all that is nearer than `reach`, at most a metre; the nearer, the stronger.
    fn push(&self, [x, z]: [f32; 2], reach: f32, but: Option<usize>) -> [f32; 2] {
        let cell = Cell::of(x, z);
        let mut push = [0.0; 2];
        for row in cell.z - 1..=cell.z + 1 {
            for (_, indices) in self.cells.range((row, cell.x - 1)..=(row, cell.x + 1)) {
                for index in indices.iter().map(|index| usize::from(*index)) {
                    let Some(other) = self.places.get(index).filter(|_| but != Some(index)) else { continue };
                    let away = [x - other[0], z - other[1]];
                    let distance = length(away);
                    if distance < reach {
                        let strength = APART_SPEED * (1.0 - distance / reach);
                        push = sum(push, scaled_to(away, strength));
                    }
                }
            }
        }
        push
    }
}

/// The shortest ways from everywhere to one cell (Dijkstra 1959), never across the corner of a building.
fn ways_to(level: &Level, goal: Cell) -> WayField {
    let free = |cell: Cell| level.is_walkable(cell);
    let neighbours = |cell: &Cell| {
        let Cell { x, z } = *cell;
        let straight =
            [(1, 0), (-1, 0), (0, 1), (0, -1)].map(|(dx, dz)| (Cell { x: x + dx, z: z + dz }, STRAIGHT));
        let across = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            .into_iter()
            .filter(|(dx, dz)| free(Cell { x: x + dx, z }) && free(Cell { x, z: z + dz }))
            .map(|(dx, dz)| (Cell { x: x + dx, z: z + dz }, ACROSS));
        let all: Vec<(Cell, u32)> =
            straight.into_iter().chain(across).filter(|(cell, _)| free(*cell)).collect();
        all
    };
    let found = dijkstra_all(&goal, neighbours);
    let mut field: WayField = vec![None; CELLS * CELLS];
    // Of several shortest ways the map may hold any: the nearest neighbour by steps, then by number, is the same one
    // everywhere.
    let left = |cell: &Cell| if *cell == goal { Some(0) } else { found.get(cell).map(|(_, left)| *left) };
    for (cell, (_, steps)) in &found {
        let next =
            neighbours(cell).into_iter().filter_map(|(next, cost)| Some((left(&next)? + cost, next))).min();
        if let (Some(index), Some((_, next))) = (cell.index(), next)
            && let Some(entry) = field.get_mut(index)
        {
            *entry = Some((next, *steps));
        }
    }
    if let Some(entry) = goal.index().and_then(|index| field.get_mut(index)) {
        *entry = Some((goal, 0));
    }
    field
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::step::LevelSpec;

    use super::*;

    #[test]
    fn agents_reach_goals_and_never_walk_through_walls() {
        let level = Level::new(LevelSpec { seed: 5, bodies: 8, agents: 200, sounds: 1 });
        let navigation = Navigation::new(&level);
        let mut agents = level.agents();
        let first: Vec<i32> = agents.iter().map(AgentState::goal).collect();
        let mut arrived = vec![false; agents.len()];
        for _ in 0..200 {
            agents = navigation.walk(&level, 12, &agents, &[[0.5, 0.5], [3.0, -2.0]]);
            for ((agent, first), arrived) in agents.iter().zip(&first).zip(&mut arrived) {
                *arrived |= agent.goal() != *first;
            }
            for agent in &agents {
                let [x, z] = agent.place();
                assert!(level.is_walkable(Cell::of(x, z)), "{x} {z}");
            }
        }
        let share = arrived.iter().filter(|arrived| **arrived).count();
        assert!(share >= 190, "{share} of 200 have reached their first goal within 40 s");
    }

    #[test]
    fn frames_one_by_one_and_several_at_once_are_the_same() {
        let level = Level::new(LevelSpec { seed: 5, bodies: 8, agents: 100, sounds: 1 });
        let (navigation, again) = (Navigation::new(&level), Navigation::new(&level));
        let bodies = [[0.5, 0.5]];
        let at_once = navigation.walk(&level, 8, &level.agents(), &bodies);
        let mut one_by_one = level.agents();
        for _ in 0..8 {
            one_by_one = again.walk(&level, 1, &one_by_one, &bodies);
        }
        assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn b1_states_of_strangers_do_no_harm() {
        let level = Level::new(LevelSpec { seed: 5, bodies: 8, agents: 3, sounds: 1 });
        let wild =
            [AgentState([i32::MAX; 5]), AgentState([i32::MIN; 5]), AgentState([0, i32::MAX, 5, -7, -1])];
        let after = Navigation::new(&level).walk(&level, 4, &wild, &[[f32::MAX, 1e30], [0.0, 0.0]]);
        assert_eq!(after.len(), 3);
    }
}
