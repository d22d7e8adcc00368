//! Whom to believe how much: from results that this node has checked itself, and from proven fraud. Nobody's word counts.

mod book;
mod reputation;

pub use self::{
    book::{MAX_REPUTATIONS, ReputationBook},
    reputation::{Reputation, Standing},
};
