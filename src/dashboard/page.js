/**
 * The page: live messages, what functions made of them, the link and the buffer. Read-only.
 *
 *   GET /api/v1/events (stream, base/live-event.ts) ──► rows          files beside: api.js, rows.js, panels.js
 *   GET /api/v1/status · functions · buffer         ──► panels, every two seconds while the page is seen
 *
 * Whatever came over MQTT is put in as text, never as markup; the policy of the server (`default-src 'self'`)
 * would not run it anyway.
 */
import {
  callApi,
  forgetToken,
  hasToken,
  keepToken,
  streamEvents,
  takeTokenFromAddress,
  Unauthorized,
} from './api.js'
import { showBuffer, showFunctions, showStatus } from './panels.js'
import { LiveRows } from './rows.js'

const pollMs = 2_000
const reconnectMaxMs = 5_000

const element = id => document.getElementById(id)
const rows = new LiveRows({
  list: element('events'),
  skipped: element('skipped'),
  quiet: element('quiet'),
  filter: element('filter'),
  pause: element('pause'),
})

/** Messages since the last look, for the rate. */
let messages = 0
let ratedAt = performance.now()

takeTokenFromAddress()
element('unlock').addEventListener('submit', event => {
  event.preventDefault()
  keepToken(element('token').value.trim())
  element('unlock').hidden = true
  start()
})
start()

function start() {
  const stop = new AbortController()
  const fail = error => {
    if (!(error instanceof Unauthorized) || stop.signal.aborted) return
    stop.abort()
    askForToken()
  }
  follow(stop.signal).catch(fail)
  poll(stop.signal).catch(fail)
}

function askForToken() {
  notice(hasToken() ? 'That token is not the one of this device.' : '')
  forgetToken()
  element('unlock').hidden = false
  element('token').value = ''
  element('token').focus()
}

/** Reads the stream for ever; a cut one is opened again, after a growing wait. */
async function follow(signal) {
  let waitMs = 250
  while (!signal.aborted) {
    try {
      await streamEvents(signal, event => {
        waitMs = 250
        if (event.type === 'message') messages += 1
        rows.add(event)
      })
    } catch (error) {
      if (error instanceof Unauthorized) throw error
    }
    await wait(waitMs, signal)
    waitMs = Math.min(waitMs * 2, reconnectMaxMs)
  }
}

async function poll(signal) {
  while (!signal.aborted) {
    if (!document.hidden) await look(signal)
    await wait(pollMs, signal)
  }
}

async function look(signal) {
  try {
    const [status, functions, buffer] = await Promise.all(
      ['status', 'functions', 'buffer'].map(name => callApi(`api/v1/${name}`, signal)),
    )
    showStatus(status, buffer, rate())
    showFunctions(functions)
    showBuffer(buffer)
    notice('')
  } catch (error) {
    if (error instanceof Unauthorized) throw error
    if (!signal.aborted) notice('The daemon does not answer. This page tries again by itself.')
  }
}

function rate() {
  const now = performance.now()
  const perSecond = messages / Math.max((now - ratedAt) / 1_000, 0.1)
  messages = 0
  ratedAt = now
  return perSecond
}

function notice(text) {
  element('notice').textContent = text
  element('notice').hidden = text === ''
}

function wait(ms, signal) {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
