import t from 'tap'
import { writeTable } from '#cli/table.ts'

t.test('a table is lines and tabs in a pipe, and aligned on a terminal', async t => {
  let text = ''
  const write = (chunk: unknown) => {
    text += String(chunk)
    return true
  }
  writeTable({ write }, ['name', 'n'], [['one', '1']])
  t.equal(text, 'name\tn\none\t1\n')
  text = ''
  writeTable({ write, isTTY: true }, ['name', 'n'], [['one', '1']])
  t.match(text, /name +n/)
  t.notOk(text.includes('\u001b'))
})
