//! Stands up p2c2r swarms of real processes on one machine.
