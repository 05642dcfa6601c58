/**
 * A peer in a page: `await peer.command({ cmd: … })` does what a line on stdin does in a process.
 */

import { Peer } from '../js/peer.js'

globalThis.peer = new Peer()
