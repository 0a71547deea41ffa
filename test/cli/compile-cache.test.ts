import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { compileCacheFolder, replaceWithCached } from '#cli/compile-cache.ts'

/** A process that notes what it would be replaced by. */
function noting(env: Record<string, string> = {}, more: object = {}) {
  const calls: unknown[][] = []
  const self = {
    env,
    execPath: '/node',
    execArgv: ['--flag'],
    argv: ['/node', '/main.ts', 'start', '--data', 'x'],
    execve: (...args: unknown[]) => calls.push(args),
    ...more,
  }
  return { calls, self }
}

t.test('a server starts over with the cache, and everything else as it was', async t => {
  const { calls, self } = noting({ HOME: '/home/x', XDG_CACHE_HOME: '/cache' })
  replaceWithCached(self)
  t.same(calls, [
    [
      '/node',
      ['/node', '--flag', '/main.ts', 'start', '--data', 'x'],
      { ...self.env, NODE_COMPILE_CACHE: '/cache/fescue' },
    ],
  ])
})

t.test(
  'it does not where the cache is on or unwanted, where a parent listens, or where there is no execve',
  async t => {
    for (const name of ['NODE_COMPILE_CACHE', 'NODE_DISABLE_COMPILE_CACHE', 'NODE_CHANNEL_FD']) {
      const { calls, self } = noting({ [name]: '1' })
      replaceWithCached(self)
      t.same(calls, [], name)
    }
    const { self } = noting({}, { execve: undefined })
    replaceWithCached(self)
  },
)

t.test('the cache is where caches of a user are', async t => {
  t.equal(compileCacheFolder({}), join(homedir(), '.cache', 'fescue'))
})
