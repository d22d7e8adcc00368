//! What a p2c2r coordinator decides: split, predict, place, hedge, learn.
