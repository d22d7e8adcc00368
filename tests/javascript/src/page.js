// What runs in the page: the same visit as everywhere, over WebRTC; its outcome goes back to the server of the page.

import { webRTCDirect } from '@libp2p/webrtc'

import { visit } from './visit.js'

// Nodes do not read larger messages (`WEBRTC_WRITE_BYTES` in node/swarm/src/limit.rs says why).
const MAX_MESSAGE_BYTES = 8 << 10

const { address, wanted } = Object.fromEntries(new URLSearchParams(location.search))
const outcome = await visit([webRTCDirect({ dataChannel: { maxMessageSize: MAX_MESSAGE_BYTES } })], address, wanted)
  .then(seen => ({ seen }), error => ({ failed: String(error.stack ?? error) }))
await fetch('/outcome', { method: 'POST', body: JSON.stringify(outcome) })
