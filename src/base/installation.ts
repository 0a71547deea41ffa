/**
 * Where the files of this installation lie. The only file of ours that asks where it is itself: in a package all code is
 * one bundle, and `import.meta` of any other file would point into that.
 *
 *   checkout   ROOT/src/main.ts      ROOT/src/dashboard   ROOT/functions   ROOT/device-config
 *   package    ROOT/lib/main.js      ROOT/dashboard       ROOT/functions   ROOT/device-config     (packaging/build.ts)
 */
import { basename, join } from 'node:path'

export interface Installation {
  /** A package has texts and native modules made ready in `prepared`; a checkout makes and finds them. */
  readonly prepared: string | undefined
  /** The entry of every command, to be given to Node. */
  readonly mainFile: string
  /** Another program for Node, by its path in src/; packaging/build.ts has a list of them. */
  program(path: string): string
  readonly dashboard: string
  /** Sample functions, and the config that goes with them. */
  readonly functions: string
  readonly deviceConfig: string
}

function installationAt(file: string, folder: string): Installation {
  const bundled = !file.endsWith('.ts')
  const root = bundled ? join(folder, '..') : join(folder, '../..')
  const program = (path: string) =>
    bundled ? join(folder, `${basename(path, '.ts')}.js`) : join(root, 'src', path)
  return {
    prepared: bundled ? folder : undefined,
    mainFile: program('main.ts'),
    program,
    dashboard: join(root, bundled ? 'dashboard' : 'src/dashboard'),
    functions: join(root, 'functions'),
    deviceConfig: join(root, 'device-config/fescue.yaml'),
  }
}

export const installation: Installation = installationAt(import.meta.filename, import.meta.dirname)
