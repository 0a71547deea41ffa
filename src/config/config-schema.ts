/**
 * The device config file as a JSON Schema: each key declared once, with its default, its examples and the text
 * that editors and `config explain` show.
 *
 * `device-config.schema.json` is this object as a file, for editors; a test holds the two together. The type of
 * a checked file is derived from it, so a key cannot exist in one place only.
 */
import type { FromSchema } from 'json-schema-to-ts'
import { byteSizePattern, durationPattern } from '#base/quantity.ts'

const name = {
  type: 'string',
  pattern: '^[A-Za-z0-9._-]{1,64}$',
  examples: ['greenhouse-1'],
} as const

const byteSize = {
  type: ['string', 'integer'],
  minimum: 0,
  pattern: byteSizePattern,
  examples: ['64MiB', '1GiB'],
} as const

const duration = {
  type: ['string', 'integer'],
  minimum: 0,
  pattern: durationPattern,
  examples: ['10s', '7d'],
} as const

const port = { type: 'integer', minimum: 0, maximum: 65_535 } as const
const path = { type: 'string', minLength: 1 } as const
const filter = { type: 'string', minLength: 1, examples: ['sensors/+/temperature', 'alarms/#'] } as const

const uplink = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  properties: {
    connector: {
      type: 'string',
      enum: ['http', 'mqtt'],
      default: 'http',
      description:
        'How records travel. http: batches of CloudEvents, sent by POST. mqtt: one message of QoS 1 each, to an MQTT broker.',
    },
    url: {
      type: 'string',
      pattern: '^(https?|mqtts?)://\\S+$',
      examples: ['https://cloud.example.com/v1/events', 'mqtts://broker.example.com:8883'],
      description: 'Where records are sent to.',
    },
    token: {
      type: 'string',
      minLength: 1,
      writeOnly: true,
      description: 'Bearer token. Better kept in a file: tokenFile.',
    },
    tokenFile: {
      ...path,
      examples: ['/run/secrets/uplink-token'],
      description: 'File that holds the bearer token; read at the start and at each reload.',
    },
    tls: {
      type: 'object',
      additionalProperties: false,
      description: 'Certificates of an https or mqtts connection.',
      properties: {
        ca: { ...path, description: 'PEM file of the authorities to trust, instead of those of Node.' },
        cert: { ...path, description: 'PEM file of the client certificate; needs key.' },
        key: { ...path, description: 'PEM file of the key of the client certificate.' },
      },
    },
    clientId: {
      type: 'string',
      minLength: 1,
      maxLength: 128,
      examples: ['greenhouse-1'],
      description:
        'mqtt: client id. Default: the name of the device. A broker knows one client of an id at a time.',
    },
    username: { type: 'string', minLength: 1, description: 'mqtt: user name. Default: none.' },
    password: {
      type: 'string',
      minLength: 1,
      writeOnly: true,
      description: 'mqtt: password. Better kept in a file: passwordFile.',
    },
    passwordFile: {
      ...path,
      examples: ['/run/secrets/broker-password'],
      description: 'mqtt: file that holds the password; read once at start.',
    },
    topic: {
      type: 'string',
      minLength: 1,
      examples: ['{topic}', 'sites/{device}/{topic}'],
      description:
        'mqtt: topic of a record at the broker, made of its own and the device. Default: "{topic}".',
    },
    format: {
      type: 'string',
      enum: ['raw', 'cloudevents'],
      description:
        'mqtt: raw: the payload as it is, its id in the user property fescue-id (MQTT 5). cloudevents: a CloudEvent in JSON with the id in it. Default: raw.',
    },
    qos: {
      type: 'integer',
      enum: [1],
      description: 'mqtt: always 1, because the acknowledgement of the broker is what counts.',
    },
    downlink: {
      type: 'array',
      maxItems: 50,
      description: 'mqtt: what the broker sends down to this device. Default: nothing.',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['filter'],
        properties: {
          filter: { ...filter, description: 'MQTT topic filter at the broker, subscribed with QoS 1.' },
          prefix: {
            type: 'string',
            default: '',
            examples: ['cloud/'],
            description: 'What goes before the topic when the message is published here.',
          },
        },
      },
    },
  },
} as const

