/**
 * What is done over a stream: an echo that ends when both sides have half-closed, and a sink that counts.
 *
 * Every byte that comes back is compared with the one that was sent: a stream that loses, doubles or swaps is found.
 */

export const ECHO = '/echo/1.0.0'
export const SINK = '/peerway-test/throughput/1'

/** Sends back what comes until the other side has ended, then ends. */
export async function echoAll (stream) {
  try {
    for await (const bytes of stream) {
      await send(stream, bytes)
    }
    await stream.close()
  } catch (error) {
    stream.abort(error)
  }
}

/** Takes what comes until the other side has ended, then says how much that was. */
export async function countAll (stream) {
  try {
    let bytes = 0
    for await (const chunk of stream) {
      bytes += chunk.byteLength
    }
    await send(stream, new TextEncoder().encode(JSON.stringify({ bytes })))
    await stream.close()
  } catch (error) {
    stream.abort(error)
  }
}

/** Sends, ends, and reads on until the other side has ended too. */
export async function askForEcho (stream, bytes) {
  const began = performance.now()
  const [firstWrong] = await Promise.all([compare(stream, bytes), fill(stream, bytes)])
  if (firstWrong != null) {
    throw new Error(firstWrong)
  }
  return { bytes, ms: performance.now() - began }
}

/** Sends, ends, and reads how much arrived; the clock stops when that is known. */
export async function sendAll (stream, bytes) {
  const began = performance.now()
  const [answer] = await Promise.all([readText(stream), fill(stream, bytes)])
  const { bytes: arrived } = JSON.parse(answer)
  if (arrived !== bytes) {
    throw new Error(`${arrived} of ${bytes} bytes arrived`)
  }
  return { bytes, ms: performance.now() - began }
}

/** What is sent repeats itself after a prime number of bytes, so that no frame's length hides a shift. */
const PATTERN = Uint8Array.from({ length: 65_521 }, (_, index) => (index * 167) ^ (index >> 8))

async function fill (stream, bytes) {
  for (let sent = 0; sent < bytes;) {
    const chunk = PATTERN.subarray(0, Math.min(PATTERN.length, bytes - sent))
    await send(stream, chunk)
    sent += chunk.length
  }
  await stream.close()
}

/** What is wrong with what came, if anything is. */
async function compare (stream, bytes) {
  let at = 0
  let wrong
  for await (const chunk of stream) {
    for (const byte of chunk.subarray()) {
      if (byte !== PATTERN[at % PATTERN.length]) {
        wrong ??= `byte ${at} of ${bytes} is not the one that was sent`
      }
      at += 1
    }
  }
  return wrong ?? (at === bytes ? undefined : `${at} of ${bytes} bytes came back`)
}

async function readText (stream) {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text += decoder.decode(chunk.subarray(), { stream: true })
  }
  return text
}

async function send (stream, bytes) {
  if (!stream.send(bytes)) {
    await stream.onDrain()
  }
}
