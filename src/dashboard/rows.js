/**
 * The live list: one row for a message that started functions, or that none took.
 *
 *   12:00:01.250  sensors/kitchen/temperature  {"celsius":31}
 *                 → thermostat 0.8 ms
 *                 → actuators/kitchen/fan  {"on":true}
 *
 * A message waits a moment before it gets a row of its own, because most are shown by the invocation that they
 * start. Rows, waiting messages and rows a second are bounded; what is left out is counted.
 */

export const rowsMax = 200
const rowsPerSecondMax = 25
const waitingMax = 500
const payloadCharactersMax = 240
/** How long an invocation may follow its message. */
const waitMs = 400

export class LiveRows {
  #ui
  /** Messages not yet shown, oldest first: { event, timer }. */
  #waiting = []
  #paused = false
  #skipped = 0
  #second = 0
  #inSecond = 0

  constructor(ui) {
    this.#ui = ui
    ui.filter.addEventListener('input', () => this.#applyFilter())
    ui.pause.addEventListener('click', () => this.#setPaused(!this.#paused))
  }

  add(event) {
    if (event.type === 'message') this.#message(event)
    else if (event.type === 'invocation') this.#invocation(event)
    else if (event.type === 'link') this.#row(event, [linkLine(event)])
    else if (event.type === 'function' && event.error) this.#row(event, functionLines(event))
    else if (event.type === 'skipped') this.#skip(event.count)
  }

  /** What a function published is shown under its invocation, so only others wait for a row. */
  #message(event) {
    if (event.origin.startsWith('function:')) return
    const timer = setTimeout(() => {
      this.#waiting = this.#waiting.filter(entry => entry.timer !== timer)
      this.#row(event, [messageLine(event)])
    }, waitMs)
    this.#waiting.push({ event, timer })
    if (this.#waiting.length > waitingMax) clearTimeout(this.#waiting.shift().timer)
  }

  #invocation(event) {
    const index = this.#waiting.findIndex(({ event: message }) => message.topic === event.topic)
    if (index >= 0) clearTimeout(this.#waiting.splice(index, 1)[0].timer)
    this.#row(event, [messageLine(event), ...invocationLines(event)])
  }

  #row(event, lines) {
    if (this.#paused || !this.#withinRate()) return this.#skip(1)
    const item = document.createElement('li')
    item.className = 'row'
    const time = document.createElement('time')
    time.textContent = clockText(event.time)
    const body = document.createElement('div')
    body.append(...lines)
    item.append(time, body)
    item.hidden = !this.#matches(item)
    this.#ui.list.prepend(item)
    while (this.#ui.list.childElementCount > rowsMax) this.#ui.list.lastElementChild.remove()
    this.#ui.quiet.hidden = true
  }

  #withinRate() {
    const second = Math.floor(performance.now() / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#inSecond = 0
    }
    this.#inSecond += 1
    return this.#inSecond <= rowsPerSecondMax
  }

  #skip(count) {
    this.#skipped += count
    this.#ui.skipped.textContent = `${this.#skipped.toLocaleString('en-US')} not shown`
  }

  #setPaused(paused) {
    this.#paused = paused
    this.#ui.pause.setAttribute('aria-pressed', String(paused))
    this.#ui.pause.textContent = paused ? 'Go on' : 'Pause'
    if (paused) return
    this.#skipped = 0
    this.#ui.skipped.textContent = ''
  }

  #applyFilter() {
    for (const item of this.#ui.list.children) item.hidden = !this.#matches(item)
  }

  #matches(item) {
    const wanted = this.#ui.filter.value.trim().toLowerCase()
    return wanted === '' || item.textContent.toLowerCase().includes(wanted)
  }
}

function messageLine({ topic, payload, bytes, retain }) {
  const line = document.createElement('div')
  // The payload of a schedule says no more than the row does: its time and its function.
  if (topic.startsWith('$schedule/')) {
    line.append(text('quiet', 'schedule'))
    return line
  }
  line.append(text('topic', topic))
  const shown = payload ?? (bytes === undefined ? '' : `(${bytes} bytes)`)
  if (shown !== '') line.append(' ', text('payload', cut(shown)))
  if (retain) line.append(' ', text('quiet', 'retained'))
  return line
}

function invocationLines(event) {
  const failed = event.outcome !== 'ok'
  const step = text(failed ? 'step bad' : 'step', event.function)
  step.append(' ', text('ms', `${event.durationMs.toFixed(1)} ms`))
  if (event.attempt > 1) step.append(' ', text('quiet', `attempt ${event.attempt}`))
  if (event.outcome === 'dead') step.append(' ', text('quiet', 'is a dead letter now'))
  if (event.outcome === 'timeout') step.append(' ', text('quiet', 'ran too long'))
  const lines = [step]
  if (event.error !== undefined) lines.push(text('error', event.error))
  for (const effect of event.published) {
    const line = text('step', '')
    line.append(text('topic', effect.topic), ' ', text('payload', cut(effect.payload ?? '')))
    lines.push(line)
  }
  return lines
}

/** A long payload is cut: a row is for recognising a message, not for reading it. */
function cut(payload) {
  return payload.length > payloadCharactersMax ? `${payload.slice(0, payloadCharactersMax)}…` : payload
}

function linkLine(event) {
  const reason = event.reason === undefined ? '' : `: ${event.reason}`
  return text('quiet', `cloud ${event.uplink === 'default' ? '' : `${event.uplink} `}${event.state}${reason}`)
}

function functionLines(event) {
  return [text('step bad', `${event.function} is ${event.state}`), text('error', event.error)]
}

function text(className, content) {
  const span = document.createElement('span')
  span.className = className
  span.textContent = content
  return span
}

function clockText(time) {
  const date = new Date(time)
  const clock = date.toLocaleTimeString('en-GB')
  return `${clock}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
