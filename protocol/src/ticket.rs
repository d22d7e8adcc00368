//! The ticket: one printable word that lets a node join a swarm.
//!
//! `p2c2r1` followed by base32 (RFC 4648, lower case, no padding) of the canonical CBOR of its fields and the first
//! four bytes of their BLAKE3 hash, so that a slip of the hand is noticed.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::{
    canon::{from_canonical, to_canonical},
    id::NodeId,
    limit::{MAX_ADDRESS_BYTES, MAX_TICKET_ADDRESSES, MAX_TICKET_CHARS},
};

/// What every ticket of this version begins with.
const PREFIX: &str = "p2c2r1";
/// What tickets of every version begin with.
const FAMILY: &str = "p2c2r";
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// Where a node of a swarm is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The node.
    pub node: NodeId,
    /// Where it listens: multiaddrs as text, without the peer id; at least one.
    pub addresses: Vec<String>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin like one.
    #[error("not a ticket: a ticket begins with `{PREFIX}` (`p2c2r-node ticket` prints one)")]
    NotATicket,
    /// It is of a version that this program does not know.
    #[error("the ticket is of another version than `{PREFIX}`; update the older of the two programs")]
    Version,
    /// Longer than any ticket.
    #[error("the ticket is longer than {MAX_TICKET_CHARS} characters; copy it again")]
    TooLong,
    /// Characters are missing or changed.
    #[error("the ticket is damaged; copy it again, whole")]
    Damaged,
    /// It names nowhere to go, or too many places.
    #[error("the ticket names {0} addresses (1 to {MAX_TICKET_ADDRESSES} are allowed)")]
    Addresses(usize),
}

impl Ticket {
    fn check(&self) -> Result<(), TicketError> {
        if self.addresses.is_empty() || self.addresses.len() > MAX_TICKET_ADDRESSES {
            return Err(TicketError::Addresses(self.addresses.len()));
        }
        let sane = |address: &String| {
            address.len() <= MAX_ADDRESS_BYTES
                && !address.is_empty()
                && !address.chars().any(char::is_control)
        };
        if self.addresses.iter().all(sane) { Ok(()) } else { Err(TicketError::Damaged) }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = to_canonical(self).map_err(|_| fmt::Error)?;
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
        write!(out, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > MAX_TICKET_CHARS {
            return Err(TicketError::TooLong);
        }
        let lower = text.to_ascii_lowercase();
        let Some(body) = lower.strip_prefix(PREFIX) else {
            let other =
                lower.strip_prefix(FAMILY).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            return Err(if other { TicketError::Version } else { TicketError::NotATicket });
        };
        let bytes =
            BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (fields, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if blake3::hash(fields).as_bytes()[..CHECKSUM_BYTES] != *checksum {
            return Err(TicketError::Damaged);
        }
        let ticket: Self = from_canonical(fields, MAX_TICKET_CHARS).map_err(|_| TicketError::Damaged)?;
        ticket.check()?;
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sign::SecretKey;

    fn ticket() -> Ticket {
        Ticket {
            node: SecretKey::from_seed([7; 32]).node_id(),
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        }
    }

    #[test]
    fn printed_form_is_stable_and_forgiving() {
        let printed = ticket().to_string();
        let golden = "p2c2r1ujsg433emvmcb2sknrr6fhcsbk7pkud3cmxml6mvi53k5pv6pojeehxknekenurmnfqwizdsmvzxgzltqf4b6l3joa2c6mjzgixdalrsfyys65leoaxtimbqgexxc5ljmmwxmmpl36fjy";
        assert_eq!(printed, golden, "a change of this text is a change of the protocol");
        assert_eq!(printed.parse::<Ticket>().unwrap(), ticket());
        assert_eq!(format!("  {}\n", printed.to_uppercase()).parse::<Ticket>().unwrap(), ticket());
    }

    #[test]
    fn b37_every_slip_is_noticed() {
        let printed = ticket().to_string();
        for at in PREFIX.len()..printed.len() {
            let mut slipped = printed.clone().into_bytes();
            slipped[at] = if slipped[at] == b'a' { b'b' } else { b'a' };
            let slipped = String::from_utf8(slipped).unwrap();
            assert_eq!(slipped.parse::<Ticket>(), Err(TicketError::Damaged), "{slipped}");
        }
        assert_eq!(printed[..printed.len() - 3].parse::<Ticket>(), Err(TicketError::Damaged));
        assert_eq!("hello".parse::<Ticket>(), Err(TicketError::NotATicket));
        assert_eq!("p2c2r2aaaa".parse::<Ticket>(), Err(TicketError::Version));
        assert_eq!("p2c2r1".parse::<Ticket>(), Err(TicketError::Damaged));
        assert_eq!("p".repeat(1 << 20).parse::<Ticket>(), Err(TicketError::TooLong));
        let nowhere = Ticket { addresses: vec![], ..ticket() };
        assert_eq!(nowhere.to_string().parse::<Ticket>(), Err(TicketError::Addresses(0)));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_ticket_or_an_error(text in "(p2c2r1)?[a-z2-7 ]{0,80}") {
            let _ = text.parse::<Ticket>();
        }
    }
}
