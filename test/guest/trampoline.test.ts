import t from 'tap'
import type { Chunk } from '#guest/chunk.ts'
import { regionBytes, wordLeft, wordPaused } from '#guest/region.ts'
import { Trampoline, type TrampolineParts } from '#guest/trampoline.ts'

t.test(
  'a chunk whose slice is over before its first item says how much is left, so that it is not taken for done',
  async t => {
    const memory = new SharedArrayBuffer(regionBytes)
    const parts = {
      memory,
      output: { taken() {} },
      // The thread stood still between the entry and its first item.
      clock: { begin: () => Number.POSITIVE_INFINITY },
    }
    const trampoline = new Trampoline(parts as unknown as TrampolineParts)
    trampoline.run({ left: 3 } as Chunk)
    const words = new Int32Array(memory, 0, 8)
    t.equal(words[wordLeft], 3)
    t.equal(words[wordPaused], 1)
  },
)
