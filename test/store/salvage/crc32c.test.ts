/** The checksum against known values, and the bit that it finds. */
import t from 'tap'
import { check, crc32c, unmask } from '#store/salvage/crc32c.ts'
import { seededRandom } from '../../harness/random.ts'

const mask = (crc: number): number => ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0

t.test('the checksum is CRC-32C', async t => {
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  t.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  t.equal(crc32c(Buffer.alloc(0)), 0)
  t.equal(unmask(mask(0xe3069283)), 0xe3069283)
})

t.test('one flipped bit is found, in the bytes or in the checksum; two are never taken for one', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  for (let round = 0; round < 200; round++) {
    const bytes = Buffer.from(Array.from({ length: random.int(2, 600) }, () => random.int(0, 256)))
    const stored = mask(crc32c(bytes))
    t.same(check(bytes, stored), { kind: 'whole' })
    const bit = random.int(0, 32)
    t.same(check(bytes, (stored ^ (1 << bit)) >>> 0), {
      kind: 'checksum-flipped',
      flip: { at: bit >>> 3, mask: 1 << (bit & 7) },
    })
    const [at, other] = [random.int(0, bytes.length), random.int(0, bytes.length)]
    const flip = { at, mask: 1 << random.int(0, 8) }
    bytes[at] = (bytes[at] ?? 0) ^ flip.mask
    t.same(check(bytes, stored), { kind: 'flipped', flip })
    bytes[other] = (bytes[other] ?? 0) ^ (other === at ? flip.mask ^ 0x81 : 1)
    const twice = check(bytes, stored)
    if (other !== at) t.same(twice, { kind: 'damaged' })
  }
})
