/** Samples over time as an SVG: one panel a figure, all over the same hours. */

export interface Series {
  readonly name: string
  /** Seconds and value. */
  readonly points: readonly (readonly [number, number])[]
}

export interface Panel {
  readonly title: string
  readonly unit: string
  readonly series: readonly Series[]
}

export interface Mark {
  readonly at: number
  readonly text: string
}

const width = 900
const panelHeight = 150
const left = 70
const right = 150
const gap = 40
const colours = ['#1b6e53', '#b4541a', '#2f5fa8', '#7a4a9a']
/** Points that a line is drawn with. */
const pointsMax = 600

export function plotSvg(title: string, panels: readonly Panel[], marks: readonly Mark[]): string {
  const end = Math.max(
    1,
    ...panels.flatMap(({ series }) => series.map(({ points }) => points.at(-1)?.[0] ?? 0)),
  )
  const x = (at: number) => left + ((width - left - right) * at) / end
  const height = 50 + panels.length * (panelHeight + gap)
  const body = panels.map((panel, index) => panelSvg(panel, 50 + index * (panelHeight + gap), end, x, marks))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${left}" y="24" font-size="16">${plainText(title)}</text>
${body.join('\n')}
</svg>
`
}

function panelSvg(
  panel: Panel,
  top: number,
  end: number,
  x: (at: number) => number,
  marks: readonly Mark[],
): string {
  const most = niceAbove(
    Math.max(1e-9, ...panel.series.flatMap(({ points }) => points.map(([, value]) => value))),
  )
  const y = (value: number) => top + panelHeight - (panelHeight * value) / most
  const lines = [0, 0.5, 1].map(share => {
    const at = y(most * share)
    return `<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}" stroke="#ddd"/><text x="${left - 6}" y="${at + 4}" text-anchor="end">${trim(most * share)}</text>`
  })
  const hours = [0, 0.25, 0.5, 0.75, 1].map(
    share =>
      `<text x="${x(end * share)}" y="${top + panelHeight + 16}" text-anchor="middle">${trim((end * share) / 3600)} h</text>`,
  )
  const bars = marks.map(
    ({ at, text }) =>
      `<line x1="${x(at)}" x2="${x(at)}" y1="${top}" y2="${top + panelHeight}" stroke="#999" stroke-dasharray="3 3"><title>${plainText(text)}</title></line>`,
  )
  const curves = panel.series.map(({ name, points }, index) => {
    const colour = colours[index % colours.length]
    const path = thin(points)
      .map(([at, value], n) => `${n === 0 ? 'M' : 'L'}${trim(x(at))} ${trim(y(value))}`)
      .join('')
    const label = `<text x="${width - right + 8}" y="${top + 14 + index * 16}" fill="${colour}">${plainText(name)}</text>`
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${label}`
  })
  const head = `<text x="${left}" y="${top - 6}" fill="#555">${plainText(panel.title)} (${plainText(panel.unit)})</text>`
  return [head, ...lines, ...hours, ...bars, ...curves].join('\n')
}

/** Of many points the highest of each stretch, so that no peak is lost. */
function thin(points: Series['points']): Series['points'] {
  const step = Math.ceil(points.length / pointsMax)
  if (step <= 1) return points
  const kept: (readonly [number, number])[] = []
  for (let from = 0; from < points.length; from += step) {
    const part = points.slice(from, from + step)
    kept.push(part.reduce((most, each) => (each[1] > most[1] ? each : most)))
  }
  return kept
}

/** The next of 1, 2, 5 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find(each => each * power >= value) ?? 10) * power
}

const trim = (value: number) => String(Math.round(value * 100) / 100)
const plainText = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
