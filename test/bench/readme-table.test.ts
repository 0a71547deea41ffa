/** The tables of the README are those that the committed results yield, to the letter. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tableIn, withTable } from '../../bench/readme-table.ts'
import { readResult } from '../../bench/result.ts'
import { scenarios } from '../../bench/scenarios.ts'
import { renderTable } from '../../bench/table.ts'
import { root } from '../harness/processes.ts'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

for (const profile of ['box', 'pi'] as const) {
  t.test(
    `the README has the table of the newest result of the profile ${profile}, to the letter`,
    async t => {
      const newest = globSync(`bench/results/bench-${profile}-*.json`, { cwd: root }).toSorted().at(-1)
      const found = tableIn(readme, profile)
      t.equal(found?.file, newest)
      if (found === undefined) return
      const result = readResult(join(root, found.file))
      t.equal(result.profile, profile)
      t.equal(found.table, renderTable(result, scenarios))
      t.notMatch(result.commit, '+', 'the sources were those of the commit')
    },
  )
}

t.test('a table takes its place, again and again, and leaves the rest alone', async t => {
  const empty = 'before\n<!-- bench box -->\n<!-- end of bench box -->\nafter\n'
  const once = withTable(empty, 'box', 'a.json', '| $& | first |')
  t.same(tableIn(once, 'box'), { file: 'a.json', table: '| $& | first |' })
  const twice = withTable(once, 'box', 'b.json', '| second |')
  t.same(tableIn(twice, 'box'), { file: 'b.json', table: '| second |' })
  t.match(twice, /^before\n.*\nafter\n$/s)
  t.equal(tableIn(twice, 'pi'), undefined)
  t.throws(() => withTable(twice, 'pi', 'c.json', ''), /no line/)
})
