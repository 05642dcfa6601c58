/**
 * A peer made of js-libp2p as anybody would put it together, told what to do by commands.
 *
 * Decides nothing about Peerway: it speaks the protocols that the wire formats name (announcements, rooms), and echoes.
 * What it runs in, a process or a page, gives it transports and brings it its commands.
 */

import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webRTC } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

import { DISCOVERY_TOPIC, decode, encode, roomTopic } from './gossip.js'
import { SIGNALING, bytesOf, ignore, openMute, signalRaw } from './hostile.js'
import { ECHO, SINK, askForEcho, countAll, echoAll, sendAll } from './streams.js'

/** The protocol that every libp2p has. */
const PING = '/ipfs/ping/1.0.0'

/** How long any command may take. Whoever gives it waits a little longer, to hear the reason. */
const PATIENCE = 25_000

/**
 * How long one try at a connection may take, and how many there are.
 *
 * The initiator of `/webrtc` waits for its `init` channel to open, and then to close. A recipient made of js-libp2p
 * closes that channel itself: if the initiator has not looked by then, it waits for what has been already, to its
 * time-out. Seen in one dial of twelve between two pages.
 */
const TRY = 4_000
const TRIES = 5

/** How often it looks for what no event tells. */
const LOOK_EVERY = 5

/** How often the peer announces itself when nothing happens. */
const ANNOUNCE_EVERY = 5_000

/** Lines that are kept; the oldest go first. */
const LINES_KEPT = 1_000

export class Peer {
  #extraTransports
  #node
  #room
  #announcing
  #heard = []
  #announcements = new Map()
  #identified = new Map()

  /** @param extraTransports what this host has beyond WebSocket, WebRTC and circuits */
  constructor (extraTransports = []) {
    this.#extraTransports = extraTransports
  }

  /** Does what `{ cmd, …}` says and returns what there is to say about it, as JSON. */
  async command ({ cmd, ...args }) {
    const commands = {
      start: this.#start,
      meet: this.#meet,
      status: this.#status,
      dial: this.#dial,
      hangUp: this.#hangUp,
      hangUpAll: this.#hangUpAll,
      ping: this.#ping,
      echo: this.#echo,
      throughput: this.#throughput,
      room: this.#join,
      say: this.#say,
      signal: this.#signal,
      answerSignals: this.#answerSignals,
      ignoreSignals: this.#ignoreSignals,
      stop: this.#stop
    }
    if (!Object.hasOwn(commands, cmd)) {
      throw new Error(`no such command: ${cmd}`)
    }
    return await commands[cmd].call(this, args) ?? null
  }

