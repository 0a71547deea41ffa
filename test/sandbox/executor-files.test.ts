import { spawnSync } from 'node:child_process'
import t from 'tap'
import { executorCommand } from '#sandbox/executor-command.ts'
import { bufferLibrary, checkoutFiles, executorSources, nativeModule } from '#sandbox/executor-files.ts'

t.test('top-level names are unique among the executor’s sources, which are one text', async t => {
  const seen = new Map<string, string>()
  for (const [file, source] of executorSources())
    for (const [, name = ''] of source.matchAll(
      /^(?:export )?(?:async )?(?:const|let|class|function) (\w+)/gm,
    )) {
      t.equal(seen.get(name), undefined, `${name} of ${file}`)
      seen.set(name, file)
    }
  const files = [...executorSources().keys()]
  t.equal(files.at(-1), 'sandbox/executor/main.ts')
  for (const file of files)
    t.match(file, /^(base\/wire|guest|sandbox\/executor)\//, 'it holds no code of the daemon')
})

t.test('the text is a module that Node runs as it is', async t => {
  const { program } = checkoutFiles()
  if (program.kind !== 'text') throw new Error('a checkout has a text')
  t.notMatch(program.text, /from '[#.]/)
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '--check', '-'], {
    input: program.text,
  })
  t.equal(stderr.toString(), '')
  t.ok(program.text.length < 90_000, `${program.text.length} characters`)
})

t.test('an executor may read its native module only', async t => {
  const command = executorCommand(checkoutFiles(), 'UTC')
  t.same(
    command.filter(each => each.startsWith('--allow')),
    ['--allow-addons', `--allow-fs-read=${nativeModule()}`],
  )
})

t.test('making the texts leaves no warning behind, and keeps those of others', async t => {
  const warnings: string[] = []
  process.on('warning', warning => warnings.push(warning.message))
  checkoutFiles()
  process.emitWarning('mine')
  await new Promise(resolve => setImmediate(resolve))
  t.same(warnings, ['mine'])
})

t.test('the library for Buffer is an expression', async t => {
  const Made = new Function(`return ${bufferLibrary()}`)()
  t.equal(Made.from('hé').toString('hex'), Buffer.from('hé').toString('hex'))
})
