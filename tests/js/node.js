/**
 * A peer in a process: one command a line on stdin, one answer a line on stdout, complaints on stderr.
 *
 * `{"id": 1, "cmd": "status"}` is answered by `{"id": 1, "ok": …}` or `{"id": 1, "error": "why"}`. It ends with its stdin.
 */

import { createInterface } from 'node:readline'

import { tcp } from '@libp2p/tcp'

import { Peer } from './peer.js'

const peer = new Peer([tcp()])

async function answer (line) {
  const { id, ...command } = JSON.parse(line)
  let outcome
  try {
    outcome = { ok: await peer.command(command) }
  } catch (error) {
    outcome = { error: String(error?.stack ?? error) }
  }
  console.log(JSON.stringify({ id, ...outcome }))
}

createInterface({ input: process.stdin })
  .on('line', answer)
  .on('close', () => process.exit())
