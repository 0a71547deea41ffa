import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { compileCacheFolder, relaunchAsServer, serverFlags } from '#cli/relaunch.ts'

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

t.test('a server starts over with the cache and its flags, and everything else as it was', async t => {
  const { calls, self } = noting({ HOME: '/home/x', XDG_CACHE_HOME: '/cache' })
  relaunchAsServer(self)
  t.same(calls, [
    [
      '/node',
      ['/node', '--flag', ...serverFlags, '/main.ts', 'start', '--data', 'x'],
      { ...self.env, MALLOC_ARENA_MAX: '2', NODE_COMPILE_CACHE: '/cache/fescue' },
    ],
  ])
})

t.test('it does not twice, nor where a parent listens, nor where there is no execve', async t => {
  const settled = noting({ NODE_COMPILE_CACHE: '/cache' }, { execArgv: [...serverFlags] })
  relaunchAsServer(settled.self)
  t.same(settled.calls, [])
  const listened = noting({ NODE_CHANNEL_FD: '3' })
  relaunchAsServer(listened.self)
  t.same(listened.calls, [])
  relaunchAsServer(noting({}, { execve: undefined }).self)
})

t.test("a user's own choice of cache and flags stays", async t => {
  const { calls, self } = noting({ NODE_DISABLE_COMPILE_CACHE: '1', MALLOC_ARENA_MAX: '8' })
  relaunchAsServer(self)
  t.same(calls[0]?.[2], self.env)
  const flags = noting({ NODE_OPTIONS: '--max-semi-space-size=16', XDG_CACHE_HOME: '/cache' })
  relaunchAsServer(flags.self)
  t.same(flags.calls[0]?.[1], ['/node', '--flag', '/main.ts', 'start', '--data', 'x'])
})

t.test('the cache is where caches of a user are', async t => {
  t.equal(compileCacheFolder({}), join(homedir(), '.cache', 'fescue'))
})
