/** What MQTT 3.1.1 says a server MUST refuse: each entry makes bytes after which the connection must end. */
import {
  ackBytes,
  connectBytes,
  field,
  packet,
  publishBytes,
  remainingLength,
  subscribeBytes,
  unsubscribeBytes,
  word,
} from './packet-bytes.ts'
import type { Random } from './random.ts'

type Make = (random: Random) => Buffer

/** Texts that are no UTF-8, or hold what a field must not. */
const badTexts: readonly Buffer[] = [
  Buffer.of(0x61, 0x00),
  Buffer.of(0xed, 0xa0, 0x80),
  Buffer.of(0xed, 0xbf, 0xbf),
  Buffer.of(0xc0, 0x80),
  Buffer.of(0xff),
  Buffer.of(0xe2, 0x82),
  Buffer.of(0xf4, 0x90, 0x80, 0x80),
  Buffer.of(0xef, 0xbf, 0xbf),
  Buffer.of(0x61, 0x07),
]
const badFilters = ['a#', 'a/#/b', '+a', 'a/b+/c', '##', '#/']
const badText: Make = random => Buffer.concat([Buffer.from('f/'), random.pick(badTexts)])
const id = (random: Random) => random.int(1, 65_536)
const rest = (random: Random, max: number) => Buffer.alloc(random.int(1, max), random.int(0, 256))

/** To be sent by a client that was accepted. */
export const violations: Readonly<Record<string, Make>> = {
  'a second CONNECT': () => connectBytes({ clientId: 'fuzz-second' }),
  'packet type 0': random => packet(random.int(0, 16), rest(random, 8)),
  'packet type 15': random => packet(0xf0 | random.int(0, 16), rest(random, 8)),
  'a packet that only servers send': random =>
    packet(random.pick([0x20, 0x90, 0xb0, 0xd0]), word(id(random))),
  'PUBLISH with QoS 3': random => publishBytes('f/a', 'x', random.pick([6, 7, 14, 15]), id(random)),
  'PUBLISH with DUP and QoS 0': random => publishBytes('f/a', 'x', random.pick([8, 9])),
  'PUBLISH with packet id 0': random => publishBytes('f/a', 'x', random.pick([2, 3, 4, 5, 10, 12]), 0),
  'PUBLISH with an empty topic': () => publishBytes('', 'x'),
  // Topic aliases of MQTT 5: the properties' length comes where the payload begins, the topic is empty.
  'PUBLISH with a topic alias': random =>
    packet(0x32, Buffer.concat([field(''), word(id(random)), Buffer.of(3, 0x23, 0, 1), Buffer.from('x')])),
  'PUBLISH to a wildcard': random => publishBytes(random.pick(['f/#', '+', 'f/+/a', '#']), 'x'),
  'PUBLISH to bad text': random => publishBytes(badText(random), 'x'),
  'PUBLISH whose topic passes its end': random =>
    packet(0x30, Buffer.concat([word(random.int(4, 65_536)), Buffer.from('f/a')])),
  'PUBLISH that ends before its id': () => packet(0x32, field('f/a')),
  'PUBLISH of one byte': () => packet(0x30, Buffer.of(0)),
  'an acknowledgement with id 0': random => ackBytes(random.pick([4, 5, 6, 7]), 0),
  'an acknowledgement that is too long': random =>
    packet(random.pick([0x40, 0x50, 0x62, 0x70]), Buffer.concat([word(id(random)), rest(random, 40)])),
  'an acknowledgement that is too short': random =>
    packet(random.pick([0x40, 0x50, 0x62, 0x70]), Buffer.alloc(random.int(0, 2), 1)),
  'PUBREL without its flags': random => packet(0x60 | random.pick([0, 1, 3, 4, 15]), word(id(random))),
  'reserved flags of an acknowledgement': random =>
    packet(random.pick([0x40, 0x50, 0x70]) | random.int(1, 16), word(id(random))),
  'SUBSCRIBE without its flags': random =>
    packet(
      0x80 | random.pick([0, 1, 3, 8, 15]),
      Buffer.concat([word(id(random)), field('f/a'), Buffer.of(0)]),
    ),
  'SUBSCRIBE with packet id 0': () => subscribeBytes(0, [['f/a', 0]]),
  'SUBSCRIBE without a filter': random => subscribeBytes(id(random), []),
  'SUBSCRIBE with QoS 3 or more': random => subscribeBytes(id(random), [['f/a', random.int(3, 256)]]),
  'SUBSCRIBE to a filter that is none': random => subscribeBytes(id(random), [[random.pick(badFilters), 1]]),
  'SUBSCRIBE to bad text': random => subscribeBytes(id(random), [[badText(random), 1]]),
  'SUBSCRIBE to an empty filter': random =>
    subscribeBytes(id(random), [
      ['f/a', 0],
      ['', 0],
    ]),
  'SUBSCRIBE without the QoS of its last filter': random =>
    packet(0x82, Buffer.concat([word(id(random)), field('f/a'), Buffer.of(0), field('f/b')])),
  'UNSUBSCRIBE without a filter': random => unsubscribeBytes(id(random), []),
  'UNSUBSCRIBE of bad text': random => unsubscribeBytes(id(random), [badText(random)]),
  'UNSUBSCRIBE whose filter passes its end': random =>
    packet(0xa2, Buffer.concat([word(id(random)), word(random.int(4, 65_536)), Buffer.from('f/a')])),
  'PINGREQ with a body': random => packet(0xc0, rest(random, 8)),
  'PINGREQ or DISCONNECT with flags': random =>
    packet(random.pick([0xc0, 0xe0]) | random.int(1, 16), Buffer.alloc(0)),
  'a remaining length of five bytes': random =>
    Buffer.concat([
      Buffer.of(random.pick([0x30, 0x10, 0x82])),
      Buffer.of(0xff, 0xff, 0xff, 0xff, random.int(0, 256)),
    ]),
  'a packet beyond maxPacketBytes': random =>
    Buffer.concat([
      Buffer.of(0x30),
      remainingLength(random.int(2 * 1024 * 1024, 268_435_455)),
      rest(random, 2000),
    ]),
}

