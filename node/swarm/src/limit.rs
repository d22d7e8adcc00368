//! Every limit of the swarm: what peers may cost this node in connections, memory, streams and time.

use std::time::Duration;

use p2c2r_protocol::limit::MAX_CREDIT;

/// Connections, in and out together.
pub const MAX_CONNECTIONS: u32 = 256;
/// Of these, connections that others opened: room is left to dial out of a crowd.
pub const MAX_INCOMING_SHARE: f64 = 0.75;
/// Connections to one peer. A simultaneous dial over two transports can leave four.
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Connections in the making, for each direction.
pub const MAX_PENDING_CONNECTIONS: u32 = 64;
/// Share of the machine's memory beyond which no new connection is accepted.
pub const MAX_MEMORY_SHARE: f64 = 0.9;
/// An idle connection is closed after this long.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_mins(10);
/// A QUIC connection without any packet is dead after this long, ms: the transport pings more often than that.
pub const QUIC_IDLE_TIMEOUT_MS: u32 = 10_000;
/// Interval of QUIC's own sign of life.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(4);
/// Interval of pings, which measure the round trip and find dead connections. Each wakes both ends: who works together finds out
/// faster, on the work session.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A ping unanswered for this long has failed.
pub const PING_TIMEOUT: Duration = Duration::from_secs(6);
/// Failed pings in a row after which a connection is closed; libp2p does not tell of the first.
pub const MAX_PING_FAILURES: u32 = 2;

/// Peers that the node connects to by itself; a swarm up to this size is fully meshed.
pub const TARGET_PEERS: usize = 16;
/// Peers that it connects to by itself in a swarm that is larger: as many others connect to it.
pub const TARGET_PEERS_IN_A_CROWD: usize = 6;
/// Connections beyond which a node of such a swarm lets those go that carry nothing.
pub const MAX_NEIGHBOURS_IN_A_CROWD: usize = 12;
/// A connection younger than this stays: something may be about to begin on it.
pub const MIN_NEIGHBOUR_AGE: Duration = Duration::from_secs(20);
/// Connections that are let go in one tick.
pub const MAX_THINNED_OUT: usize = 2;
/// Peers that are remembered: connected, heard of, or to be dialled.
pub const MAX_KNOWN_PEERS: usize = 1024;
/// Addresses kept of one peer.
pub const MAX_ADDRESSES_PER_PEER: usize = 10;
/// Peers of one public subnet (/24 or /48) in the Kademlia table: an attacker has many ports, not many networks.
pub const MAX_PEERS_PER_SUBNET: usize = 8;
/// Peers of one private or loopback subnet in the Kademlia table.
pub const MAX_PEERS_PER_LOCAL_SUBNET: usize = 512;
/// Neighbours that are remembered for the next run.
pub const MAX_REMEMBERED_PEERS: usize = 64;
/// New dials in one tick.
pub const MAX_DIALS_PER_TICK: usize = 4;
/// Attempts after which a peer that is no way into the swarm is forgotten.
pub const MAX_DIAL_ATTEMPTS: u32 = 6;

/// A neighbour that was lost less than this long ago is dialled again every few seconds: a partition may heal.
pub const RECENT_LOSS: Duration = Duration::from_mins(2);
/// A neighbour that was lost this long ago is forgotten, unless it is all that the node knows.
pub const FORGET_LOST: Duration = Duration::from_mins(10);
/// Lost neighbours that are kept so long; the one lost longest ago goes first.
pub const MAX_LOST_NEIGHBOURS: usize = 64;