export const configSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Fescue device config',
  type: 'object',
  additionalProperties: false,
  properties: {
    device: { ...name, description: 'Name of this device, part of every record id. Default: the host name.' },
    data: {
      ...path,
      default: 'data',
      description:
        'Folder of everything that is kept. A path in this file starts at the folder of this file.',
    },
    functions: { ...path, default: 'functions', description: 'Folder of the functions.' },
    mqtt: {
      type: 'object',
      additionalProperties: false,
      default: {},
      description: 'The MQTT 3.1.1 listener.',
      properties: {
        host: {
          type: 'string',
          minLength: 1,
          default: '127.0.0.1',
          examples: ['0.0.0.0'],
          description: 'Address to listen on. Any but the loopback needs a user: fescue devices add NAME.',
        },
        port: { ...port, default: 1883, description: 'TCP port; 0 picks a free one.' },
        maxPacketBytes: {
          ...byteSize,
          default: '1MiB',
          description: 'Largest MQTT packet; a larger one closes its connection.',
        },
      },
    },
    tls: {
      type: 'object',
      additionalProperties: false,
      required: ['cert', 'key'],
      description: 'Makes the MQTT port speak TLS (usually on 8883); the API stays on the loopback.',
      properties: {
        cert: { ...path, description: 'PEM file of the certificate.' },
        key: { ...path, description: 'PEM file of its key.' },
        ca: {
          ...path,
          description: 'PEM file of authorities; with it every client must show a certificate of theirs.',
        },
      },
    },
    http: {
      type: 'object',
      additionalProperties: false,
      default: {},
      description: 'The listener of the API and of the page. The API also listens on DATA/api.sock.',
      properties: {
        host: { type: 'string', minLength: 1, default: '127.0.0.1', description: 'Address to listen on.' },
        port: { ...port, default: 8484, description: 'TCP port; 0 picks a free one.' },
        hosts: {
          type: 'array',
          items: { type: 'string', minLength: 1 },
          default: [],
          examples: [['greenhouse.local']],
          description: 'Host names by which the API may be called, besides localhost and addresses.',
        },
      },
    },
    uplink: { ...uplink, description: 'The cloud, when there is one only: short for uplinks.default.' },
    uplinks: {
      type: 'object',
      propertyNames: { pattern: name.pattern },
      additionalProperties: uplink,
      default: {},
      description: 'Clouds by name.',
    },
    routes: {
      type: 'array',
      default: [],
      description: 'What leaves the device, and to which uplink. Every matching route keeps its own copy.',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['filter'],
        properties: {
          name: {
            type: 'string',
            pattern: '^[A-Za-z0-9._-]{1,55}$',
            examples: ['alarms'],
            description: 'Names its log (outbox.NAME). Default: made of "to" and "filter".',
          },
          filter: { ...filter, description: 'MQTT topic filter of the messages that leave.' },
          to: { ...name, default: 'default', description: 'Name of the uplink.' },
          priority: {
            type: 'integer',
            minimum: 0,
            maximum: 9,
            default: 5,
            description: '9 leaves first; order holds within a route.',
          },
          ttl: { ...duration, description: 'Age after which a record is dropped unsent. Default: none.' },
          maxBytes: { ...byteSize, description: 'Bound of its log. Default: limits.outbox.' },
          overflow: {
            type: 'string',
            enum: ['block', 'drop-oldest', 'drop-newest', 'keep-latest'],
            default: 'drop-oldest',
            description: 'What a full log does; whatever is dropped stands in the loss ledger.',
          },
        },
      },
    },
    durability: {
      type: 'array',
      default: [],
      description:
        'What an acknowledgement promises, by topic; the first match counts. Default: power for QoS 1 and 2, process for QoS 0.',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['filter', 'class'],
        properties: {
          filter: { ...filter, description: 'MQTT topic filter.' },
          class: {
            type: 'string',
            enum: ['power', 'process', 'memory'],
            description:
              'power: survives a power cut. process: survives a crash of the daemon. memory: neither.',
          },
        },
      },
    },
    limits: {
      type: 'object',
      additionalProperties: false,
      default: {},
      description: 'Bounds of what is kept and waited for.',
      properties: {
        inbox: {
          ...byteSize,
          default: '64MiB',
          description: 'Messages waiting for one function; full: block.',
        },
        session: {
          ...byteSize,
          default: '16MiB',
          description: 'Messages waiting for one persistent MQTT session; full: drop-oldest.',
        },
        sessionExpiry: {
          ...duration,
          default: '7d',
          description: 'A persistent session whose client stays away this long is forgotten.',
        },
        outbox: {
          type: ['string', 'integer'],
          minimum: 0,
          pattern: `${byteSizePattern}|^\\d{1,2}%$`,
          default: '25%',
          examples: ['25%', '1GiB'],
          description:
            'Records waiting for the cloud, all routes without a `maxBytes` of their own together, each an equal part; a share is of the disk free at the first start.',
        },
        deadLetters: {
          ...byteSize,
          default: '64MiB',
          description: 'Records of one function whose attempts are spent; full: drop-oldest.',
        },
        ledger: { ...byteSize, default: '16MiB', description: 'The loss ledger; full: drop-oldest.' },
        freeDiskMin: {
          ...byteSize,
          default: '256MiB',
          description: 'Free disk below which no new message is accepted.',
        },
        blockMs: {
          ...duration,
          default: '10s',
          description: 'Longest wait of a publisher for room in a full log; then its connection is closed.',
        },
        willGrace: {
          ...duration,
          default: '30s',
          description:
            'After an unclean start wills are published this much later, unless the client came back.',
        },
      },
    },
    log: {
      type: 'object',
      additionalProperties: false,
      default: {},
      description: 'The log of the daemon.',
      properties: {
        level: {
          type: 'string',
          enum: ['debug', 'info', 'warn', 'error'],
          default: 'info',
          description: 'Least level that is written.',
        },
      },
    },
    users: {
      type: 'array',
      default: [],
      description: 'MQTT users besides the devices added with fescue devices add.',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['name'],
        properties: {
          name: { ...name, description: 'MQTT user name.' },
          password: {
            type: 'string',
            minLength: 1,
            writeOnly: true,
            description: 'The password. Better kept in a file: passwordFile.',
          },
          passwordFile: {
            ...path,
            examples: ['/run/secrets/mqtt-password'],
            description: 'File that holds the password; read at the start and at each reload.',
          },
        },
      },
    },
  },
} as const

/** A checked file with its defaults filled in, before units and paths are resolved. */
export type RawConfig = FromSchema<typeof configSchema>
