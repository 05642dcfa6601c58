/**
 * A relay made of js-libp2p: circuits over WebSocket on loopback, with the limits that our own relay has by default.
 *
 * Its arguments are the topics that it passes on. It prints `{"address": …}` once it listens, and ends with its stdin.
 */

import { circuitRelayServer } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

async function main (topics) {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0/ws'] },
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', allowPublishToZeroTopicPeers: true }),
      relay: circuitRelayServer({
        // Its defaults, 128 KiB and two minutes, are for connections that only signal.
        reservations: { defaultDataLimit: 64n << 20n, defaultDurationLimit: 30 * 60_000 }
      })
    }
  })
  for (const topic of topics) {
    node.services.pubsub.subscribe(topic)
  }
  console.log(JSON.stringify({ address: node.getMultiaddrs()[0].toString() }))
  process.stdin.on('close', () => process.exit()).resume()
}

main(process.argv.slice(2))
