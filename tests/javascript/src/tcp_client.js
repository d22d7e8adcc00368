// Visits a node over TCP and prints what came of it: node tcp_client.js ADDRESS WANTED_PEER_ID

import { tcp } from '@libp2p/tcp'

import { visit } from './visit.js'

const [address, wanted] = process.argv.slice(2)
if (wanted === undefined) {
  console.error('usage: node tcp_client.js ADDRESS WANTED_PEER_ID')
  process.exit(2)
}
console.log(JSON.stringify(await visit([tcp()], address, wanted)))