  /**
   * Takes a slot on the relay, and is found there over circuits and over `/webrtc`. Who is silent does not say that it is
   * there: nobody dials it.
   */
  async #start ({ relay, silent = false }) {
    this.#node = await createLibp2p({
      addresses: { listen: ['/webrtc', `${relay}/p2p-circuit`] },
      transports: [
        webSockets(),
        // Nothing leaves the machine: without this, public STUN servers are asked.
        webRTC({ rtcConfiguration: { iceServers: [] } }),
        circuitRelayTransport(),
        ...this.#extraTransports
      ],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // In a page the default refuses loopback, private addresses and every `ws`.
      connectionGater: { denyDialMultiaddr: () => false },
      services: {
        identify: identify(),
        ping: ping(),
        // `StrictSign` is the default; it is what the wire format asks for.
        pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', allowPublishToZeroTopicPeers: true })
      },
      start: false
    })
    const node = this.#node
    node.addEventListener('peer:identify', ({ detail }) => {
      this.#identified.set(detail.connection.id, detail.agentVersion ?? '')
    })
    node.addEventListener('connection:close', ({ detail }) => this.#identified.delete(detail.id))
    node.services.pubsub.addEventListener('message', ({ detail }) => this.#hear(detail))
    await node.handle(ECHO, echoAll, { runOnLimitedConnection: true })
    await node.handle(SINK, countAll, { runOnLimitedConnection: true })
    await node.start()
    if (!silent) {
      this.#announce()
    }
    return { peerId: node.peerId.toString() }
  }

  /** Starts, connects directly to a peer at this address, and has it answer a ping; the time is that of it all. */
  async #meet ({ peer, address, ...start }) {
    const began = performance.now()
    await this.#start({ ...start, silent: true })
    while (!this.#node.getMultiaddrs().some((own) => String(own).includes('/webrtc'))) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY))
    }
    await this.#dial({ address })
    await this.#ping({ peer, route: 'webrtc' })
    return { ms: performance.now() - began }
  }

  /** Everything that can be seen from outside, at one moment. */
  #status () {
    const node = this.#node
    return {
      peerId: node.peerId.toString(),
      addresses: node.getMultiaddrs().map(String),
      connections: node.getConnections().map((connection) => ({
        peer: connection.remotePeer.toString(),
        address: connection.remoteAddr.toString(),
        route: routeOf(connection),
        direction: connection.direction,
        limited: connection.limits != null,
        agent: this.#identified.get(connection.id) ?? null
      })),
      subscribers: Object.fromEntries(node.services.pubsub.getTopics().map((topic) => [
        topic,
        node.services.pubsub.getSubscribers(topic).map(String)
      ])),
      announcements: Object.fromEntries(this.#announcements),
      heard: this.#heard
    }
  }

  /** The time is that of the try that succeeded. */
  async #dial ({ address }) {
    for (let tries = 1; ; tries += 1) {
      const began = performance.now()
      try {
        const connection = await this.#node.dial(multiaddr(address), { signal: AbortSignal.timeout(TRY) })
        return { route: routeOf(connection), tries, ms: performance.now() - began }
      } catch (error) {
        if (error.name !== 'TimeoutError' || tries === TRIES) {
          throw error
        }
      }
    }
  }

  async #hangUp ({ peer, route }) {
    await this.#connection(peer, route).close({ signal: patience() })
  }

  async #hangUpAll ({ peer }) {
    const all = this.#connectionsTo(peer)
    await Promise.all(all.map((connection) => connection.close({ signal: patience() })))
  }

  /** Not the ping service: it does not let its caller choose the connection. */
  async #ping ({ peer, route }) {
    const connection = this.#connection(peer, route)
    const stream = await connection.newStream(PING, { runOnLimitedConnection: true, signal: patience() })
    return await askForEcho(stream, 32)
  }

  async #echo ({ peer, route, bytes }) {
    const connection = this.#connection(peer, route)
    const stream = await connection.newStream(ECHO, { runOnLimitedConnection: true, signal: patience() })
    return await askForEcho(stream, bytes)
  }

  async #throughput ({ peer, route, bytes }) {
    const connection = this.#connection(peer, route)
    const stream = await connection.newStream(SINK, { runOnLimitedConnection: true, signal: patience() })
    return await sendAll(stream, bytes)
  }

  /**
   * Bytes on a signalling stream of its own, over the circuit; a mute one does not say that it is for signalling. It may
   * wait longer than a deadline of the other side's.
   */
  async #signal ({ peer, mute = false, ...what }) {
    const connection = this.#connection(peer, 'circuit')
    const stream = mute
      ? await openMute(connection)
      : await connection.newStream(SIGNALING, { runOnLimitedConnection: true, signal: patience() })
    return await signalRaw(stream, what)
  }

  /**
   * From now on whoever offers a direct connection is told these bytes, and nothing more; with `once` only the first who
   * does, and the others are refused.
   */
  async #answerSignals ({ messages, once = false }) {
    let answered = false
    await this.#node.unhandle(SIGNALING)
    await this.#node.handle(SIGNALING, (stream) => {
      if (once && answered) {
        stream.abort(new Error('once was enough'))
        return
      }
      answered = true
      // Not before the offer: an answer to nothing is another mistake than the one that is to be made.
      stream.addEventListener('message', () => {
        for (const message of messages) {
          stream.send(bytesOf(message))
        }
      }, { once: true })
    }, { runOnLimitedConnection: true })
  }

  /** From now on whoever wants to offer one over the circuit hears nothing at all. */
  #ignoreSignals ({ peer }) {
    ignore(SIGNALING, this.#connection(peer, 'circuit'))
  }

  async #join ({ name }) {
    const { pubsub } = this.#node.services
    this.#room = await roomTopic(name)
    pubsub.subscribe(this.#room)
    return { topic: this.#room }
  }

  async #say ({ text }) {
    const { recipients } = await this.#node.services.pubsub.publish(this.#room, encode({
      id: crypto.randomUUID(),
      name: 'js',
      text,
      sentAt: Date.now()
    }))
    return { recipients: recipients.map(String) }
  }

  async #stop () {
    clearInterval(this.#announcing)
    await this.#node?.stop()
  }

  /** Says where it is at once, whenever that changes, whenever somebody comes who could hear it, and now and then. */
  #announce () {
    const { pubsub } = this.#node.services
    const say = () => {
      const addrs = this.#node.getMultiaddrs().map(String).filter((address) => address.includes('/p2p-circuit'))
      pubsub.publish(DISCOVERY_TOPIC, encode({ peerId: this.#node.peerId.toString(), addrs }))
        .catch((error) => console.error('the announcement failed:', error))
    }
    pubsub.subscribe(DISCOVERY_TOPIC)
    this.#node.addEventListener('self:peer:update', say)
    pubsub.addEventListener('subscription-change', ({ detail }) => {
      if (detail.subscriptions.some(({ topic, subscribe }) => subscribe && topic === DISCOVERY_TOPIC)) {
        say()
      }
    })
    this.#announcing = setInterval(say, ANNOUNCE_EVERY)
    say()
  }

  #hear ({ topic, from, data }) {
    const message = decode(data)
    if (topic === DISCOVERY_TOPIC) {
      if (message?.peerId === from.toString()) {
        this.#announcements.set(message.peerId, message.addrs)
      }
    } else {
      this.#heard.push({ topic, from: from.toString(), text: message?.text ?? null })
      this.#heard.splice(0, this.#heard.length - LINES_KEPT)
    }
  }

  #connectionsTo (peer) {
    return this.#node.getConnections().filter(({ remotePeer }) => remotePeer.toString() === peer)
  }

  #connection (peer, route) {
    const all = this.#connectionsTo(peer)
    // The newest: one that a failed try left behind is on its way out.
    const found = all.findLast((connection) => routeOf(connection) === route)
    if (found == null) {
      throw new Error(`no ${route} connection to ${peer}, only [${all.map(routeOf)}]`)
    }
    return found
  }
}

/** `webrtc`, `circuit` or `direct`, as our own page calls them. */
function routeOf ({ remoteAddr }) {
  const parts = remoteAddr.getComponents().map(({ name }) => name)
  return ['webrtc', 'p2p-circuit'].find((part) => parts.includes(part))?.replace('p2p-circuit', 'circuit') ?? 'direct'
}

function patience () {
  return AbortSignal.timeout(PATIENCE)
}
