/**
 * What a device pays before any load: from start to ready, and memory with ten functions that were just called.
 *
 *   npm run build && bin/node bench/footprint.ts        the checkout beside the package in dist/
 *
 * Other processes of the same Node share its pages and make the proportional figures smaller: stop them first.
 */
import { mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { executorsOf, mainFile, root, startFescue } from '../test/harness/processes.ts'

export interface Footprint {
  readonly functions: number
  /** From the start of the process to its ready line, data folder and compile cache warm. */
  readonly readyMs: number
  /** Proportional set size: shared pages counted by their share. */
  readonly daemonPssMb: number
  readonly executorPssMb: number
}

const functions = 10
const settleMs = 3_000

/** Starts twice on one folder: the second start, as after a reboot, is the one measured. `main`: a bundle's entry. */
export async function measureFootprint(folder: string, main?: string): Promise<Footprint> {
  const source =
    "import { publish, state } from 'fescue'\nexport const handler = async () => state.set('n', 1)\n"
  for (let i = 0; i < functions; i++) {
    const each = join(folder, 'functions', `f${i}`)
    await mkdir(each, { recursive: true })
    await writeFile(join(each, 'index.ts'), source)
    await writeFile(join(each, 'function.yaml'), `triggers:\n  - topic: in/${i}\n`)
  }
  const config = join(folder, 'fescue.yaml')
  await writeFile(
    config,
    'device: bench\nmqtt: { host: 127.0.0.1, port: 0 }\nhttp: { host: 127.0.0.1, port: 0 }\n',
  )
  const data = join(folder, 'data')
  const start = () =>
    startFescue(
      ['start', '--config', config, '--data', data, '--functions', join(folder, 'functions')],
      [],
      {},
      main,
    )
  await (await start()).stop()
  const startedAt = performance.now()
  const daemon = await start()
  const readyMs = Math.round(performance.now() - startedAt)
  const token = (await readFile(join(data, 'token'), 'utf8')).trim()
  for (let i = 0; i < functions; i++) {
    await fetch(`http://127.0.0.1:${daemon.ready.http}/api/v1/functions/f${i}/invoke`, {
      method: 'POST',
      body: '{}',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    })
  }
  await new Promise(resolve => setTimeout(resolve, settleMs))
  const executors = await Promise.all(executorsOf(daemon.pid).map(proportionalMb))
  const result = {
    functions,
    readyMs,
    daemonPssMb: Math.round(await proportionalMb(daemon.pid)),
    executorPssMb: Math.round(executors.reduce((sum, mb) => sum + mb, 0)),
  }
  await daemon.stop()
  return result
}

/** Proportional set size in MiB; 0 when the process is gone. */
export async function proportionalMb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024
}

if (import.meta.main) {
  for (const main of [mainFile, join(root, 'dist/lib/main.js')]) {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-footprint-'))
    const footprint = await measureFootprint(folder.path, main)
    process.stdout.write(`${JSON.stringify({ main: main.slice(root.length + 1), ...footprint })}\n`)
  }
}
