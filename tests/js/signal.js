/**
 * What two raw pages signal through: a WebSocket server that hands everything on to everybody else.
 *
 * It understands nothing of what it carries. It prints `{"url": …}` once it listens, and ends with its stdin.
 */

import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
server.on('connection', (socket) => {
  socket.on('message', (message) => {
    for (const other of server.clients) {
      if (other !== socket) {
        other.send(message.toString())
      }
    }
  })
})
server.on('listening', () => {
  console.log(JSON.stringify({ url: `ws://127.0.0.1:${server.address().port}/` }))
})
process.stdin.on('close', () => process.exit()).resume()
