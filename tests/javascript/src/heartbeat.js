// Opens heartbeats as `protocol/src/heartbeat.rs` seals them: canonical CBOR of { node, payload, signature }, signed with
// ed25519 over the domain and the payload's bytes as they came.

import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { decode, encode, rfc8949EncodeOptions } from 'cborg'

export const HEARTBEAT_TOPIC = 'p2c2r/heartbeat/1'

const DOMAIN = new TextEncoder().encode('p2c2r/heartbeat/v1\0')
const MAX_BYTES = 8 << 10

/** Reads CBOR that is in the one canonical form; anything else throws. */
function fromCanonical (bytes) {
  const value = decode(bytes, { strict: true, allowIndefinite: false, rejectDuplicateMapKeys: true })
  if (!sameBytes(encode(value, rfc8949EncodeOptions), bytes)) {
    throw new Error('not in canonical form')
  }
  return value
}

function sameBytes (a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

/** The sender's peer id and what it says; throws unless the sender has signed it. */
export async function openHeartbeat (bytes) {
  if (bytes.length > MAX_BYTES) {
    throw new Error('longer than any heartbeat')
  }
  const { node, payload, signature, ...others } = fromCanonical(bytes)
  if (Object.keys(others).length > 0) {
    throw new Error('unknown fields')
  }
  const key = publicKeyFromRaw(node)
  const signed = new Uint8Array(DOMAIN.length + payload.length)
  signed.set(DOMAIN)
  signed.set(payload, DOMAIN.length)
  if (key.type !== 'Ed25519' || !(await key.verify(signed, signature))) {
    throw new Error('not signed by its node')
  }
  return { from: peerIdFromPublicKey(key).toString(), heartbeat: fromCanonical(payload) }
}
