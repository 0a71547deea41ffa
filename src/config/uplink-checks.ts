/** Cross checks of the uplinks: what goes with which connector, and what excludes each other. */
import { filtersOverlap, problemOfFilter, problemOfTopic } from '#base/topics.ts'
import type { KeyPath } from '#base/yaml-document.ts'
import type { RawConfig } from './config-schema.ts'
import { type Finding, finding } from './finding.ts'

type RawUplink = NonNullable<RawConfig['uplink']>

interface Placed {
  readonly path: KeyPath
  readonly uplink: RawUplink
}

const schemes = { http: ['http:', 'https:'], mqtt: ['mqtt:', 'mqtts:'] } as const
const httpKeys = ['token', 'tokenFile'] as const
const mqttKeys = [
  'clientId',
  'username',
  'password',
  'passwordFile',
  'topic',
  'format',
  'qos',
  'downlink',
] as const

export function uplinkFindings(config: RawConfig): readonly Finding[] {
  const found: Finding[] = []
  if (config.uplink !== undefined && config.uplinks.default !== undefined)
    found.push(finding(['uplink'], 'is short for uplinks.default, which is there too: remove one of them'))
  const all: Placed[] = Object.entries(config.uplinks).map(([name, uplink]) => ({
    path: ['uplinks', name],
    uplink,
  }))
  if (config.uplink !== undefined) all.push({ path: ['uplink'], uplink: config.uplink })
  for (const placed of all)
    found.push(
      ...secretFindings(placed),
      ...urlFindings(placed),
      ...keyFindings(placed),
      ...mqttFindings(placed),
    )
  return [...found, ...twinFindings(all)]
}

function secretFindings({ path, uplink }: Placed): Finding[] {
  const found: Finding[] = []
  if (uplink.token !== undefined && uplink.tokenFile !== undefined)
    found.push(finding([...path, 'token'], 'and tokenFile exclude each other: remove one of them'))
  if (uplink.password !== undefined && uplink.passwordFile !== undefined)
    found.push(finding([...path, 'password'], 'and passwordFile exclude each other: remove one of them'))
  if ((uplink.tls?.cert === undefined) !== (uplink.tls?.key === undefined))
    found.push(finding([...path, 'tls'], 'needs cert and key together'))
  return found
}

function urlFindings({ path, uplink: { url, connector, tls } }: Placed): Finding[] {
  if (!URL.canParse(url)) return [finding([...path, 'url'], 'is not a URL')]
  const { protocol, username } = new URL(url)
  const known: readonly string[] = schemes[connector]
  if (!known.includes(protocol)) {
    const mend = protocol.startsWith('mqtt') ? 'add connector: mqtt' : `use ${known.join('// or ')}//`
    return [finding([...path, 'url'], `does not go with connector ${connector}: ${mend}`)]
  }
  if (connector === 'mqtt' && username !== '')
    return [finding([...path, 'url'], 'holds a user name: use the keys username and passwordFile')]
  if (tls !== undefined && protocol === known[0])
    return [finding([...path, 'tls'], `has no effect on an ${known[0]}// url: use ${known[1]}//`)]
  return []
}

/** Keys of another connector. */
function keyFindings({ path, uplink }: Placed): Finding[] {
  const keys = uplink.connector === 'http' ? mqttKeys : httpKeys
  const other = uplink.connector === 'http' ? 'mqtt' : 'http'
  return keys
    .filter(key => uplink[key] !== undefined)
    .map(key => finding([...path, key], `is for connector ${other} only: remove it`))
}

function mqttFindings({ path, uplink }: Placed): Finding[] {
  const { connector, topic = '{topic}', format = 'raw', downlink = [] } = uplink
  if (connector !== 'mqtt') return []
  const found: Finding[] = []
  const plain = topic.replaceAll(/\{(topic|device)\}/g, 'x')
  if (/[{}]/.test(plain)) found.push(finding([...path, 'topic'], 'knows {topic} and {device} only'))
  const problem = problemOfTopic(plain)
  if (problem !== undefined) found.push(finding([...path, 'topic'], problem))
  if (format === 'raw' && !topic.includes('{topic}'))
    found.push(finding([...path, 'topic'], 'needs {topic}, or format: cloudevents, which holds the topic'))
  if ((uplink.password ?? uplink.passwordFile) !== undefined && uplink.username === undefined)
    found.push(finding([...path, 'username'], 'is missing, and there is a password'))
  for (const [index, { filter, prefix }] of downlink.entries()) {
    const at = [...path, 'downlink', index]
    const wrong = problemOfFilter(filter)
    if (wrong !== undefined) found.push(finding([...at, 'filter'], `"${filter}" ${wrong}`))
    const wrongPrefix = prefix === '' ? undefined : problemOfTopic(prefix)
    if (wrongPrefix !== undefined) found.push(finding([...at, 'prefix'], wrongPrefix))
    const twin = downlink.findIndex((other, i) => i < index && filtersOverlap(other.filter, filter))
    if (wrong === undefined && twin >= 0)
      found.push(finding([...at, 'filter'], `overlaps with downlink[${twin}]: a message would come twice`))
  }
  return found
}

/** Two clients of one id at one broker throw each other out. */
function twinFindings(all: readonly Placed[]): Finding[] {
  const seen = new Map<string, KeyPath>()
  return all.flatMap(({ path, uplink: { connector, url, clientId = '' } }) => {
    if (connector !== 'mqtt' || !URL.canParse(url)) return []
    const key = `${new URL(url).host} ${clientId}`
    const twin = seen.get(key)
    seen.set(key, path)
    if (twin === undefined) return []
    return [finding(path, `has the broker and client id of ${twin.join('.')}: give one of them a clientId`)]
  })
}
