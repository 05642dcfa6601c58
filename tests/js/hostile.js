/**
 * What a peer does on a signalling stream that means no good, or knows no better: bytes as they are given.
 */

export const SIGNALING = '/webrtc-signaling/0.0.1'

/** Bytes of hexadecimal digits. */
export function bytesOf (hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16))
}

/**
 * Sends the messages, closes its own half if `end` says so, and waits for what the other side does: `reset` or `closed`.
 * What comes meanwhile is counted and not looked at.
 */
export async function signalRaw (stream, { messages, end = false }) {
  const began = performance.now()
  const said = (ended, answered) => ({ ended, answered, ms: performance.now() - began })
  let answered = 0
  stream.addEventListener('message', ({ data }) => { answered += data.byteLength })
  const over = new Promise((resolve) => {
    stream.addEventListener('remoteCloseWrite', () => resolve('closed'))
    stream.addEventListener('close', ({ error }) => resolve(error == null ? 'closed' : 'reset'))
  })
  try {
    for (const message of messages) {
      if (!stream.send(bytesOf(message))) {
        await stream.onDrain()
      }
    }
    if (end) {
      await stream.close()
    }
  } catch {
    // It was refused while it was being sent.
    return said('reset', answered)
  }
  return said(await over, answered)
}

/** Opens a stream and does not say for what. */
export async function openMute (connection) {
  // No part of the interface: whoever behaves has no use for it.
  return await connection.muxer.createStream()
}

/** From now on does not even say whether it speaks a protocol that the other side wants to speak. */
export function ignore (protocol, connection) {
  const named = (data) => new TextDecoder().decode(data.subarray()).includes(protocol)
  connection.muxer.addEventListener('stream', ({ detail: stream }) => {
    stream.addEventListener('message', ({ data }) => {
      if (named(data)) {
        stream.send = () => true
      }
    })
  })
}
