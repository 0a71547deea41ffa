/** Refuses Node's own modules in a function at build time, and says what to use instead. */
import { builtinModules } from 'node:module'
import type { Plugin } from 'esbuild'

const instead: Readonly<Record<string, string>> = {
  assert: 'throw an Error',
  buffer: 'Buffer is a global',
  child_process: 'run the program beside Fescue and let it speak MQTT',
  console: 'console is a global',
  crypto: 'crypto.randomUUID() and crypto.getRandomValues() are globals',
  dgram: 'let a program beside Fescue speak to the network and publish over MQTT',
  events: 'install the npm package "events"',
  fs: "keep data with state from 'fescue'; files are out of reach",
  http: 'let a program beside Fescue speak to the network and publish over MQTT',
  https: 'let a program beside Fescue speak to the network and publish over MQTT',
  net: 'let a program beside Fescue speak to the network and publish over MQTT',
  os: 'put what you need into environment of function.yaml',
  path: 'install the npm package "path-browserify"',
  perf_hooks: 'performance is a global',
  process: 'process.env is a global',
  timers: 'setTimeout and setInterval are globals',
  tls: 'let a program beside Fescue speak to the network and publish over MQTT',
  url: 'URL and URLSearchParams are globals',
  util: 'structuredClone, TextEncoder and TextDecoder are globals',
  worker_threads: 'set concurrency in function.yaml',
}

const names = new Set(builtinModules.map(name => name.replace(/^node:/, '')))
const filter = /^(node:)?[a-z][a-z0-9_/]*$/

/** An esbuild plugin. A package from npm of the same name (`events`, `buffer/`) goes through. */
export const refuseBuiltins: Plugin = {
  name: 'refuse-builtins',
  setup(build) {
    build.onResolve({ filter }, async args => {
      const name = args.path.replace(/^node:/, '')
      if (args.pluginData === refuseBuiltins || !(names.has(name) || args.path.startsWith('node:')))
        return undefined
      if (!args.path.startsWith('node:')) {
        const { resolveDir, kind, importer } = args
        const found = await build.resolve(args.path, {
          resolveDir,
          kind,
          importer,
          pluginData: refuseBuiltins,
        })
        if (found.errors.length === 0) return found
      }
      const mend = instead[name.split('/')[0] ?? '']
      const text = `"${args.path}" is a module of Node, which a function does not have`
      return { errors: [{ text: mend === undefined ? text : `${text}: ${mend}` }] }
    })
  },
}
