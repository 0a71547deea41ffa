/**
 * The JSON Schema (draft-07) of `function.yaml`: checks, types and editors' completion come from this one
 * text. `manifest.schema.json` beside it is the same for editors, and a test holds the two together.
 */
import { byteSizePattern, durationPattern } from '#base/quantity.ts'

const duration = {
  type: ['string', 'integer'],
  pattern: durationPattern,
  minimum: 0,
  examples: ['3s', '500ms'],
} as const

export const manifestSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Fescue function manifest (function.yaml)',
  type: 'object',
  additionalProperties: false,
  properties: {
    $schema: { type: 'string', description: 'Address of this schema, for editors.' },
    description: { type: 'string', maxLength: 1024, description: 'What the function does, in one line.' },
    handler: {
      type: 'string',
      description:
        'FILE.EXPORT: the file without its ending and the exported function. Default index.handler.',
      pattern: '^[A-Za-z0-9_][A-Za-z0-9_/-]*\\.[A-Za-z_$][A-Za-z0-9_$]*$',
      examples: ['index.handler'],
    },
    triggers: {
      type: 'array',
      maxItems: 64,
      description: 'What starts the function. Without triggers it runs only when it is invoked.',
      items: {
        type: 'object',
        additionalProperties: false,
        properties: {
          topic: {
            type: 'string',
            description: 'MQTT topic filter; each matching message is one invocation.',
          },
          ttl: {
            ...duration,
            examples: ['30s', '10m'],
            description:
              'Age at which a waiting message is of no use any more: it is dropped and counted. Default: none.',
          },
          qos: {
            type: 'integer',
            enum: [0, 1, 2],
            description: 'The highest QoS that the event is given; default 2 (as published).',
          },
          retained: {
            type: 'boolean',
            description: 'Deliver the retained values once when the filter is first added. Default true.',
          },
          schedule: {
            type: 'string',
            description:
              'Cron expression "second minute hour day month weekday", or @hourly, @daily, @weekly, @monthly.',
          },
          timezone: {
            type: 'string',
            description: 'IANA time zone of the schedule. Default: that of the function.',
          },
          name: {
            type: 'string',
            pattern: '^[A-Za-z0-9._-]{1,64}$',
            examples: ['nightly'],
            description:
              'Name of the schedule, unique in the function: topic $schedule/NAME. Default: the name of the function.',
          },
        },
      },
    },
    permissions: {
      type: 'object',
      additionalProperties: false,
      description: 'What the function may do; without an entry it may not.',
      properties: {
        publish: {
          type: 'array',
          maxItems: 64,
          items: { type: 'string' },
          description: 'Topic filters that the function may publish to.',
        },
        publishPerSecond: {
          type: 'integer',
          minimum: 1,
          maximum: 1_000_000,
          description:
            'Messages a second that it may publish on average; beyond that its next run waits. Default 100000.',
        },
      },
    },
    environment: {
      type: 'object',
      maxProperties: 128,
      description: 'process.env of the function; values are texts.',
      additionalProperties: { type: ['string', 'number', 'boolean'] },
    },
    timeout: { ...duration, description: 'Longest run of the handler, 1ms to 15m. Default 3s.' },
    memory: {
      type: ['string', 'integer'],
      pattern: byteSizePattern,
      examples: ['32MiB'],
      description: 'Heap of the isolate, 8MiB to 1GiB; a bare number is bytes. Default 32MiB.',
    },
    concurrency: {
      type: 'integer',
      minimum: 1,
      maximum: 64,
      description: 'Messages that may be in the handler at once. Default 1: in order, one at a time.',
    },
    orderBy: {
      type: 'string',
      enum: ['topic'],
      description: 'With concurrency: messages of one topic stay in order. Without it there is no order.',
    },
    retry: {
      type: 'object',
      additionalProperties: false,
      description: 'What happens when the handler fails. Then the message becomes a dead letter.',
      properties: {
        attempts: {
          type: 'integer',
          minimum: 1,
          maximum: 100,
          description: 'Runs of a message in all, the first included. Default 3.',
        },
        backoff: {
          ...duration,
          description:
            'Wait before the second attempt; doubles each time, with jitter, up to 1m. Default 1s.',
        },
      },
    },
    idle: {
      ...duration,
      description: 'Time without messages after which the isolate is dropped. Default 60s.',
    },
    payload: {
      type: 'string',
      enum: ['json', 'binary'],
      description:
        'How the handler gets the payload: parsed JSON (text when it is none) or a Buffer. Default json.',
    },
    isolation: {
      type: 'string',
      enum: ['shared', 'process'],
      description: 'process: an executor process of its own. Default shared.',
    },
    timezone: {
      type: 'string',
      description: 'IANA time zone inside the function and of its schedules. Default UTC.',
    },
    allow: {
      type: 'array',
      uniqueItems: true,
      description: 'Language features that are absent unless asked for.',
      items: { type: 'string', enum: ['wasm', 'sharedMemory', 'weakRefs'] },
    },
  },
} as const
