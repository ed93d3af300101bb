// An event server on the npm package socket.io 0.9, by its own protocol code: authentication, subscriptions of one
// topic or prefix, targets of one id, acknowledgements. Arguments: heartbeat interval and timeout, in seconds.

const [interval, timeout] = process.argv.slice(2).map(Number)
const server = require('http').createServer()
const io = require('socket.io').listen(server, { log: false, transports: ['websocket'] })
io.set('heartbeat interval', interval)
io.set('heartbeat timeout', timeout)
io.set('authorization', (handshake, accept) => accept(null, handshake.headers['ftrack-api-key'] === 'key'))

const subscribers = new Map()

function matches (subscription, topic) {
  const value = subscription.replace(/^topic=/, '')
  return value.endsWith('*') ? topic.startsWith(value.slice(0, -1)) : topic === value
}

io.sockets.on('connection', socket => {
  socket.on('ftrack.event', (event, answer) => {
    const { subscriber, subscription } = event.data || {}
    if (event.topic === 'ftrack.meta.subscribe') subscribers.set(subscriber.id, { subscription, socket })
    else if (event.topic === 'ftrack.meta.unsubscribe') subscribers.delete(subscriber.id)
    else if (event.topic === 'relay.hang-up') setImmediate(() => socket.disconnect())
    else {
      const sockets = [...subscribers]
        .filter(([id, s]) => matches(s.subscription, event.topic) && (!event.target || event.target === `id=${id}`))
        .map(([, s]) => s.socket)
      new Set(sockets).forEach(each => each.emit('ftrack.event', event))
    }
    answer({ success: true })
  })
  socket.on('disconnect', () => subscribers.forEach((s, id) => s.socket === socket && subscribers.delete(id)))
})

server.listen(0, '127.0.0.1', () => console.log(server.address().port))