/// Relays at which a node that is not public keeps a place.
pub const MAX_RELAYS: usize = 2;
/// Relays that it knows, these included.
pub const MAX_KNOWN_RELAYS: usize = 32;
/// Peers of one relay's subnet in the Kademlia table that are reached through a relay: nodes behind NATs share relays.
pub const MAX_RELAYED_PEERS_PER_SUBNET: usize = 32;
/// Places that a public node keeps for others.
pub const MAX_RESERVATIONS: usize = 128;
/// Of these, for one peer.
pub const MAX_RESERVATIONS_PER_PEER: usize = 2;
/// A place is to be asked for again after this long.
pub const RESERVATION_DURATION: Duration = Duration::from_hours(1);
/// Connections that a public node passes on for others at once.
pub const MAX_CIRCUITS: usize = 64;
/// Of these, of one peer.
pub const MAX_CIRCUITS_PER_PEER: usize = 16;
/// Such a connection ends after this long.
pub const MAX_CIRCUIT_DURATION: Duration = Duration::from_mins(30);
/// Such a connection ends after so many bytes in one direction.
pub const MAX_CIRCUIT_BYTES: u64 = 256 << 20;
/// For so long whoever wants to talk to a peer that is connected through a relay only waits for the direct connection that both
/// ends try to make: what is begun on the relayed one breaks with it. Most holes are there within a second; one that comes later
/// still does that, and the work is placed anew.
pub const PUNCH_GRACE: Duration = Duration::from_secs(5);
/// A relayed connection goes this long after a direct one has come: the other end may see the direct one a little later.
pub const RELAYED_AFTERLIFE: Duration = Duration::from_millis(500);
/// Public addresses that other nodes may confirm to be this one's.
pub const MAX_EXTERNAL_ADDRESSES: usize = 16;
/// Public addresses that peers say they see this node at: those of honest ones are few.
pub const MAX_CANDIDATES: usize = 16;
/// Addresses with which there was contact lately.
pub const MAX_REMEMBERED_CONTACTS: usize = 4096;
/// Dials a minute that peers may have this node make, for hole punching or to see whether they are public; for each of the two.
pub const MAX_GUARDED_DIALS: usize = 32;
/// Of these, for one peer: hole punching tries three times.
pub const MAX_GUARDED_DIALS_PER_PEER: usize = 6;
/// Addresses at which a relay may say that it keeps a place.
pub const MAX_ADDRESSES_OF_A_PLACE: usize = 8;

/// Heartbeats that one neighbour may pass on in [`HEARTBEAT_WINDOW`]; further ones are dropped unread.
pub const MAX_HEARTBEATS_PER_NEIGHBOUR: u32 = 512;
/// The window of [`MAX_HEARTBEATS_PER_NEIGHBOUR`].
pub const HEARTBEAT_WINDOW: Duration = Duration::from_secs(2);
/// One sender's heartbeats closer together than this are not passed on.
pub const MIN_HEARTBEAT_GAP: Duration = Duration::from_millis(100);
/// Invalid heartbeats after which the neighbour that passed them on is blocked.
pub const MAX_INVALID_HEARTBEATS: u32 = 8;

/// Browsers that are connected, or on the way in.
pub const MAX_WEBRTC_CONNECTIONS: usize = 64;
/// Handshakes of browsers under way at once: a packet from an invented address begins one.
pub const MAX_WEBRTC_HANDSHAKES: usize = 16;
/// Of these, from one address.
pub const MAX_WEBRTC_HANDSHAKES_PER_IP: usize = 4;
/// A handshake that takes longer has failed. Shorter than what libp2p allows for any connection, so that it is counted.
pub const WEBRTC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);
/// Handshakes that may fail while the node runs: each leaves some 75 KB behind in the transport, so that is 300 MB.
pub const MAX_WEBRTC_FAILURES: usize = 4096;
/// Addresses of browsers that did not come in; beyond, the port is opened anew and they are forgotten.
pub const MAX_WEBRTC_STRANGERS: usize = 1 << 16;
/// Streams of one browser.
pub const MAX_WEBRTC_STREAMS: usize = 256;
/// Bytes that are written to a stream of a browser at once: with its frame around, less than the 8 KiB that libp2p's own
/// transport reads in one message.
pub const WEBRTC_WRITE_BYTES: usize = (8 << 10) - 64;

/// Commands waiting for the actor.
pub const COMMAND_QUEUE: usize = 256;
/// Events waiting for the node.
pub const EVENT_QUEUE: usize = 256;
/// Callers that may wait for a connection to one peer.
pub const MAX_CONNECT_WAITERS: usize = 64;

