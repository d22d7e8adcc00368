// A js-libp2p peer set up to speak with p2c2r nodes. The transports are the caller's: TCP in Node.js, WebRTC in a page.

import './with_resolvers.js'

import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { yamux } from '@libp2p/yamux'
import { blake3 } from '@noble/hashes/blake3.js'
import { createLibp2p } from 'libp2p'

const KAD_PROTOCOL = '/p2c2r/kad/1'
const MAX_PINGS = 16
const STREAM_LIMIT_MS = 24 * 3600 * 1000

/** A running peer with a fresh ed25519 key that listens nowhere. */
export async function startPeer (transports) {
  return createLibp2p({
    transports,
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // The default one refuses to dial what is private, which is all that there is in a test.
    connectionGater: { denyDialMultiaddr: () => false },
    services: {
      identify: identify({ agentVersion: 'p2c2r-javascript-client' }),
      // A node keeps its stream of pings open; by default it would be reset after ten seconds, which nodes count as a failure.
      ping: ping({ timeout: STREAM_LIMIT_MS, maxOutboundStreams: MAX_PINGS }),
      // A client: nobody can dial a page, so it has no place in others' tables. Private addresses count.
      kad: kadDHT({ protocol: KAD_PROTOCOL, clientMode: true, peerInfoMapper: passthroughMapper }),
      gossip: gossipsub({
        // Messages carry no signature of gossip's own: a heartbeat is signed by its node, and named by its content.
        globalSignaturePolicy: 'StrictNoSign',
        msgIdFn: message => blake3(message.data),
        allowPublishToZeroTopicPeers: true
      })
    }
  })
}
