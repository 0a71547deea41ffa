/** A file system of its own in an image, through a loop device: nobody else writes to it. Needs root. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export function mountImage(): { folder: string; unmount(): void } {
  const root = mkdtempSync(join(tmpdir(), 'fescue-image-'))
  const image = join(root, 'disk.img')
  const folder = join(root, 'disk')
  mkdirSync(folder)
  execFileSync('truncate', ['-s', '2G', image])
  execFileSync('mkfs.ext4', ['-qF', image])
  execFileSync('mount', ['-o', 'loop', image, folder])
  // Interrupted, with processes that may still have it open: it goes when they are gone.
  const atExit = () => execFileSync('umount', ['-l', folder])
  process.prependListener('exit', atExit)
  return {
    folder,
    unmount() {
      process.off('exit', atExit)
      execFileSync('umount', [folder])
      rmSync(root, { recursive: true })
    },
  }
}