/** To be sent as the first bytes of a connection. */
export const firstViolations: Readonly<Record<string, Make>> = {
  'no CONNECT first': random =>
    random.pick([
      publishBytes('f/a', 'x', 2, 1),
      subscribeBytes(1, [['f/#', 1]]),
      ackBytes(6, 1),
      Buffer.of(0xc0, 0),
      Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ]),
  'the reserved flag of CONNECT': random => connectBytes({ flags: 1 | random.pick([0, 2]) }),
  'will QoS 3': () => connectBytes({ flags: 0x1e, rest: Buffer.concat([field('f/w'), field('x')]) }),
  'will flags without a will': random => connectBytes({ flags: 2 | random.pick([8, 16, 32]) }),
  'a password without a user': () => connectBytes({ flags: 0x42, rest: field('secret') }),
  'a protocol that is another': random =>
    connectBytes({ protocol: random.pick<string | Buffer>(['MQTX', '', 'mqtt', 'MQTT5', ...badTexts]) }),
  // MQTT 5 has one byte more (its properties); level 6 and above do not exist.
  'MQTT 5 or a level that is unknown': random =>
    connectBytes({ level: random.pick([0, 1, 2, 3, 5, 6, 127, 128, 131, 132, 255]) }),
  'CONNECT of MQTT 5 with properties': () =>
    packet(0x10, Buffer.concat([field('MQTT'), Buffer.of(5, 2, 0, 0, 5, 0x11, 0, 0, 0, 60), field('c')])),
  'a client id that is bad text': random => connectBytes({ clientId: random.pick(badTexts) }),
  'an empty client id without clean session': () => connectBytes({ flags: 0, clientId: '' }),
  'a client id beyond its bound': () => connectBytes({ clientId: 'x'.repeat(1_025) }),
  'a will to nowhere': random =>
    connectBytes({
      flags: 6,
      rest: Buffer.concat([field(random.pick<string | Buffer>(['', '#', 'a/+', ...badTexts])), field('x')]),
    }),
  'CONNECT with bytes after its end': random => connectBytes({ rest: rest(random, 100) }),
  'CONNECT without what its flags promise': random =>
    connectBytes({ flags: random.pick([0xc2, 0x82, 0x06, 0xc6]) }),
  'CONNECT with flags in its first byte': random => {
    const bytes = Buffer.from(connectBytes())
    bytes[0] = 0x10 | random.int(1, 16)
    return bytes
  },
  'a first packet beyond 16 KiB': random =>
    Buffer.concat([Buffer.of(0x10), remainingLength(random.int(16_384, 268_435_455)), rest(random, 2000)]),
}
