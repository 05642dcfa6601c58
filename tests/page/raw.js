/**
 * Two pages and nothing between them but one `RTCPeerConnection`: what a browser can do, to measure libraries against.
 *
 * Each page calls `raw.join(url)` with the same WebSocket server; then one calls `raw.dial()`, and may `raw.send(bytes)`.
 */

/** As libp2p's `/webrtc` frames its streams. */
const MESSAGE = 16 * 1024

/** Enough that the network never waits for the page, little enough that the browser takes it. */
const BUFFERED = 1024 * 1024

let socket
let connection

/** Waits for the other's offers; returns when the WebSocket is open. */
async function join (url) {
  socket = new WebSocket(url)
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
  socket.onmessage = async ({ data }) => {
    const { description, candidate } = JSON.parse(data)
    if (description?.type === 'offer') {
      const own = open()
      own.ondatachannel = ({ channel }) => answer(channel)
      await own.setRemoteDescription(description)
      await own.setLocalDescription()
      tell({ description: own.localDescription })
    } else if (description != null) {
      await connection.setRemoteDescription(description)
    } else {
      await connection.addIceCandidate(candidate)
    }
  }
}

/** Connects; the time is that until a channel is open. */
async function dial () {
  const began = performance.now()
  const channel = open().createDataChannel('')
  await connection.setLocalDescription()
  tell({ description: connection.localDescription })
  await event(channel, 'open')
  connection.channel = channel
  return { ms: performance.now() - began }
}

/** Sends so many bytes; the time is that until the other has said that it has them all. */
async function send (bytes) {
  const { channel } = connection
  const message = new Uint8Array(MESSAGE)
  channel.bufferedAmountLowThreshold = BUFFERED / 2
  const began = performance.now()
  const arrived = event(channel, 'message')
  channel.send(String(bytes))
  for (let sent = 0; sent < bytes; sent += message.length) {
    if (channel.bufferedAmount > BUFFERED) {
      await event(channel, 'bufferedamountlow')
    }
    channel.send(message.subarray(0, Math.min(message.length, bytes - sent)))
  }
  await arrived
  return { bytes, ms: performance.now() - began }
}

/** The other end of `send`: a text says how much comes, and one goes back when it is there. */
function answer (channel) {
  let missing
  channel.binaryType = 'arraybuffer'
  channel.onmessage = ({ data }) => {
    missing = typeof data === 'string' ? Number(data) : missing - data.byteLength
    if (missing === 0) {
      channel.send('all')
    }
  }
}

/** A connection in place of the last. */
function open () {
  connection?.close()
  connection = new RTCPeerConnection({ iceServers: [] })
  connection.onicecandidate = ({ candidate }) => candidate != null && tell({ candidate })
  return connection
}

function tell (message) {
  socket.send(JSON.stringify(message))
}

function event (target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }))
}

globalThis.raw = { join, dial, send }
