/** Documents with places: every key and value is found, and hostile or broken text is refused with its place. */
import fc from 'fast-check'
import t from 'tap'
import { checkDocument, compileSchema } from '#base/schema.ts'
import { documentMaxBytes, parseDocument, pathText, problemsMax, problemsText } from '#base/yaml-document.ts'

t.test('keys and values have lines and columns from 1', async t => {
  const document = parseDocument('f.yaml', 'a:\n  b: [x, {c: 1}]\n# comment\n"d e": 2\n')
  t.same(document.value, { a: { b: ['x', { c: 1 }] }, 'd e': 2 })
  t.same(document.positionOf(['a', 'b']), { line: 2, column: 3 })
  t.same(document.positionOf(['a', 'b'], 'value'), { line: 2, column: 6 })
  t.same(document.positionOf(['a', 'b', 1, 'c'], 'value'), { line: 2, column: 14 })
  t.equal(document.whereOf(['d e']), 'f.yaml:4:1')
  t.equal(document.whereOf(['a', 'nope', 'deeper']), 'f.yaml:1:1', 'the nearest parent that exists')
})

t.test('an empty document is an empty map', async t => {
  for (const text of ['', '\n', '# nothing\n', '---\n']) {
    const { value, problems } = parseDocument('f', text)
    t.same(value, {})
    t.same(problems, [])
  }
})

t.test('broken text has places: syntax, duplicate keys, unknown aliases and tags', async t => {
  const broken = {
    'a: [1\nb: 2': /^f:2:1: /,
    'a: 1\na: 2': /^f:2:1: Map keys must be unique/,
    'a: *b': /^f:1:\d: Unresolved alias/,
    'a: !!js/function x': /^f:1:4: Unresolved tag/,
    'a: 1\n---\nb: 2': /^f:\d:1: /,
  }
  for (const [text, expected] of Object.entries(broken))
    t.match(problemsText(parseDocument('f', text).problems), expected, text)
})

t.test('a bomb of aliases and a document beyond the bound are refused', async t => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`).join('\n')}`
  t.ok(parseDocument('f', bomb).problems.length > 0)
  t.match(
    problemsText(parseDocument('f', `a: ${'x'.repeat(documentMaxBytes)}`).problems),
    /^f:1:1: is larger than/,
  )
})

t.test('JSON is YAML: what JSON.stringify writes is read back', async t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), value => {
      const wrapped = { value }
      const document = parseDocument('f.json', JSON.stringify(wrapped, undefined, 2))
      t.same(document.problems, [])
      return JSON.stringify(document.value) === JSON.stringify(wrapped)
    }),
    { numRuns: 100, examples: [[{ __proto__: null, a: 1 }]] },
  )
})

t.test('paths are written as people write them', async t => {
  t.equal(pathText(['routes', 0, 'to']), 'routes[0].to')
  t.equal(pathText([]), '')
})

t.test('schema problems: what is allowed, the nearest name, all at once', async t => {
  const check = await compileSchema({
    type: 'object',
    additionalProperties: false,
    required: ['name'],
    properties: {
      name: { type: 'string', pattern: '^[a-z]+$', examples: ['kitchen'] },
      size: { type: ['string', 'integer'], minimum: 1, examples: ['1MiB'] },
      mode: { enum: ['slow', 'fast'] },
      list: { type: 'array', items: { type: 'boolean' }, maxItems: 2 },
      key: { type: 'string', writeOnly: true },
    },
  })
  const told = (text: string) => problemsText(checkDocument(parseDocument('f', text), check)).split('\n')
  t.same(told('name: kitchen'), [''])
  t.same(told('{}'), ['f:1:1: the file needs the key "name"'])
  t.same(told('nmae: x\nsize: 0\nmode: fats\nlist: [yes, true]\nkey: 7'), [
    'f:1:1: the file needs the key "name"',
    'f:1:1: unknown key nmae: did you mean name?',
    'f:2:7: size must be at least 1, not 0',
    'f:3:7: mode must be one of slow, fast, not "fats": did you mean fast?',
    'f:4:8: list[0] must be true or false, not "yes"',
    'f:5:6: key must be text',
  ])
  t.same(told('name: A1'), ['f:1:7: name must look like kitchen, not "A1"'])
  t.same(told('name:'), ['f:1:6: name is empty: give it text (like "kitchen") or remove the key'])
  t.same(told('name: a\nzzz: 1'), ['f:2:1: unknown key zzz: allowed here: name, size, mode, list, key'])
  t.match(told('name: a\nlist: [true, true, true]'), [/^f:2:7: list must NOT have more than 2 items/])
  const many = Array.from({ length: 200 }, (_, i) => `k${i}: 1`).join('\n')
  t.equal(told(many).length, problemsMax)
})
