// What the tests ask of every client: meet a node, find another through it, hear a heartbeat that its sender has signed.

import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'

import { HEARTBEAT_TOPIC, openHeartbeat } from './heartbeat.js'
import { startPeer } from './peer.js'

// Nothing here takes more than a few seconds; a visit that hangs fails by this.
const LIMIT_MS = 60_000
const PING_LIMIT_MS = 3_000

/** Visits the node at `address` and looks for the node `wanted`, of which it knows no address. */
export async function visit (transports, address, wanted) {
  const peer = await startPeer(transports)
  try {
    const signal = AbortSignal.timeout(LIMIT_MS)
    // Set up before the connection is there: neither is asked for, both come by themselves.
    const identified = identityOf(peer, signal)
    const heard = heartbeatOf(peer, signal)
    const connection = await peer.dial(multiaddr(address), { signal })
    const identity = await identified
    const found = await peer.peerRouting.findPeer(peerIdFromString(wanted), { signal })
    const heartbeat = await heard
    const roundTripMs = await ping(peer, connection.remotePeer, signal)
    return {
      own: peer.peerId.toString(),
      node: connection.remotePeer.toString(),
      over: connection.remoteAddr.toString(),
      agent: identity.agentVersion,
      protocol: identity.protocolVersion,
      protocols: identity.protocols,
      listens: identity.listenAddrs.map(String),
      roundTripMs,
      found: { id: found.id.toString(), addresses: found.multiaddrs.map(String) },
      ...heartbeat
    }
  } finally {
    await peer.stop()
  }
}

/**
 * The round trip to a node. Nodes answer one stream of pings for each peer, the newest one, and js-libp2p's Kademlia
 * pings whomever it meets: whoever comes between tries again.
 */
async function ping (peer, node, signal) {
  for (;;) {
    signal.throwIfAborted()
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PING_LIMIT_MS)])
    const roundTripMs = await peer.services.ping.ping(node, { signal: limit }).catch(() => undefined)
    if (roundTripMs !== undefined) {
      return roundTripMs
    }
  }
}

/** What the first node that is met says of itself. */
function identityOf (peer, signal) {
  const { promise, resolve, reject } = Promise.withResolvers()
  signal.addEventListener('abort', () => reject(new Error('the node did not say who it is')))
  peer.addEventListener('peer:identify', ({ detail }) => resolve(detail))
  return promise
}

/** The first heartbeat that comes, and whether it could have been another. */
async function heartbeatOf (peer, signal) {
  const { promise, resolve, reject } = Promise.withResolvers()
  signal.addEventListener('abort', () => reject(new Error('no heartbeat came')))
  peer.services.gossip.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
    if (msg.topic === HEARTBEAT_TOPIC) {
      resolve(msg.data)
    }
  })
  peer.services.gossip.subscribe(HEARTBEAT_TOPIC)
  const bytes = await promise
  const { from, heartbeat } = await openHeartbeat(bytes)
  return {
    heartbeat: { from, software: heartbeat.software, sequence: heartbeat.sequence, adapter: heartbeat.adapter },
    alteredRefused: await everyAlterationIsRefused(bytes)
  }
}

/** Whether no byte of a heartbeat can be changed without notice. */
async function everyAlterationIsRefused (bytes) {
  for (let at = 0; at < bytes.length; at++) {
    const altered = Uint8Array.from(bytes)
    altered[at] ^= 1
    const opened = await openHeartbeat(altered).then(() => true, () => false)
    if (opened) {
      return false
    }
  }
  return true
}
