#!/usr/bin/env node
import { run } from './run.ts'

// Not process.exit: a pipe may still hold what was written.
process.exitCode = await run({
  args: process.argv.slice(2),
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isColourful: process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '',
})
