/** What is asked for every two seconds: the facts in the head, the functions, the buffer. Only changes are drawn. */

const element = id => document.getElementById(id)

const linkStates = { connected: 'good', connecting: 'warn', offline: 'warn', refused: 'bad' }

/** `status` and `buffer` as the API answers them (api/backend.ts), `rate` in messages a second. */
export function showStatus(status, buffer, rate) {
  element('device').textContent = status.device
  document.title = `${status.device} · Fescue`
  const links = status.uplinks
  const worst = links.find(link => link.state !== 'connected') ?? links[0]
  pill('link', linkStates[worst?.state] ?? 'unknown', linkText(links, worst))
  pill(
    'store',
    status.state === 'ok' ? 'good' : 'bad',
    status.state === 'ok' ? 'disk ok' : (status.message ?? 'degraded'),
  )
  element('rate').textContent = rate < 10 ? rate.toFixed(1) : count(Math.round(rate))
  element('waiting').textContent = count(buffer.uplinks.reduce((sum, link) => sum + link.records, 0))
  element('memory').textContent = bytes(status.memoryBytes)
}

function linkText(links, worst) {
  if (worst === undefined) return 'no cloud configured'
  const name = links.length > 1 ? ` ${worst.name}` : ''
  const reason = worst.reason === undefined ? '' : `: ${worst.reason}`
  return `cloud${name} ${worst.state}${reason}`
}

function pill(id, state, text) {
  element(id).dataset.state = state
  element(id).textContent = text
}

export function showFunctions(functions) {
  element('no-functions').hidden = functions.length > 0
  redraw(
    element('functions'),
    functions.map(entry => {
      const item = document.createElement('li')
      const bad = entry.state === 'failed' || entry.state === 'disabled'
      item.append(text('name', entry.name), text(bad ? 'state error' : 'state quiet', entry.state))
      item.append(text('detail', entry.triggers.map(({ topic, schedule }) => topic ?? schedule).join(', ')))
      item.append(text('detail', countsText(entry)))
      const error = entry.reason ?? entry.lastError
      if (error !== undefined) item.append(text('error', error))
      return item
    }),
  )
}

function countsText({ invocations, inbox, deadLetters }) {
  const failed = invocations.error + invocations.timeout
  const parts = [`${count(invocations.ok)} done`]
  if (failed > 0) parts.push(`${count(failed)} failed`)
  if (inbox.records > 0) parts.push(`${count(inbox.records)} waiting`)
  if (deadLetters > 0) parts.push(`${count(deadLetters)} dead letters`)
  return parts.join(' · ')
}

/** Logs in which something waits, the largest first. */
export function showBuffer(buffer) {
  const logs = buffer.logs.filter(log => log.records > 0).sort((a, b) => b.bytes - a.bytes)
  element('no-buffer').hidden = logs.length > 0
  element('logs').hidden = logs.length === 0
  redraw(
    element('buffer'),
    logs.map(log => {
      const row = document.createElement('tr')
      const oldest = log.oldestAt === undefined ? '–' : span(Date.now() - log.oldestAt)
      for (const cell of [log.log, count(log.records), bytes(log.bytes), oldest]) {
        row.append(Object.assign(document.createElement('td'), { textContent: cell }))
      }
      return row
    }),
  )
}

/** Replaces the children, but only when they differ: so a selection stays while nothing changes. */
function redraw(parent, children) {
  const shown = [...parent.children]
  const same = shown.length === children.length && shown.every((child, i) => child.isEqualNode(children[i]))
  if (!same) parent.replaceChildren(...children)
}

function text(className, content) {
  return Object.assign(document.createElement('span'), { className, textContent: content })
}

function count(value) {
  return value.toLocaleString('en-US')
}

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let shown = value
  let unit = 0
  for (; shown >= 1024 && unit < units.length - 1; unit++) shown /= 1024
  return `${unit === 0 || shown >= 100 ? Math.round(shown) : shown.toFixed(1)} ${units[unit]}`
}

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}
