/**
 * A relay made of js-libp2p, over TCP, WebSocket and WebRTC-direct on loopback, without any limit: what ours is measured beside.
 *
 * It prints `{"addresses": […]}` once it listens, and ends with its stdin.
 */

import { circuitRelayServer } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webRTCDirect } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

/** As good as no limit. */
const MANY = 1_000_000

async function main () {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0/ws', '/ip4/127.0.0.1/udp/0/webrtc-direct'] },
    transports: [tcp(), webSockets(), webRTCDirect()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: {
      maxConnections: MANY,
      inboundConnectionThreshold: MANY,
      maxIncomingPendingConnections: MANY
    },
    services: {
      identify: identify(),
      ping: ping(),
      relay: circuitRelayServer({
        maxInboundHopStreams: MANY,
        maxOutboundHopStreams: MANY,
        maxOutboundStopStreams: MANY,
        reservations: { maxReservations: MANY, applyDefaultLimit: false }
      })
    }
  })
  console.log(JSON.stringify({ addresses: node.getMultiaddrs().map(String) }))
  process.stdin.on('close', () => process.exit()).resume()
}

main()
