import { parent } from './children.ts'
import { connectAs } from './login.ts'
import type { GatewayWord, Login } from './protocol.ts'

/** What no gate at all costs: a queue subscriber that sends every job on, stores nothing and decides nothing. */
const { argument, say } = parent<Login, never, GatewayWord>()
const connection = await connectAs(argument)

connection.subscribe('job.>', {
  queue: 'relay',
  callback: (_error, message) => {
    connection.publish(`worker.helpdesk.${message.subject.slice('job.'.length)}`, message.data)
  },
})
await connection.flush()
say({ type: 'ready' })
