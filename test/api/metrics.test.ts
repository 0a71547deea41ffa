/** The registry: names and labels of the design, bounded label sets, values read at scrape time. */
import t from 'tap'
import { labelSetsMax, observeProcess, PromMetrics } from '#api/metrics.ts'

t.test('counters, gauges and histograms in the Prometheus text format', async t => {
  const metrics = new PromMetrics()
  const counter = metrics.counter('fescue_messages_total', 'Messages', { direction: 'in', qos: '1' })
  counter.add()
  counter.add(2)
  metrics.counter('fescue_messages_total', 'Messages', { direction: 'out', qos: '0' }).add(5)
  metrics.gauge('fescue_uplink_connected', 'Link').set(1)
  metrics.histogram('fescue_invocation_seconds', 'Time', { function: 'f' }).observe(0.0004)
  const text = await metrics.text()
  t.match(text, '# TYPE fescue_messages_total counter')
  t.match(text, 'fescue_messages_total{direction="in",qos="1"} 3\n')
  t.match(text, 'fescue_messages_total{direction="out",qos="0"} 5\n')
  t.match(text, 'fescue_uplink_connected 1\n')
  t.match(text, 'fescue_invocation_seconds_bucket{le="0.0005",function="f"} 1\n')
  t.match(text, 'fescue_invocation_seconds_bucket{le="0.0001",function="f"} 0\n')
  t.match(text, 'fescue_invocation_seconds_bucket{le="+Inf",function="f"} 1\n')
  t.match(text, 'fescue_invocation_seconds_sum{function="f"} 0.0004\n')
  t.match(text, 'fescue_invocation_seconds_count{function="f"} 1\n')
})

t.test('collected values are those of the moment; a label set that is gone is gone', async t => {
  const metrics = new PromMetrics()
  let logs: Record<string, number> = { 'inbox.a': 1, 'inbox.b': 2 }
  const read = () => Object.entries(logs).map(([log, value]) => ({ labels: { log }, value }))
  metrics.collect('fescue_log_records', 'Records', ['log'], read)
  metrics.collect('fescue_lost_records_total', 'Lost', ['log'], read)
  t.match(await metrics.text(), 'fescue_log_records{log="inbox.b"} 2\n')
  logs = { 'inbox.a': 7 }
  const text = await metrics.text()
  t.match(text, 'fescue_log_records{log="inbox.a"} 7\n')
  t.notMatch(text, 'inbox.b')
  t.match(text, '# TYPE fescue_log_records gauge')
  t.match(text, '# TYPE fescue_lost_records_total counter')
})

t.test('label sets are bounded: what comes later shares one', async t => {
  const metrics = new PromMetrics()
  for (let i = 0; i < labelSetsMax + 50; i++) metrics.counter('fescue_x_total', 'X', { name: `n${i}` }).add()
  const lines = (await metrics.text()).split('\n').filter(line => line.startsWith('fescue_x_total{'))
  t.equal(lines.length, labelSetsMax + 1)
  t.ok(lines.includes('fescue_x_total{name="other"} 50'))
  metrics.collect('fescue_y', 'Y', ['name'], () =>
    Array.from({ length: 2 * labelSetsMax }, (_, i) => ({ labels: { name: `n${i}` }, value: 1 })),
  )
  const collected = (await metrics.text()).split('\n').filter(line => line.startsWith('fescue_y{'))
  t.equal(collected.length, labelSetsMax)
})

t.test('names from outside cannot break the format', async t => {
  const metrics = new PromMetrics()
  metrics.counter('fescue_z_total', 'Z', { name: 'a"b\\c\nd' }).add()
  t.match(await metrics.text(), 'fescue_z_total{name="a\\"b\\\\c\\nd"} 1\n')
})

t.test('the process shows itself', async t => {
  const metrics = new PromMetrics()
  const stop = observeProcess(metrics, '0.1.0')
  const text = await metrics.text()
  stop()
  t.match(text, /process_resident_memory_bytes \d{8,}\n/)
  t.match(text, /process_cpu_seconds_total [\d.]+\n/)
  t.match(text, /fescue_build_info\{version="0\.1\.0",node="24\.\d+\.\d+"\} 1\n/)
  t.match(text, /fescue_event_loop_delay_seconds [\d.e-]+\n/)
})

t.test('cluster mode, push gateway and default metrics of prom-client are not loaded', async t => {
  const { createRequire } = await import('node:module')
  const loaded = Object.keys(createRequire(import.meta.url).cache).filter(path =>
    path.includes('/prom-client/'),
  )
  t.notOk(
    loaded.some(path => /(cluster|pushgateway|defaultMetrics)\.js$/.test(path)),
    loaded.join('\n'),
  )
})