/// Messages waiting in one direction of a work session: more than a full credit of offers with their answers.
pub const SESSION_QUEUE: usize = 1024;
/// Incoming work sessions at once.
pub const MAX_INCOMING_SESSIONS: usize = 64;
/// Incoming streams of game steps at once.
pub const MAX_STEP_STREAMS: usize = 16;
/// Steps or answers waiting in one direction of such a stream: all that may be under way, twice.
pub const STEP_QUEUE: usize = 128;
/// An answer or step that cannot be written for so long ends the stream.
pub const STEP_STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Cancellations that may wait for their answer on one session.
pub const MAX_UNANSWERED_CANCELS: usize = MAX_CREDIT as usize;
/// Results that are cut into pieces side by side; further ones wait in the queue before.
pub const MAX_INTERLEAVED_RESULTS: usize = 64;
/// Bytes of these results; the one that goes beyond is the last.
pub const MAX_INTERLEAVED_BYTES: usize = 32 << 20;
/// Bytes that are written to a stream at once: a cancellation cannot take these back.
pub const WRITE_BATCH_BYTES: usize = 128 << 10;
/// Room made for each read from a stream, bytes.
pub const READ_BYTES: usize = 64 << 10;
/// Room made on a stream that brings much.
pub const BULK_READ_BYTES: usize = 256 << 10;
/// Opening a stream takes at most this long.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The first message of a session comes within this.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a closed session may still read what is on its way.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Blob streams served at once, refusals included: of all that one coordinator works with, two for the scene, one for its list,
/// and as many again of others.
pub const MAX_BLOB_STREAMS: usize = 512;
/// Blob streams served at once to one peer: two for each package that it fetches, and those of its last attempts.
pub const MAX_BLOB_STREAMS_PER_PEER: usize = 8;
/// Blob streams of one peer that are told so when it has too many; further ones are closed without a word.
pub const MAX_BLOB_REFUSALS_PER_PEER: usize = 4;
/// A write on a blob stream that moves nothing for this long has failed, and so has a read that is owed an answer at
/// once.
pub const BLOB_STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// A blob stream on which nothing is asked for this long is closed.
pub const BLOB_IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// How often a node looks whether there is more to tell those who watch a package.
pub const BLOB_NEWS_INTERVAL: Duration = Duration::from_millis(100);
/// Whoever watches hears something this often, whether there is news or not.
pub const BLOB_SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// A source that owes chunks and sends none for this long is dropped.
pub const MAX_BLOB_SILENCE: Duration = Duration::from_secs(90);
/// A download that gets nothing for this long has failed; what is here is kept.
pub const MAX_DOWNLOAD_PAUSE: Duration = Duration::from_mins(2);
/// Sources of one download at once.
pub const MAX_BLOB_SOURCES: usize = 16;
/// Candidates that one download ever tries.
pub const MAX_BLOB_CANDIDATES: usize = 64;
/// Requests in flight at a source that has not answered yet.
pub const FIRST_CHUNK_WINDOW: usize = 2;
/// Requests in flight at a source, at most.
pub const MAX_CHUNK_WINDOW: usize = 16;
/// Sources that are asked for the same chunk at once.
pub const MAX_CHUNK_COPIES: usize = 2;
/// Times that a source is tried before it is given up.
pub const MAX_BLOB_ATTEMPTS: u32 = 5;
/// Longest wait before the second of these; doubles with each further one.
pub const BLOB_RETRY: Duration = Duration::from_millis(40);
/// Packages of which it is remembered what was given to whom.
pub const MAX_SEEDED_SCENES: usize = 16;
/// Peers that are remembered with each of these.
pub const MAX_SEEDED_PEERS: usize = 64;
/// Packages that this node tells the swarm's table of.
pub const MAX_PROVIDED_SCENES: usize = 16;
/// Packages of which it is remembered whom the table names.
pub const MAX_SOUGHT_SCENES: usize = 16;
/// Nodes that the table may name for a package: each may be dialled.
pub const MAX_PROVIDERS: usize = 8;
/// Keys for which this node keeps the word of one peer.
pub const MAX_KEYS_PER_PROVIDER: usize = 32;
/// How often it looks what of that is too old.
pub const PROVIDER_SWEEP: Duration = Duration::from_mins(1);
/// Keys for which this node keeps the word of others that they have the package.
pub const MAX_PROVIDER_KEYS: usize = 2048;
/// What others told of who has a package is forgotten after this.
pub const PROVIDER_TTL: Duration = Duration::from_hours(2);
/// What this node has is told again this often.
pub const PROVIDER_INTERVAL: Duration = Duration::from_hours(1);
/// Nodes that are remembered for having sent wrong chunks.
pub const MAX_SHUNNED_SOURCES: usize = 256;

/// Streams on which planes are handed over at once.
pub const MAX_HAND_OVERS: usize = 16;
/// Of these, of one peer.
pub const MAX_HAND_OVERS_PER_PEER: usize = 4;
/// A read or write of a hand-over that moves nothing for this long has failed.
pub const HAND_OVER_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes reserved for a plane before its first piece has come.
pub const HAND_OVER_FIRST_RESERVE_BYTES: usize = 1 << 20;

/// Listeners are up within this, or starting fails.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long shutting down waits for open sessions and connections.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
