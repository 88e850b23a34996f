// Runs before every script of package.json, on whatever Node starts it. An older one does not read TypeScript and would end in the
// stack of ERR_UNKNOWN_FILE_EXTENSION, and does not read newer syntax either: hence CommonJS, and the syntax of Node 6.
const NEEDED = /\d+\.\d+/.exec(require('../../package.json').engines.node)[0]
const [major, minor] = NEEDED.split('.').map(Number)
const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number)

if (ownMajor < major || (ownMajor === major && ownMinor < minor)) {
  process.stderr.write(
    `Latchkey needs Node ${NEEDED} or newer, and this is Node ${process.versions.node} (${process.execPath}).\n` +
      'npm ci installs one beside it on Linux (glibc), macOS and Windows, unless it is told --omit=optional; elsewhere install Node 24.\n',
  )
  process.exit(1)
}
