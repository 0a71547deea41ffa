// aedes as its README starts it. --port N --concurrency N --nodelay --level FOLDER
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    concurrency: { type: 'string', default: '100' },
    nodelay: { type: 'boolean', default: false },
    level: { type: 'string' },
  },
})

async function persistence(folder) {
  if (folder === undefined) return {}
  const [{ default: onLevel }, { Level }] = await Promise.all([
    import('aedes-persistence-level'),
    import('level'),
  ])
  return { persistence: onLevel(new Level(folder)) }
}

const aedes = await Aedes.createBroker({
  concurrency: Number(values.concurrency),
  ...(await persistence(values.level)),
})
const server = createServer({ noDelay: values.nodelay }, aedes.handle)
server.listen(Number(values.port), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
