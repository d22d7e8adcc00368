//! Results for people and for programs.

mod json;
mod table;

pub use self::{
    json::{fault_json, json},
    table::{fault_line, table},
};
