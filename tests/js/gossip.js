/**
 * What is said over gossip: the topics, and JSON in bytes. Written from the wire formats, not from our Rust code.
 */

/** Where announcements are made. */
export const DISCOVERY_TOPIC = 'p2p-discovery'

/** The topic of a room: strangers do not read its name off a subscription. */
export async function roomTopic (name) {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`peerway room ${name}`))
  const hex = [...new Uint8Array(hash, 0, 16)].map((byte) => byte.toString(16).padStart(2, '0'))
  return `peerway/room/1/${hex.join('')}`
}

export function encode (value) {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** The value, or `undefined` where there is none. */
export function decode (bytes) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
