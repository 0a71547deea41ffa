import t from 'tap'
import { commands } from '#cli/commands.ts'
import { problemOfNode } from '#cli/node-version.ts'
import { command } from './command.ts'

t.test('without arguments the commands are listed', async t => {
  const { code, stdout, stderr } = await command([])
  t.equal(code, 0)
  t.equal(stderr, '')
  for (const name of Object.keys(commands)) t.match(stdout, new RegExp(`^  ${name} `, 'm'))
  t.match(stdout, /Exit codes:/)
})

t.test('--version names Fescue, Node and the platform', async t => {
  const { code, stdout } = await command(['--version'])
  t.equal(code, 0)
  t.match(stdout, /^fescue \d+\.\d+\.\d+ \(node \d+\.\d+\.\d+, linux-\w+\)\n$/)
})

t.test('an unknown command is a usage error that names the nearest', async t => {
  const { code, stdout, stderr } = await command(['stauts'])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr, /did you mean "status"/)
  const other = await command(['constructor'])
  t.equal(other.code, 2, 'a property of Object is no command')
})

t.test('an unknown option and a missing argument are usage errors', async t => {
  const unknown = await command(['status', '--jsno'])
  t.equal(unknown.code, 2)
  t.match(unknown.stderr, /fescue status: unknown option '--jsno'/)
  t.match(unknown.stderr, /--json/, 'with the nearest option')
  t.equal((await command(['invoke'])).code, 2)
  const nested = await command(['devices', 'add'])
  t.match(nested, { code: 2, stderr: /^fescue devices add: missing required argument 'name'/ }, 'as typed')
})

for (const name of Object.keys(commands)) {
  t.test(`fescue ${name} --help shows usage, examples and exit codes`, async t => {
    const { code, stdout, stderr } = await command([name, '--help'])
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, new RegExp(`^Usage: fescue ${name} `))
    t.match(stdout, /Examples:\n {2}fescue /)
    t.match(stdout, /Exit codes:/)
    t.equal((await command(['help', name])).stdout, stdout, 'help NAME says the same')
  })
}

t.test('an older Node is told to run through npm', async t => {
  t.equal(problemOfNode('24.0.0'), undefined)
  t.equal(problemOfNode('26.1.0'), undefined)
  t.match(problemOfNode('22.19.0'), /Node 22\.19\.0.*npm start/)
  t.notMatch(problemOfNode('22.19.0'), /\n/, 'in one line')
})
